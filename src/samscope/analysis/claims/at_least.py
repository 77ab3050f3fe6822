"""``at_least``: a metric that differs by factors is so much, or more."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Variant
from samscope.config.typed import Check
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

_FACTORS = tuple(name for name, metric in METRICS.items() if metric.factors)


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: one whose runs differ by factors.
        variant: whose.
        rhos: at each of which it is.
        bound: at least so much.
    """

    metric: Annotated[MetricName, Check(lambda name: name in _FACTORS, ", ".join(_FACTORS))]
    variant: Variant
    rhos: Rhos
    bound: Annotated[float, Check(lambda b: 0 < b < math.inf, "a number above 0")]


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The geometric mean over seeds against the bound, at each rho, by a t-test of logarithms."""
    import numpy as np

    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import by_seed, compared
    from samscope.analysis.stats import mean_interval

    parts = []
    for rho in claim.rhos:
        found = records.values(claim.variant, rho, claim.metric).astype(float)
        logs = np.log(found.where(found > 0))
        missing = records.missing((claim.variant, rho))
        gains = [mean_interval(logs - math.log(claim.bound))]
        part = compared(at_rho(rho), mean_interval(logs), "ratio", gains, missing)
        parts.append(replace(part, pairs=by_seed(found)))
    return parts
