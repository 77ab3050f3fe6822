"""One test over seeds: an effect, its interval, its side, and whether it is too small to matter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis.stats import Interval, paired_interval, seeds_to_equate, seeds_to_tell
from samscope.config.claims import NONE, Margins
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
        within: p-value of two one-sided tests (Schuirmann 1987) that the effect is smaller than the
            margin that was declared; NaN without one.
        reason: why it is not run, or has no interval.
        sided: the intervals that decide the side.
        near: those that put it within the margin, see `near`.
        pairs: the effect in each seed, to four digits, where two cells are compared.
        printed: the effect by the numbers of each table that prints both cells, likewise.
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
    within: float = math.nan
    reason: str = "not planned"
    sided: tuple[Interval, ...] = ()
    near: tuple[Interval, ...] = ()
    pairs: tuple[float, ...] = ()
    printed: tuple[float, ...] = ()

    # Of a hundred comparisons a few are asked for the next two, which take the longest.
    @cached_property
    def seeds(self) -> float:
        """How many would decide the side, see `samscope.analysis.stats.seeds_to_tell`."""
        return max(map(seeds_to_tell, self.sided), default=math.nan)

    @cached_property
    def seeds_within(self) -> float:
        """How many would put it within the margin."""
        return seeds_to_equate(*self.near) if self.near else math.nan

    def told(self) -> dict[str, Any]:
        """All of it that a record holds."""
        found = {name: value for name, value in vars(self).items() if name not in _INTERVALS}
        return {
            **found,
            "pairs": list(self.pairs),
            "printed": list(self.printed),
            "seeds": self.seeds,
            "seeds_within": self.seeds_within,
        }


_INTERVALS = ("sided", "near")


def metrics_compared(
    at: str,
    name: str,
    left: pd.Series,
    right: pd.Series,
    side: str,
    missing: str,
    margins: Margins = NONE,
) -> Comparison:
    """Left minus right of a metric by seed, paired; a ratio where runs differ by factors.

    Args:
        at: what is compared where.
        name: of the metric, or of a column of the history, which is a norm and has factors.
        left: values of ``a``, indexed by seed.
        right: of ``b``, likewise.
        side: what is claimed, ``a_above_b`` or ``a_below_b``.
        missing: why there is no result, where there is none.
        margins: smaller than which an effect does not matter.
    """
    metric = METRICS.get(name)
    if metric and not metric.factors:
        if metric.less:
            # A part of a gap, which can be next to nothing, is no size that matters.
            margins = replace(margins, loss=None)
        return difference(at, left, right, metric.unit, missing, side, margins)
    left, right = (np.log(s.where(s > 0)) for s in (left, right))
    return difference(at, left, right, "ratio", missing, side, margins)


def difference(
    at: str,
    left: pd.Series,
    right: pd.Series,
    unit: str,
    missing: str,
    side: str = "a_above_b",
    margins: Margins = NONE,
) -> Comparison:
    """Left minus right by seed, paired, as `metrics_compared`; a ratio of their logarithms."""
    shown, other = paired_interval(left, right), paired_interval(right, left)
    gains = [other if side == "a_below_b" else shown]
    found = compared(at, shown, unit, gains, missing, near(left, right, unit, margins))
    gaps = (left - right).dropna().astype(float)
    return replace(found, pairs=by_seed(np.exp(gaps) if unit == "ratio" else gaps))


def by_seed(effects: pd.Series) -> tuple[float, ...]:
    """The effect in each seed that has one, to four digits."""
    return tuple(float(f"{effect:.4g}") for effect in effects.dropna())


def near(left: pd.Series, right: pd.Series, unit: str, margins: Margins) -> list[Interval]:
    """How far a difference is above minus the margin, and below it; empty without a margin.

    A margin of a loss is a part of what is compared with: of ``right``, seed by seed.
    """
    if unit == "ratio" and margins.ratio is not None:
        margin = math.log(margins.ratio)
    elif unit == "points" and margins.points is not None:
        margin = margins.points
    elif unit == "" and margins.loss is not None and (right > 0).all():
        part = margins.loss
        return [
            paired_interval(left, (1 - part) * right),
            paired_interval((1 + part) * right, left),
        ]
    else:
        return []
    return [paired_interval(left + margin, right), paired_interval(right + margin, left)]


def compared(
    at: str,
    shown: Interval,
    unit: str,
    gains: list[Interval],
    missing: str,
    near: Sequence[Interval] = (),
) -> Comparison:
    """Supported if all gains are above 0: the side and p-value of the one that is least so.

    Args:
        at: what is compared where.
        shown: the effect; of a ratio, its logarithm.
        unit: of it.
        gains: by how much what is claimed holds.
        missing: why there is no result, where there is none.
        near: of the function of this name.
    """
    if not shown.n:
        return Comparison(at, unit=unit, reason=missing)
    ends = shown.mean, shown.low, shown.high
    if unit == "ratio":
        ends = math.exp(shown.mean), math.exp(shown.low), math.exp(shown.high)
    least = min(gains, key=lambda m: m.mean)
    claimed = least.mean > 0
    p = max(m.p for m in gains) if claimed else least.p
    rank = least.mean if math.isnan(least.t) else least.t
    within = max((side.above for side in near), default=math.nan)
    reason = _why_no_interval(shown) if math.isnan(p) else ""
    sided = tuple(gains) if claimed else (least,)
    return Comparison(
        at, *ends, unit, shown.n, claimed, p, rank, within, reason, sided, tuple(near)
    )  # fmt: skip


def _why_no_interval(shown: Interval) -> str:
    if math.isnan(shown.mean):
        return "a value that is not finite"
    return f"{'one seed' if shown.n == 1 else 'the same in all seeds'}, no interval"
