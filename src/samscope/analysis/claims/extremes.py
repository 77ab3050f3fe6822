"""``extremes``: the most of a metric over some values of a leaf is above that over others.

Or the least is below it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import LEAVES, Claim, MetricName, Side, Values
from samscope.config.typed import among
from samscope.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared.
        leaf: in whose values the runs differ.
        a: some of them, as the paper has them.
        b: others.
        direction: ``a_above_b``, of the largest over each; ``a_below_b``, of the smallest.

    Raises:
        InputError: for a value on both sides.
    """

    metric: MetricName
    leaf: Annotated[str, among(LEAVES)]
    a: Values
    b: Values
    direction: Side

    def __post_init__(self) -> None:
        both = [value for value in self.a if value in self.b]
        if both:
            raise InputError("claim", "b", both[0], "values that a has not")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The extremes of ``a`` and of ``b``, seed by seed, of the seeds that have all values."""
    from samscope.analysis.comparisons import why_missing
    from samscope.analysis.effects import metrics_compared

    cells = [
        [records.cell("", None, {claim.leaf: value}) for value in side]
        for side in (claim.a, claim.b)
    ]
    left, right = (_extreme(claim, records, side) for side in cells)
    sides = (", ".join(f"{value:g}" if _is_number(value) else str(value) for value in side)
             for side in (claim.a, claim.b))  # fmt: skip
    at = f"{claim.leaf} " + " and ".join(sides)
    missing = why_missing(cell for side in cells for cell in side)
    return [metrics_compared(at, claim.metric, left, right, claim.direction, missing,
                             records.margins)]  # fmt: skip


def _extreme(claim: Fields, records: "Records", cells: list[str | None]) -> "pd.Series":
    """By seed, the largest or the smallest over cells; empty where one is not run."""
    import pandas as pd

    found = [records.of(cell, claim.metric) for cell in cells]
    frame = pd.concat(found, axis=1, join="inner")
    above = claim.direction == "a_above_b"
    return frame.max(axis=1, skipna=False) if above else frame.min(axis=1, skipna=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
