"""``similar``: two variants differ by less than a margin in a metric, at every rho."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Variant
from samscope.config.typed import between
from samscope.errors import InputError
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared, of those that differ by a difference.
        a: a variant.
        b: another.
        rhos: at each of which they are compared.
        margin: less than which is no difference that matters, in the units of the metric.

    Raises:
        InputError: for a metric whose runs differ by factors.
    """

    metric: MetricName
    a: Variant
    b: Variant
    rhos: Rhos
    margin: Annotated[float, between(1e-9, math.inf, "a number above 0")]

    def __post_init__(self) -> None:
        if METRICS[self.metric].factors:
            known = ", ".join(name for name, metric in METRICS.items() if not metric.factors)
            raise InputError("claim", "metric", self.metric, known)


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` minus ``b``, paired over seeds, at each rho: above minus the margin and below it."""
    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import compared
    from samscope.analysis.stats import paired_interval

    unit, parts = METRICS[claim.metric].unit, []
    for rho in claim.rhos:
        a, b = (records.values(variant, rho, claim.metric) for variant in (claim.a, claim.b))
        gains = [paired_interval(a + claim.margin, b), paired_interval(b + claim.margin, a)]
        missing = records.missing((claim.a, rho), (claim.b, rho))
        parts.append(compared(at_rho(rho), paired_interval(a, b), unit, gains, missing))
    return parts
