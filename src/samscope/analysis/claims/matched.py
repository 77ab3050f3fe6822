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
    name
    for name, metric in METRICS.items()
    if (metric.factors and metric.stage == "curvature") or metric.stage == "shifts"
)


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: of the Hessian, one that differs by factors; or of shifted test samples.
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
            missing = "nothing was measured of both at one loss"
        a, b = _at_one_loss(paths[0], paths[1], METRICS[claim.metric].factors)
        at = at_rho(rho)
        side, margins = claim.direction, records.margins
        parts.append(metrics_compared(at, claim.metric, a, b, side, missing, margins))
    return parts


def _at_one_loss(
    a: "pd.DataFrame", b: "pd.DataFrame", factors: bool
) -> "tuple[pd.Series, pd.Series]":
    """Values of both by seed, at the higher of their last losses; without seeds that lack it."""
    import pandas as pd

    found = {}
    for seed in sorted({*a.seed} & {*b.seed}):
        pair = [path[path.seed == seed].sort_values("epoch") for path in (a, b)]
        level = max(path.loss.iloc[-1] for path in pair)
        found[seed] = [_at(path, level, factors) for path in pair]
    frame = pd.DataFrame.from_dict(found, orient="index", columns=["a", "b"]).dropna()
    return frame.a.astype(float), frame.b.astype(float)


def _at(path: "pd.DataFrame", level: float, factors: bool = True) -> float:
    """The value where the loss comes down to a level for the last time, by its logarithm.

    By that of the value too, where values differ by factors.
    """
    import numpy as np

    if factors:
        found = _at(path.assign(value=np.log(path.value.where(path.value > 0))), level, False)
        return float(np.exp(found))
    if not (path.loss > 0).all() or path.value.isna().any():
        return float("nan")
    loss, value = np.log(path.loss.to_numpy()), path.value.to_numpy()
    above = np.flatnonzero(loss >= np.log(level))
    if not len(above):
        return float("nan")
    if above[-1] == len(loss) - 1:
        return float(value[-1])
    first, then = above[-1], above[-1] + 1
    part = (loss[first] - np.log(level)) / (loss[first] - loss[then])
    return float(value[first] + part * (value[then] - value[first]))
