"""``matched``: at the training loss that both reach, a variant has more of a metric, or less."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.claims import Claim, MetricName, Rhos, Side, Variant
from samscope.config.typed import Check
from samscope.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

_MEASURED = tuple(
    name for name, metric in METRICS.items() if metric.factors and metric.stage == "curvature"
)


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: of the Hessian, one that differs by factors.
        a: a variant.
        b: another.
        rhos: at each of which they are compared.
        direction: which of the two has more.
    """

    metric: Annotated[MetricName, Check(lambda name: name in _MEASURED, ", ".join(_MEASURED))]
    a: Variant
    b: Variant
    rhos: Rhos
    direction: Side


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` over ``b``, paired over seeds, at each rho, both where the loss is the higher last one.

    Curvature falls as the loss of a classifier does, whatever trained it: of two runs that end at
    unequal losses the spectra are of unequal functions.
    """
    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import metrics_compared

    parts = []
    for rho in claim.rhos:
        paths = [records.trajectory(v, rho, claim.metric) for v in (claim.a, claim.b)]
        missing = records.missing((claim.a, rho), (claim.b, rho))
        if all(map(len, paths)):
            missing = "no spectrum of both at one loss"
        a, b = _at_one_loss(*paths)
        at = at_rho(rho)
        side, margins = claim.direction, records.margins
        parts.append(metrics_compared(at, claim.metric, a, b, side, missing, margins))
    return parts


def _at_one_loss(a: "pd.DataFrame", b: "pd.DataFrame") -> "tuple[pd.Series, pd.Series]":
    """Values of both by seed, at the higher of their last losses; without seeds that lack it."""
    import pandas as pd

    found = {}
    for seed in sorted({*a.seed} & {*b.seed}):
        pair = [path[path.seed == seed].sort_values("epoch") for path in (a, b)]
        level = max(path.loss.iloc[-1] for path in pair)
        found[seed] = [_at(path, level) for path in pair]
    frame = pd.DataFrame.from_dict(found, orient="index", columns=["a", "b"]).dropna()
    return frame.a.astype(float), frame.b.astype(float)


def _at(path: "pd.DataFrame", level: float) -> float:
    """The value where the loss comes down to a level for the last time, by logarithms of both."""
    import numpy as np

    if not (path[["loss", "value"]] > 0).all(axis=None):
        return float("nan")
    loss, value = np.log(path.loss.to_numpy()), np.log(path.value.to_numpy())
    above = np.flatnonzero(loss >= np.log(level))
    if not len(above):
        return float("nan")
    if above[-1] == len(loss) - 1:
        return float(np.exp(value[-1]))
    first, then = above[-1], above[-1] + 1
    part = (loss[first] - np.log(level)) / (loss[first] - loss[then])
    return float(np.exp(value[first] + part * (value[then] - value[first])))
