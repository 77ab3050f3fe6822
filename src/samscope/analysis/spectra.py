"""Sharpness over seeds: eigenvalues are averaged as logarithms, they differ by factors."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.analysis.stats import mean_interval
from samscope.papers import Plan


def spectra(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """A line for every measured cell: cell, mean, low, high, sample_loss, trace, n.

    ``mean`` is the geometric mean of the largest eigenvalue over ``n`` seeds, ``low`` to ``high``
    the 95 % t-interval of its logarithm; loss (on the same images) and trace are plain means.
    """
    lines = []
    for cell, group in results.curvature(plan, cells).groupby("cell", sort=False):
        top = mean_interval(np.log(group.lambda_max.where(group.lambda_max > 0)))
        ends = np.exp([top.mean, top.low, top.high])
        rest = group.sample_loss.mean(skipna=False), group.trace.mean(skipna=False)
        lines.append((cell, *map(float, ends), *rest, top.n))
    columns = ["cell", "mean", "low", "high", "sample_loss", "trace", "n"]
    return pd.DataFrame(lines, columns=columns)
