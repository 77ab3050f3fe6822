"""One test over seeds: an effect with its interval, and whether it lies on the claimed side."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from samscope.analysis.stats import Interval, paired_interval
from samscope.metrics import METRICS


@dataclass(frozen=True)
class Comparison:
    """One test over seeds.

    Attributes:
        at: what is compared where, such as ``rho 0.2``.
        effect: in ``unit``, with its 95 % t-interval ``low`` to ``high``.
        low: lower bound, NaN where there is no interval.
        high: upper bound, likewise.
        unit: ``points``, ``%``, ``ratio``, ``correlation``, or "" for a loss.
        n: number of seeds; 0: not run.
        claimed: whether the effect lies on the claimed side.
        p: two-sided p-value, of the side it lies on; NaN where there is no interval.
        rank: the lower, the less it supports the claim (a t statistic).
        reason: why it is not run, or has no interval.
    """

    at: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    n: int = 0
    claimed: bool = False
    p: float = math.nan
    rank: float = math.nan
    reason: str = "not planned"


def metrics_compared(
    at: str, name: str, left: pd.Series, right: pd.Series, side: str, missing: str
) -> Comparison:
    """Left minus right of a metric by seed, paired; a ratio where runs differ by factors.

    Args:
        at: what is compared where.
        name: of the metric, or of a column of the history, which is a norm and has factors.
        left: values of ``a``, indexed by seed.
        right: of ``b``, likewise.
        side: what is claimed, ``a_above_b`` or ``a_below_b``.
        missing: why there is no result, where there is none.
    """
    metric = METRICS.get(name)
    if metric and not metric.factors:
        return difference(at, left, right, metric.unit, missing, side)
    left, right = (np.log(s.where(s > 0)) for s in (left, right))
    return difference(at, left, right, "ratio", missing, side)


def difference(
    at: str, left: pd.Series, right: pd.Series, unit: str, missing: str, side: str = "a_above_b"
) -> Comparison:
    """Left minus right by seed, paired, as `metrics_compared`; a ratio of their logarithms."""
    shown, other = paired_interval(left, right), paired_interval(right, left)
    return compared(at, shown, unit, [other if side == "a_below_b" else shown], missing)


def compared(
    at: str, shown: Interval, unit: str, margins: list[Interval], missing: str
) -> Comparison:
    """Supported if all margins are above 0: the side and p-value of the one that is least so."""
    if not shown.n:
        return Comparison(at, unit=unit, reason=missing)
    ends = shown.mean, shown.low, shown.high
    if unit == "ratio":
        ends = tuple(map(math.exp, ends))
    least = min(margins, key=lambda m: m.mean)
    claimed = least.mean > 0
    p = max(m.p for m in margins) if claimed else least.p
    rank = least.mean if math.isnan(least.t) else least.t
    reason = _why_no_interval(shown) if math.isnan(p) else ""
    return Comparison(at, *ends, unit, shown.n, claimed, p, rank, reason)


def _why_no_interval(shown: Interval) -> str:
    if math.isnan(shown.mean):
        return "a value that is not finite"
    return f"{'one seed' if shown.n == 1 else 'the same in all seeds'}, no interval"
