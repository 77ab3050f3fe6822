"""``correlation``: the larger the share of a region, the higher the test accuracy."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from samscope.config.claims import Claim, Region, Rhos, Variant

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        region: of the ratio; its share is the mean over training.
        variant: whose.
        rhos: whose runs are taken.
        over: ``across`` the rhos, seed by seed, or ``within`` them, over seeds.
    """

    region: Region
    variant: Variant
    rhos: Rhos
    over: Literal["across", "within"]


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Correlation of a region's share, mean over training, with test accuracy.

    ``across``: over the rhos, within each seed, then the mean over seeds. ``within``: over seeds,
    with Fisher's interval. Of the seeds that have every rho.
    """
    from samscope.analysis import correlations
    from samscope.analysis.effects import Comparison, by_seed, compared
    from samscope.analysis.stats import mean_interval

    frame = correlations.share_and_accuracy(records, claim.region, claim.variant, claim.rhos)
    wanted = [(claim.variant, rho) for rho in claim.rhos]
    names = "rho " + ", ".join(f"{rho:g}" for rho in claim.rhos)
    absent = [(variant, rho) for variant, rho in wanted if rho not in set(frame.rho)]
    if absent:
        return [Comparison(f"rho {at[1]:g}", reason=records.missing(at)) for at in absent]
    n = correlations.whole(frame).seed.nunique()
    if not n:
        return [Comparison(names, reason=records.missing(*wanted))]
    if claim.over == "across":
        found = correlations.across(frame)
        shown = mean_interval(found)
        part = compared(names, shown, "correlation", [shown], records.missing(*wanted))
        # A t-interval knows nothing of where correlations end.
        low, high = max(part.low, -1.0), min(part.high, 1.0)
        return [replace(part, low=low, high=high, pairs=by_seed(found))]
    value, low, high, p = correlations.within(frame)
    why = "fewer than four seeds" if n < correlations.FISHER else "the same in all seeds"
    reason = f"{why}, no interval" if math.isnan(p) else ""
    return [
        Comparison(names, value, low, high, "correlation", n, value > 0, p, value, reason=reason)
    ]
