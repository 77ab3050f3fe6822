"""``explained``: a control has more than some share of a variant's advantage over another."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Variant
from samscope.config.typed import between
from samscope.metrics import METRICS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared.
        control: a variant.
        a: the variant with the advantage, ``a`` minus ``b``.
        b: the variant that it is over.
        rhos: at each of which they are compared.
        share: of the advantage, 0 to 1.
    """

    metric: MetricName
    control: Variant
    a: Variant
    b: Variant
    rhos: Rhos
    share: Annotated[float, between(0, 1, "a number from 0 to 1")]


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """What the control has of the advantage of ``a`` over ``b``, less the claimed share of it.

    Decided where there is an advantage to have a share of: where it is significant itself.
    """
    import numpy as np
    import pandas as pd

    from samscope.analysis.effects import by_seed, compared
    from samscope.analysis.stats import mean_interval

    names, unit = (claim.control, claim.a, claim.b), METRICS[claim.metric].unit
    parts = []
    for rho in claim.rhos:
        values = [records.values(name, rho, claim.metric) for name in names]
        control, a, b = pd.concat(values, axis=1, join="inner").to_numpy().T
        advantage = mean_interval(a - b)
        beyond = control - b - claim.share * (a - b)
        shown = mean_interval(beyond)
        missing = records.missing(*((name, rho) for name in names))
        part = compared(f"rho {rho:g}", shown, unit, [shown], missing)
        p = np.maximum(part.p, advantage.p if advantage.mean > 0 else 1.0)
        parts.append(replace(part, p=float(p), pairs=by_seed(pd.Series(beyond))))
    return parts
