"""Statistics that few seeds can carry: t-intervals, paired over seeds, and Holm's correction.

A percentile bootstrap over three seeds covers 74 % where it claims 95 %; Student's t covers 95 %
at any number of seeds, as far as the values are normal. A number printed from a single run is one
draw: it is compared with the interval in which one further run of ours would fall.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
ROUNDING = 1e-9
"""Of the values: a spread between seeds that is no larger is that of rounding, not of chance."""


@cache
def quantile(df: int) -> float:
    """Student's t that a two-sided 95 % interval reaches to, for degrees of freedom above 0."""
    return float(stats.t.ppf((1 + LEVEL) / 2, df))


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and what it takes for its two-sided 95 % t-interval.

    Attributes:
        mean: of the values; NaN for none, or where one of them is not finite.
        error: standard error of the mean; NaN for fewer than two values, 0 where they are equal but
            for `ROUNDING`.
        n: number of values.
    """

    mean: float
    error: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval, ``t(0.975, n - 1) s / sqrt(n)``; NaN without an error."""
        return quantile(self.n - 1) * self.error if self.error > 0 else math.nan

    @property
    def low(self) -> float:
        """Lower bound."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper bound."""
        return self.mean + self.half

    @property
    def t(self) -> float:
        """Mean over its standard error; infinite where all values are the same and not 0."""
        if self.error == 0:
            return math.copysign(math.inf, self.mean) if self.mean else 0.0
        return self.mean / self.error

    @property
    def p(self) -> float:
        """Two-sided p-value of "the mean is 0"; NaN without an error."""
        return 2 * float(stats.t.sf(abs(self.t), self.n - 1)) if self.error > 0 else math.nan

    @property
    def above(self) -> float:
        """One-sided p-value of "the mean is 0 or less"; NaN for fewer than two values.

        Where all values are the same there is no spread that could put the mean elsewhere: 0 or 1.
        """
        if self.error == 0:
            return float(self.mean <= 0)
        return float(stats.t.sf(self.t, self.n - 1)) if self.error > 0 else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation of the values; NaN without an error."""
        return self.error * math.sqrt(self.n)


def mean_interval(values: Iterable[float], size: float = 0.0) -> Interval:
    """Mean and 95 % t-interval of values, one a seed; no interval where all are equal.

    Args:
        values: one a seed.
        size: of what they are differences of, whose rounding they have; their own where larger.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    array = np.asarray(list(values), dtype=float)
    n = len(array)
    if not n or not np.isfinite(array).all():
        return Interval(math.nan, math.nan, n)
    spread = float(array.std(ddof=1)) if n > 1 else math.nan
    if spread <= ROUNDING * max(size, float(np.abs(array).max())):
        spread = 0.0
    return Interval(float(array.mean()), spread / math.sqrt(n), n)


def paired_interval(a: pd.Series, b: pd.Series) -> Interval:
    """Mean and t-interval of ``a - b`` over the seeds both have.

    Args:
        a: values indexed by seed.
        b: values indexed by seed.
    """
    if not a.index.equals(b.index):
        seeds = a.index.intersection(b.index)
        a, b = a.loc[seeds], b.loc[seeds]
    ours, theirs = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
    size = float(np.abs([ours, theirs]).max()) if len(ours) else 0.0
    return mean_interval(ours - theirs, size)


POWER = 0.8
"""With which a number of seeds is said to decide, were the effect what it was found to be."""

MOST = 1000
"""Seeds; more is no number that anyone runs."""


def seeds_to_tell(found: Interval) -> float:
    """How many values a two-sided t-test at 5 % needs to tell such a mean from 0; inf: over `MOST`.

    Args:
        found: whose mean and standard deviation are taken for the true ones.

    >>> seeds_to_tell(mean_interval([0.0, 1.0, 2.0]))  # one standard deviation: 9.9, by any table
    10
    """
    return _fewest(found, lambda n, t: stats.nct.sf(quantile(n - 1), n - 1, t))


def seeds_to_equate(low: Interval, high: Interval) -> float:
    """How many values two one-sided tests at 5 % need to put a mean within a margin.

    By the t-quantile and the normal power, a bit too few below ten seeds.

    Args:
        low: of the mean plus the margin.
        high: of the margin less the mean; inf where one of them is not above 0.
    """
    if not min(low.mean, high.mean) > 0:
        return math.inf
    wider = high.mean / low.mean

    def power(n: int, t: float) -> float:
        reach = stats.t.ppf(LEVEL, n - 1)
        return stats.norm.cdf(t - reach) + stats.norm.cdf(wider * t - reach) - 1

    return _fewest(low, power)


