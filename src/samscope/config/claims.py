"""What a paper claims, as its ``claims.yaml`` says: what all claims have, and the types of fields.

A kind of claim is a file of `samscope.analysis.claims`, with fields of its own beside these. Claims
are read with the plan, so that a mistake stops before anything trains: no torch and no pandas here.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from samscope.config.reading import read_yaml
from samscope.config.typed import Check, Text, among, between
from samscope.config.typed import read as read_typed
from samscope.errors import InputError
from samscope.metrics import METRICS
from samscope.optim.bins import BINS
from samscope.optim.mixes import VARIANTS, named_mix
from samscope.spec import SPECS
from samscope.spec.leaves import leaves, parsed

BEST = "best"
"""Of a leaf: of several values, that of the cell which is chosen."""


def variant_leaves(text: str) -> dict[str, Any]:
    """The leaves that a claim's variant stands for: its name, then others as ``leaf=value``.

    ``leaf=best`` is of the cell that is chosen of those of a row with several values of the leaf,
    see `samscope.analysis.choice`.

    Raises:
        ValueError: for no variant, an unknown leaf, or a value that it cannot have.

    >>> variant_leaves("sameckpt3 condition=0.1")
    {'variant': 'sameckpt3', 'condition': 0.1}
    """
    name, *words = text.split()
    found: dict[str, Any] = {"variant": name, "condition": None}
    for word in words:
        leaf, _, value = word.partition("=")
        kind = next((spec for spec in SPECS.values() if leaf in leaves(spec)), None)
        if kind is None or leaf == "variant":
            raise InputError("claim", "variant", text, _VARIANTS)
        found[leaf] = BEST if value == BEST else parsed(kind, leaf, value, "claim")
    named_mix(name, found["condition"])
    return found


def _is_variant(text: str) -> bool:
    try:
        return bool(variant_leaves(text))
    except ValueError:
        return False


_VARIANTS = f"{VARIANTS}; after it leaf=value, as in sameckpt<S> condition=<number>, or leaf=best"


def _each_once(values: tuple) -> bool:
    return bool(values) and all(value not in values[:at] for at, value in enumerate(values))


Variant = Annotated[str, Check(_is_variant, _VARIANTS)]
Variants = Annotated[tuple[Variant, ...], Check(_each_once, "a list of variants, each once")]
MetricName = Annotated[str, among(METRICS)]
Region = Literal[1, 2, 3, 4]
Bin = Annotated[str, among(BINS)]
Bins = Annotated[tuple[Bin, ...], Check(_each_once, "a list of bins, each once")]
Rho = Annotated[float, Check(lambda rho: 0 <= rho < math.inf, "a number >= 0")]
Rhos = Annotated[tuple[Rho, ...], Check(_each_once, "a list of numbers >= 0, each once")]
Percent = Annotated[float, between(0, 100, "a number from 0 to 100")]
When = Literal["first_epoch", "last_epoch", "first_half", "second_half", "mean"]
"""Which of the rows of a history: the first, the last, a half of training, or the mean of all."""
Side = Literal["a_above_b", "a_below_b"]
Way = Literal["rises", "falls"]
Course = Literal["rises", "falls", "does_not_fall"]
Gradient = Literal["g", "h"]
LEAVES = tuple({leaf: 0 for kind in SPECS.values() for leaf in leaves(kind)})
Leaves = dict[Annotated[str, among(LEAVES)], Any]
"""Leaves of specs and their values, as the paper has them."""
Values = Annotated[tuple[Any, ...], Check(_each_once, "a list of values, each once")]
"""Of a leaf that the claim names, as the paper has them."""


_ABOVE_0 = Check(lambda margin: 0 < margin < math.inf, "a number above 0")


@dataclass(frozen=True)
class Margins:
    """Effects that are too small to matter, declared before any run; None: any may matter.

    Attributes:
        points: of percentages, their differences.
        ratio: of what differs by factors, on either side: 1.25 is from 0.8 to 1.25.
        loss: of a loss, as a part of the loss that it is compared with.
    """

    points: Annotated[float, _ABOVE_0] | None = None
    ratio: Annotated[float, Check(lambda r: 1 < r < math.inf, "a number above 1")] | None = None
    loss: Annotated[float, Check(lambda x: 0 < x < 1, "a number between 0 and 1")] | None = None


NONE = Margins()

Asks = Literal["paper", "open", "ours"]
"""Whose a claim is: what the paper says; what it asks and leaves open; what we ask of it."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What every claim has.

    Attributes:
        id: of its own; a letter for each part of a compound claim.
        quote: the paper's words.
        location: in the paper.
        test: what is done, in a sentence.
        reported: as printed.
        kind: a file of `samscope.analysis.claims`.
        note: on how the words are read.
        asks: whose it is.
        runs: a name that claims share which rest on the same runs, and fall together with them.
        margins: smaller than which an effect does not matter; those of the file hold for all.
        where: leaves of the cells that it is about; those that the file names hold for all.
    """

    id: Text
    quote: str
    location: str
    test: str
    reported: str
    kind: str
    note: str = ""
    asks: Asks = "paper"
    runs: str = ""
    margins: Margins = NONE
    where: Leaves = field(default_factory=dict)

    @property
    def of_level(self) -> bool:
        """Whether it is of a level, which the training of something else does not decide."""
        return False


@dataclass(frozen=True, kw_only=True)
class Bounded(Claim):
    """A claim of a level: at least one number, at most another, or both; or of none.

    Attributes:
        variant: whose.
        rhos: at which.
        at_least: in percent.
        at_most: in percent.

    Raises:
        InputError: where no number is between them.
    """

    variant: Variant
    rhos: Rhos
    at_least: Percent | None = None
    at_most: Percent | None = None

    def __post_init__(self) -> None:
        low, high = self.at_least, self.at_most
        if low is not None and high is not None and low >= high:
            raise InputError("claim", "at_most", f"{high:g}", f"more than at_least, {low:g}")

    @property
    def of_level(self) -> bool:
        """Whether it has a bound."""
        return (self.at_least, self.at_most) != (None, None)


@dataclass(frozen=True, kw_only=True)
class Trend(Claim):
    """A claim that something rises or falls in training.

    Attributes:
        variant: whose.
        rhos: at which.
        early: what is compared.
        late: with what.
        direction: of the change.
    """

    variant: Variant
    rhos: Rhos
    early: When
    late: When
    direction: Course


@dataclass(frozen=True)
class _File:
    """``claims.yaml``."""

    claims: tuple[dict[str, Any], ...]
    where: Leaves = field(default_factory=dict)
    margins: Margins = NONE


def read(path: Path, kinds: Mapping[str, type[Claim]]) -> tuple[Claim, ...]:
    """The claims of a ``claims.yaml``, in order; none where there is no such file.

    Args:
        path: of the file.
        kinds: by name, what a claim of each says.

    Raises:
        InputError: for an unknown kind, an unknown or missing field, or a value that a field does
            not allow; naming file, claim, field and value.
    """
    if not path.exists():
        return ()
    where = f"{path.parent.name}/{path.name}"
    file = read_typed(_File, read_yaml(path), where)
    found: dict[str, Claim] = {}
    for raw in file.claims:
        claim = _read(raw, kinds, f"{where} {raw.get('id', '(no id)')}")
        if claim.id in found:
            raise InputError(where, "id", claim.id, "an id of its own for each claim")
        own = {name: value for name, value in asdict(claim.margins).items() if value is not None}
        found[claim.id] = replace(
            claim, where={**file.where, **claim.where}, margins=replace(file.margins, **own)
        )
    return tuple(found.values())


def _read(raw: Mapping[str, Any], kinds: Mapping[str, type[Claim]], where: str) -> Claim:
    kind = kinds.get(str(raw.get("kind")))
    if kind is None:
        raise InputError(where, "kind", raw.get("kind", "(missing)"), ", ".join(kinds))
    try:
        return read_typed(kind, raw, where)
    except InputError as error:
        # What only several fields show is found by the claim itself, which knows no file.
        raise InputError(where, error.field, error.value, error.allowed) from None
