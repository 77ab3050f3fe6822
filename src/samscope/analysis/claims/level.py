"""``level``: a metric is at least so much, or at most, or between the two."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Variant
from samscope.config.typed import Check
from samscope.errors import InputError
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

_LEVELS = tuple(name for name, metric in METRICS.items() if not metric.factors)


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: one whose runs do not differ by factors.
        variant: whose.
        rhos: at each of which it is.
        above: it is more than this.
        below: it is less than this.

    Raises:
        InputError: without a bound, or where no number is between them.
    """

    metric: Annotated[MetricName, Check(lambda name: name in _LEVELS, ", ".join(_LEVELS))]
    variant: Variant
    rhos: Rhos
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        low, high = self.above, self.below
        if low is None and high is None:
            raise InputError("claim", "above", "(missing)", "a bound, here or in below")
        if low is not None and high is not None and low >= high:
            raise InputError("claim", "below", f"{high:g}", f"more than above, {low:g}")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The mean over seeds against its bounds, at each rho, by a t-test for each bound."""
    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import compared
    from samscope.analysis.stats import mean_interval

    unit, parts = METRICS[claim.metric].unit, []
    for rho in claim.rhos:
        found = records.values(claim.variant, rho, claim.metric).astype(float)
        gains = [] if claim.above is None else [mean_interval(found - claim.above)]
        gains += [] if claim.below is None else [mean_interval(claim.below - found)]
        missing = records.missing((claim.variant, rho))
        parts.append(compared(at_rho(rho), mean_interval(found), unit, gains, missing))
    return parts
