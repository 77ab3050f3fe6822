"""``bin_trend``: each of some bins of the ratio comes to hold more parameters, or fewer."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from samscope.config.claims import Bins, Trend, Way

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Trend):
    """What such a claim says.

    Attributes:
        bins: of `samscope.optim.bins.BINS`.
        direction: of the change.
    """

    bins: Bins
    direction: Way


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Late minus early share of each bin, paired over seeds, at each rho."""
    return [
        records.trend(claim, rho, partial(records.share, claim.variant, rho, name), name)
        for rho in claim.rhos
        for name in claim.bins
    ]
