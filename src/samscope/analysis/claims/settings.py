"""``settings``: a variant has more of something with other settings than with its own, or less."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, Leaves, Side, Variant, When
from samscope.config.typed import among
from samscope.errors import InputError
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

_SHARES = ("region1", "region2", "region3", "region4")


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared; ``grad_norm`` and the shares of the regions, ``region1`` to
            ``region4``, are of training.
        when: in training; of a metric of a run its end.
        variant: whose.
        a: leaves as the paper has them; none for its protocol.
        b: others.
        direction: which of the two has more.
    """

    metric: Annotated[str, among((*METRICS, "grad_norm", *_SHARES))]
    variant: Variant
    a: Leaves
    b: Leaves
    direction: Side
    when: When = "mean"

    def __post_init__(self) -> None:
        if self.metric in METRICS and self.when != "mean":
            raise InputError("claim", "when", self.when, "none with a metric of a run")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The variant with the settings ``a`` and with ``b``, paired over seeds."""
    from samscope.analysis.comparisons import told, why_missing
    from samscope.analysis.effects import difference, metrics_compared

    cells = [records.cell(claim.variant, None, settings) for settings in (claim.a, claim.b)]
    left, right = (records.of(cell, claim.metric, claim.when) for cell in cells)
    at, missing = f"{told(claim.a)} and {told(claim.b)}", why_missing(cells)
    side, margins = claim.direction, records.margins
    if claim.metric in _SHARES:
        return [difference(at, left, right, "points", missing, side, margins)]
    found = metrics_compared(at, claim.metric, left, right, side, missing, margins)
    sides = [(claim.variant, None, settings) for settings in (claim.a, claim.b)]
    return [replace(found, printed=records.printed(claim.metric, *sides))]
