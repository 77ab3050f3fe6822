"""``course``: from each value of a leaf to the next a metric rises, or falls."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import LEAVES, Claim, MetricName, Values, Way
from samscope.config.typed import among
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that rises or falls.
        leaf: with what.
        values: of the leaf, two or more in order, as the paper has them.
        direction: of the metric.

    Raises:
        InputError: for one value.
    """

    metric: MetricName
    leaf: Annotated[str, among(LEAVES)]
    values: Values
    direction: Way

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise InputError("claim", "values", list(self.values), "a list of two values or more")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Each value less the one before it, paired over seeds; a ratio of what differs by factors."""
    from itertools import pairwise

    from samscope.analysis.comparisons import told, why_missing
    from samscope.analysis.effects import metrics_compared

    side = "a_above_b" if claim.direction == "rises" else "a_below_b"
    parts = []
    for early, late in pairwise(claim.values):
        cells = [records.cell("", None, {claim.leaf: value}) for value in (late, early)]
        left, right = (records.of(cell, claim.metric) for cell in cells)
        at = f"{told({claim.leaf: early})} to {late:g}"
        missing = why_missing(cells)
        found = metrics_compared(at, claim.metric, left, right, side, missing, records.margins)
        sides = [("", None, {claim.leaf: value}) for value in (late, early)]
        parts.append(replace(found, printed=records.printed(claim.metric, *sides)))
    return parts
