"""``similar``: two variants differ by less than a margin in a metric, at every rho."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Variant
from samscope.config.typed import Check
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
    margin: Annotated[float, Check(lambda m: 0 < m < math.inf, "a number above 0")]

    @property
    def of_level(self) -> bool:
        """A margin in points is a level."""
        return True

    def __post_init__(self) -> None:
        if METRICS[self.metric].factors:
            known = ", ".join(name for name, metric in METRICS.items() if not metric.factors)
            raise InputError("claim", "metric", self.metric, known)


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` minus ``b``, paired over seeds, at each rho: above minus the margin and below it."""
    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import by_seed, compared
    from samscope.analysis.stats import paired_interval

    unit, parts = METRICS[claim.metric].unit, []
    for rho in claim.rhos:
        a, b = (records.values(variant, rho, claim.metric) for variant in (claim.a, claim.b))
        gains = [paired_interval(a + claim.margin, b), paired_interval(b + claim.margin, a)]
        missing = records.missing((claim.a, rho), (claim.b, rho))
        part = compared(at_rho(rho), paired_interval(a, b), unit, gains, missing)
        reported = records.printed(claim.metric, (claim.a, rho, {}), (claim.b, rho, {}))
        part = replace(part, printed=reported, pairs=by_seed(a - b))
        if part.n > 1 and all(gain.error == 0 and gain.mean > 0 for gain in gains):
            # The same in all seeds: no spread that could put it outside the margin.
            part = replace(part, claimed=True, p=0.0, reason="")
        parts.append(part)
    return parts
