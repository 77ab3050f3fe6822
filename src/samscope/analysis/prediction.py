"""How well a number of a run foretells another: rank correlation and mutual information.

Of the runs of a seed, which share initial weights and the order of the data; over seeds, of which
each counts once. Mutual information is that of Y. Jiang et al. (arXiv:1912.02178, section 6), which
Foret et al. report: of two runs, whether the measure and whether what it is to foretell is larger
in the first. Both orders of a pair count, so that of each sign the chances are even, and of a share
c of pairs in one order it is 1 - H(c) bits, H(c) = -c log c - (1 - c) log(1 - c): 0 where c is a
half, 1 where all pairs agree, or none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from samscope.analysis.stats import LEVEL, Interval, mean_interval

DRAWS = 1000
"""Bootstrap samples of the seeds, and permutations within them."""


@dataclass(frozen=True)
class Power:
    """What a measure foretells.

    Attributes:
        spearman: correlation of ranks, mean over seeds.
        kendall: tau-b, likewise.
        information: in bits of a pair of runs.
        low: lower bound of its 95 % interval, by percentiles of a bootstrap over seeds.
        high: upper bound.
        chance: what runs that are exchanged within their seeds give, in the mean. The estimate is
            too high by about that, since shares are counted, not known.
        chance_high: what 95 % of such exchanges stay below.
    """

    spearman: Interval
    kendall: Interval
    information: float
    low: float
    high: float
    chance: float
    chance_high: float


def power(measure: pd.DataFrame, target: pd.DataFrame) -> Power:
    """Of a measure and what it is to foretell, both [seeds, cells], without missing values."""
    x, y = measure.to_numpy(float), target.to_numpy(float)
    pairs = list(zip(x, y, strict=True))
    ranked = {
        f.__name__: mean_interval([float(f(a, b).statistic) for a, b in pairs])
        for f in (stats.spearmanr, stats.kendalltau)
    }
    random = np.random.default_rng(0)
    signs = _signs(y)
    agree = _agreeing(_signs(x), signs)
    drawn = random.integers(len(x), size=(DRAWS, len(x)))
    ends = np.quantile(_bits(agree[drawn].sum(1)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mixed = _exchanged(x, signs, random.permuted)
    return Power(
        ranked["spearmanr"],
        ranked["kendalltau"],
        float(_bits(agree.sum(0))),
        float(ends[0]),
        float(ends[1]),
        float(mixed.mean()),
        float(np.quantile(mixed, LEVEL)),
    )


def _exchanged(x: np.ndarray, signs: np.ndarray, permuted: Callable[..., np.ndarray]) -> np.ndarray:
    """Information of measures whose cells are exchanged within each seed, `DRAWS` times."""
    found = [_agreeing(_signs(permuted(x, axis=1)), signs).sum(0) for _ in range(DRAWS)]
    return _bits(np.stack(found))


def _signs(values: np.ndarray) -> np.ndarray:
    """Of each pair of cells, by seed: which is larger, [seeds, pairs]."""
    one, other = np.triu_indices(values.shape[1], 1)
    return np.sign(values[:, one] - values[:, other])


def _agreeing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By seed, how many pairs are in one order and how many in two, [seeds, 2]; no ties."""
    product = one * other
    return np.stack([(product > 0).sum(1), (product < 0).sum(1)], axis=1)


def _bits(counts: np.ndarray) -> np.ndarray:
    """Mutual information of counts [..., 2] of pairs that agree and that do not; NaN of none."""
    share = counts / counts.sum(-1, keepdims=True)
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    return 1 + (share * logs).sum(-1)
