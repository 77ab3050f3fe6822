"""The share of a region against test accuracy: across rhos within a seed, and over seeds."""

import math
from collections.abc import Iterable

import pandas as pd
from scipy import stats

from samscope.analysis.comparisons import Records
from samscope.analysis.stats import LEVEL, mean_interval

FISHER = 4
"""Seeds that Fisher's interval takes at least."""

LARGEST = 1 - 1e-12
"""Correlation of which Fisher's z is finite."""


def share_and_accuracy(
    records: Records, region: int, variant: str, rhos: Iterable[float]
) -> pd.DataFrame:
    """Columns rho, seed, share (mean over training, percent) and accuracy, a row a run."""
    frames = []
    for rho in rhos:
        share = records.history(variant, rho, f"region{region}", "mean")
        accuracy = records.values(variant, rho, "test_acc_percent")
        frame = pd.DataFrame({"share": share, "accuracy": accuracy}).dropna()
        frames.append(frame.rename_axis("seed").reset_index().assign(rho=rho))
    return pd.concat(frames, ignore_index=True)


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of the seeds that have every rho of the frame."""
    return frame[frame.groupby("seed").rho.transform("size") == frame.rho.nunique()]


def across(frame: pd.DataFrame) -> pd.Series:
    """Correlation over the rhos, by seed; of seeds that have them all."""
    seeds = whole(frame).groupby("seed")
    return pd.Series({seed: correlated(g.share, g.accuracy) for seed, g in seeds}, dtype=float)


def correlated(x: pd.Series, y: pd.Series) -> float:
    """Pearson's correlation, NaN where one of them does not vary."""
    if not (mean_interval(x).error > 0 and mean_interval(y).error > 0):
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum()) / math.sqrt(float((x * x).sum() * (y * y).sum()))


def within(frame: pd.DataFrame) -> tuple[float, float, float, float]:
    """Correlation over seeds, its 95 % interval by Fisher's z, and the p-value of none.

    A seed counts once, with its means over the rhos: its runs share initial weights and the order
    of the data. Seeds that lack a rho are left out, so that what a rho does is the same for all.
    """
    seeds = whole(frame).groupby("seed")[["share", "accuracy"]].mean()
    value = correlated(seeds.share, seeds.accuracy)
    if len(seeds) < FISHER or math.isnan(value):
        return value, math.nan, math.nan, math.nan
    z, error = math.atanh(max(-LARGEST, min(LARGEST, value))), 1 / math.sqrt(len(seeds) - 3)
    half = stats.norm.ppf((1 + LEVEL) / 2) * error
    return value, math.tanh(z - half), math.tanh(z + half), 2 * float(stats.norm.sf(abs(z) / error))
