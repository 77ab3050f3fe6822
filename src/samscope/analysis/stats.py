"""Statistics that few seeds can carry: t-intervals, paired over seeds, and Holm's correction.

A percentile bootstrap over three seeds covers 74 % where it claims 95 %; Student's t covers 95 %
at any number of seeds, as far as the values are normal.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and what it takes for its two-sided 95 % t-interval.

    Attributes:
        mean: of the values; NaN for none, or where one of them is not finite.
        error: standard error of the mean; NaN for fewer than two values.
        n: number of values.
    """

    mean: float
    error: float
    n: int

    @property
    def half(self) -> float:
        """Half the width of the interval, ``t(0.975, n - 1) s / sqrt(n)``; NaN for n < 2."""
        return (
            math.nan if self.n < 2 else float(stats.t.ppf((1 + LEVEL) / 2, self.n - 1)) * self.error
        )

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
        """Two-sided p-value of "the mean is 0"; NaN for n < 2."""
        return math.nan if self.n < 2 else 2 * float(stats.t.sf(abs(self.t), self.n - 1))


def mean_interval(values: Iterable[float]) -> Interval:
    """Mean and 95 % t-interval of values, one a seed.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    array = np.asarray(list(values), dtype=float)
    n = len(array)
    if not n or not np.isfinite(array).all():
        return Interval(math.nan, math.nan, n)
    error = float(array.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Interval(float(array.mean()), error, n)


def paired_interval(a: pd.Series, b: pd.Series) -> Interval:
    """Mean and t-interval of ``a - b`` over the seeds both have.

    Args:
        a: values indexed by seed.
        b: values indexed by seed.
    """
    seeds = a.index.intersection(b.index)
    return mean_interval(a.loc[seeds] - b.loc[seeds])


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
