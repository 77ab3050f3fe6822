"""Mixes: which blend of two gradients each ratio region gets. Plain tables, no torch.

With g the gradient at w and h the gradient of the same mini-batch at w + e, the ratio r = h/g puts
every parameter in a region (the sources' "checkpoint", `ckpt` in variant names): 1 (r > 1),
2 (0 < r < 1), 3 (r < -1) or 4 (-1 < r < 0). A mix is a table of coefficients, one row a region:

    u = a h + b g + c sign(h)|g| + d sign(g)|h|

and u goes to the base optimizer in place of a gradient. Source: lhchau/geometry-sam and the code
behind it, lhchau/sam-hessian (2024), where each table is an optimizer file of its own.

Where this differs from those files:
- Their classes SAMMAGNITUDE and SAMDIRECTION have their names swapped (SAMMAGNITUDE computes
  sign(h)|g|). Here `direction` is SAM's direction with SGD's magnitude, sign(h)|g|, and
  `magnitude` SAM's magnitude in SGD's direction, sign(g)|h|.
- SAMCKPT14 applies g on regions 1 and 4 and h elsewhere, so the published ckpt14 column is
  `ckpt23` here.
- Elements in no region (ties, zeros, non-finite) take g in every ckpt mix. The files written by
  exclusion (ckpt34, 123, 124, 134, 234) give them h: that moves exact zeros of h and exact ties
  with r = -1 only. Their 0/1 products also turn an infinite g or h into NaN wherever it stands.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real

from samscope.digests import Registry
from samscope.errors import InputError

REGIONS = ("region1", "region2", "region3", "region4", "tie", "zero", "nonfinite")
"""What the codes 0 to 6 of `samscope.optim.regions` mean, in order."""

Row = tuple[float, float, float, float]

H: Row = (1.0, 0.0, 0.0, 0.0)  # SAM: h
G: Row = (0.0, 1.0, 0.0, 0.0)  # SGD: g
DIRECTION: Row = (0.0, 0.0, 1.0, 0.0)  # SAM's direction, SGD's magnitude: sign(h)|g|
MAGNITUDE: Row = (0.0, 0.0, 0.0, 1.0)  # SGD's direction, SAM's magnitude: sign(g)|h|


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


NORMS = ("", "all", "regions")
"""Whose norm a mix can be brought to, see `Mix`."""


@dataclass(frozen=True)
class Mix:
    """A table of coefficients: what each region's elements of the update are made of.

    Args:
        name: the variant's name, for messages and records.
        rows: one row for each of the regions 1 to 4, holding the coefficients of
            h, g, sign(h)|g| and sign(g)|h|.
        rest: the row of elements in no region: ties, zeros and non-finite ones.
        norms: whose norm u is brought to that of h, at each step: ``all`` elements' at once, or in
            the four ``regions`` each; "" for neither.

    Raises:
        InputError: a table that is not 4 rows of 4 finite numbers, such a rest, other norms.

    >>> half = Mix("half", rows=[(0.5, 0.5, 0, 0)] * 4, rest=(0.5, 0.5, 0, 0))
    >>> half.needs_ascent
    True
    """

    name: str
    rows: Sequence[Sequence[float]]
    rest: Sequence[float]
    norms: str = ""

    def __post_init__(self) -> None:
        rows = self.rows
        if isinstance(rows, str) or not isinstance(rows, Sequence) or len(rows) != len("1234"):
            raise InputError(f"mix {self.name}", "rows", rows, "4 rows of 4 finite numbers")
        object.__setattr__(self, "rows", tuple(self._row("rows", row) for row in rows))
        object.__setattr__(self, "rest", self._row("rest", self.rest))
        if self.norms not in NORMS:
            raise InputError(f"mix {self.name}", "norms", self.norms, '"all", "regions" or ""')

    def _row(self, field: str, row: Sequence[float]) -> Row:
        if not (isinstance(row, Sequence) and len(row) == len(H) and all(map(_is_finite, row))):
            raise InputError(f"mix {self.name}", field, row, "a row of 4 finite numbers")
        a, b, c, d = map(float, row)
        return a, b, c, d

    @property
    def needs_ascent(self) -> bool:
        """False when everything is g: plain SGD, for which one pass is enough."""
        return bool(self.norms) or set(self.table) != {G}

    @cached_property
    def table(self) -> tuple[Row, ...]:
        """The rows of the regions 1 to 4 and `rest`: all there is to a mix, as one 5 x 4 table."""
        return tuple(self._row("table", row) for row in (*self.rows, self.rest))

    @cached_property
    def exceptions(self) -> tuple[tuple[Row, tuple[int, ...]], ...]:
        """Each row that differs from `rest`, with the codes (0 to 3) of the regions it rules."""
        *rows, rest = self.table
        ruled: dict[Row, tuple[int, ...]] = {}
        for code, row in enumerate(rows):
            if row != rest:
                ruled[row] = (*ruled.get(row, ()), code)
        return tuple(ruled.items())


_NAMED: Registry[str, Mix] = {
    mix.name: mix
    for mix in (
        # name, the rows of the regions 1 to 4, the row of elements in no region
        Mix("sgd", (G, G, G, G), G),
        Mix("sam", (H, H, H, H), H),
        Mix("direction", (DIRECTION,) * 4, DIRECTION),
        Mix("magnitude", (MAGNITUDE,) * 4, MAGNITUDE),
        Mix("sgd-norm", (G, G, G, G), G, norms="all"),
        Mix("sgd-norm-regions", (G, G, G, G), G, norms="regions"),
    )
}

# family: the row in the regions of S, in the others, in no region
_ON_REGIONS: Registry[str, tuple[Row, Row, Row]] = {
    "ckpt": (H, G, G),  # as coded: the whole SGD gradient outside S
    "ckpt-magnitude": (H, DIRECTION, G),  # as described: "the magnitude from SGD" outside S
    "sameckpt": (H, H, H),
    "sgdckpt": (G, G, G),
}

_CONDITIONED = ("sameckpt", "sgdckpt")
"""Families whose row in the regions of S is multiplied by the condition."""

VARIANTS = (
    f"{', '.join(_NAMED)}, ckpt<S>, ckpt<S>-magnitude, sameckpt<S>, sgdckpt<S> "
    "with <S> one or more of the regions 1234 in increasing order, as in ckpt13"
)


def named_mix(name: str, condition: float | None = None) -> Mix:
    """The mix a variant's name stands for.

    Args:
        name: `sgd`, `sam`, `direction` (sign(h)|g|), `magnitude` (sign(g)|h|), `ckpt<S>` (h on the
            regions of S, g elsewhere), `ckpt<S>-magnitude` (h on S, sign(h)|g| elsewhere),
            `sameckpt<S>` (condition * h on S, h elsewhere), `sgdckpt<S>` (condition * g on S, g
            elsewhere); or, with SAM's step size and SGD's
            direction, `sgd-norm` (g ||h||/||g||) and `sgd-norm-regions` (in region k,
            g ||h_k||/||g_k||).
        condition: the factor of `sameckpt<S>` and `sgdckpt<S>`, for no other variant.

    Raises:
        InputError: an unknown variant, a malformed S, a condition missing, misplaced or not finite.

    >>> named_mix("ckpt12").rows
    ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))
    >>> named_mix("sameckpt3", condition=0.1).rows[2]
    (0.1, 0.0, 0.0, 0.0)
    >>> named_mix("ckpt21")
    Traceback (most recent call last):
    samscope.errors.InputError: mix: variant: ckpt21 is not allowed; allowed: sgd, sam, ...
    """
    name = str(name)
    parts = re.fullmatch(r"((?:same|sgd)?ckpt)(1?2?3?4?)(-magnitude)?", name)
    base, chosen = (parts[1], parts[2]) if parts else ("", "")
    family = _ON_REGIONS.get(base + (parts[3] or "")) if parts and chosen else None
    if family is None and name not in _NAMED:
        raise InputError("mix", "variant", name, VARIANTS)
    needs_condition = family is not None and base in _CONDITIONED
    if needs_condition and not _is_finite(condition):
        raise InputError(f"mix {name}", "condition", condition, "a finite number")
    if not needs_condition and condition is not None:
        raise InputError(
            f"mix {name}", "condition", condition, "none: only sameckpt<S> and sgdckpt<S> have one"
        )
    if family is None:
        return _NAMED[name]
    inside, outside, rest = family
    if condition is not None:
        inside = _times(condition, inside)
    return Mix(name, [inside if region in chosen else outside for region in "1234"], rest)


def _times(factor: float, row: Row) -> Row:
    a, b, c, d = (factor * k if k else 0.0 for k in row)  # no zero with a sign
    return a, b, c, d
