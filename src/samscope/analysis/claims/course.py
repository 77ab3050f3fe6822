"""``course``: from each value of a leaf to the next a metric rises, or falls."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.claims import LEAVES, Claim, MetricName, Way
from samscope.config.typed import Check, among

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
    """

    metric: MetricName
    leaf: Annotated[str, among(LEAVES)]
    values: Annotated[tuple[Any, ...], Check(lambda v: len(v) > 1, "a list of two values or more")]
    direction: Way


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
