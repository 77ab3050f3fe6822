"""``settings``: a variant has more of something with other settings than with its own, or less."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, Leaves, Side, Variant
from samscope.config.typed import among
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared; ``grad_norm`` is its mean over training.
        variant: whose.
        a: leaves as the paper has them; none for its protocol.
        b: others.
        direction: which of the two has more.
    """

    metric: Annotated[str, among((*METRICS, "grad_norm"))]
    variant: Variant
    a: Leaves
    b: Leaves
    direction: Side


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The variant with the settings ``a`` and with ``b``, paired over seeds."""
    from samscope.analysis.comparisons import told, why_missing
    from samscope.analysis.effects import metrics_compared

    cells = [records.cell(claim.variant, None, settings) for settings in (claim.a, claim.b)]
    left, right = (records.of(cell, claim.metric) for cell in cells)
    at, missing = f"{told(claim.a)} and {told(claim.b)}", why_missing(cells)
    side, margins = claim.direction, records.margins
    return [metrics_compared(at, claim.metric, left, right, side, missing, margins)]