def _fewest(found: Interval, power: Callable[[int, float], float]) -> float:
    """The fewest values with which a test has `POWER`: of their number and the noncentrality."""
    if not found.sd > 0:
        return math.nan
    ns = range(2, MOST + 1)
    size = abs(found.mean) / found.sd
    at = bisect_left(ns, True, key=lambda n: bool(power(n, size * math.sqrt(n)) >= POWER))
    return ns[at] if at < len(ns) else math.inf


@dataclass(frozen=True)
class Spread:
    """How far single runs scatter about the mean of their cell.

    Attributes:
        sd: standard deviation; NaN where it is not known, and 0 tells no more than that.
        df: degrees of freedom behind it.
    """

    sd: float
    df: int

    def tolerance(self, n: int) -> float:
        """Half the 95 % prediction interval for one further run about a mean of ``n`` runs.

        ``t(0.975, df) sd sqrt(1 + 1/n)``.
        """
        return quantile(self.df) * self._error(n) if self.sd > 0 else math.nan

    def p(self, gap: float, n: int) -> float:
        """Two-sided p-value of "one further run and a mean of ``n`` runs differ by ``gap``"."""
        return (
            2 * float(stats.t.sf(abs(gap) / self._error(n), self.df)) if self.sd > 0 else math.nan
        )

    def _error(self, n: int) -> float:
        return self.sd * math.sqrt(1 + 1 / n)


UNLIKE = 0.01
"""Level of the test, corrected for the number of cells, that sets a cell's spread apart."""


def spreads(cells: Sequence[Sequence[float]]) -> list[Spread]:
    """The spread of each cell: pooled over all, but for those that scatter far more than the rest.

    Pooling makes up for few seeds: with three of its own, a cell's tolerance is five standard
    deviations, with thirty cells of three it is two and a third. A cell whose variance an F-test
    finds larger than that of the others (a collapse) keeps its own and is left out of the pool.

    Args:
        cells: the values of each cell, one a seed; fewer than two add nothing to the pool.
    """
    own = [_squares(values) for values in cells]
    total = _sum(own)
    apart = [_unlike(mine, total, len(own)) for mine in own]
    pool = _sum([mine for mine, alone in zip(own, apart, strict=True) if not alone])
    return [_spread(*(mine if alone else pool)) for mine, alone in zip(own, apart, strict=True)]


def _squares(values: Sequence[float]) -> tuple[float, int]:
    """Sum of squares about the mean and its degrees of freedom; nothing for values not finite."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2 or not np.isfinite(array).all():
        return 0.0, 0
    return float(((array - array.mean()) ** 2).sum()), len(array) - 1


def _sum(squares: Sequence[tuple[float, int]]) -> tuple[float, int]:
    return sum(ss for ss, _ in squares), sum(df for _, df in squares)


def _unlike(mine: tuple[float, int], total: tuple[float, int], count: int) -> bool:
    """Whether a cell's variance is larger than that of all others."""
    (ss, df), (rest, others) = mine, (total[0] - mine[0], total[1] - mine[1])
    if not df or not others or ss == 0:
        return False
    ratio = math.inf if rest <= 0 else (ss / df) / (rest / others)
    return float(stats.f.sf(ratio, df, others)) < UNLIKE / count


def _spread(ss: float, df: int) -> Spread:
    return Spread(math.sqrt(ss / df) if df else math.nan, df)


@dataclass(frozen=True)
class Ranks:
    """Kendall's rank correlation (tau-b), a description.

    It has no p-value: that would take the cells of a table for exchangeable, and they share
    columns, rows and seeds.

    Attributes:
        tau: 1 the same order, -1 the reverse; NaN for fewer than three pairs, or all tied.
        n: number of pairs.
    """

    tau: float
    n: int


def rank_agreement(a: Sequence[float], b: Sequence[float]) -> Ranks:
    """Whether two lists put the same things into the same order; pairs with a NaN do not count.

    >>> round(rank_agreement([1.0, 2.0, 3.0], [10.0, 30.0, 20.0]).tau, 2)
    0.33
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if len(pairs) < 3:
        return Ranks(math.nan, len(pairs))
    return Ranks(float(stats.kendalltau(*zip(*pairs, strict=True)).statistic), len(pairs))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979), in the given order.

    Of families without any effect, at most 5 % have an adjusted value of 0.05 or less. NaN stays
    NaN and does not count.

    >>> [round(x, 2) for x in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [math.nan] * len(p)
    largest = 0.0
    known = sorted((x, i) for i, x in enumerate(p) if not math.isnan(x))
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = largest
    return adjusted
