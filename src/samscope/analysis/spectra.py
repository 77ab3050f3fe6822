"""Curvature over seeds and epochs: what differs by factors is averaged as logarithms.

The share of the spectrum near zero is of the eigenvalues within 1 % of SGD's largest, at the same
seed and epoch: one scale for all variants, without which a flatter minimum would seem to have less
of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.analysis.stats import Interval, mean_interval
from samscope.papers import Plan

NEAR_ZERO = 0.01
"""Of SGD's largest eigenvalue: what counts as near zero."""


@dataclass(frozen=True)
class Quantity:
    """A number of a spectrum.

    Attributes:
        name: its column.
        title: in words.
        symbol: on an axis.
        factors: whether runs differ by factors: averaged as logarithms, NaN where one is not
            positive.
    """

    name: str
    title: str
    symbol: str
    factors: bool = False


QUANTITIES = {
    q.name: q
    for q in (
        Quantity("lambda_max", "largest eigenvalue", "λ max", factors=True),
        Quantity("leading_ratio", "largest over k-th largest", "λ 1 / λ k", factors=True),
        Quantity("trace", "trace", "trace", factors=True),
        Quantity("lambda_min", "smallest eigenvalue", "λ min"),
        Quantity("asymmetry", "|largest over smallest|", "|λ max / λ min|", factors=True),
        Quantity("worst_case", "largest rise within rho", "worst-case sharpness", factors=True),
        Quantity("average_case", "mean rise at rho", "average-case sharpness", factors=True),
        Quantity("near_zero", "share near zero, %", "near zero, %"),
        Quantity("pooled_max", "mean of mini-batches' largest", "pooled λ max", factors=True),
        Quantity("pooled_mean", "mean of the positive top n", "pooled mean", factors=True),
    )
}
COLUMNS = ("cell", "seed", "epoch", "last", "loss", *QUANTITIES)


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


def measured(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """A line for every measured run and epoch, columns `COLUMNS`; pooled values at the last alone.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    cells = list(dict.fromkeys(cells))
    flat = {cell: reference(plan, cell) for cell in cells}
    found = results.spectra(plan, [*cells, *filter(None, flat.values())])
    tops = {
        (cell, seed, at["epoch"]): _float(at["largest"][0])
        for cell, seed, spectra in found
        for at in spectra
    }
    lines = [
        _line(cell, seed, at, at is spectra[-1], tops.get((flat[cell], seed, at["epoch"])))
        for cell, seed, spectra in found
        if cell in flat
        for at in spectra
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def over_seeds(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """Means and 95 % t-intervals: cell, epoch, last, quantity, mean, low, high, n."""
    frame, lines = measured(plan, cells), []
    for (cell, epoch), group in frame.groupby(["cell", "epoch"], sort=False):
        for quantity in QUANTITIES.values():
            values = group[quantity.name]
            if group["last"].all() or not quantity.name.startswith("pooled"):
                ends = averaged(values, quantity)
                last = bool(group["last"].all())
                lines.append((cell, epoch, last, quantity.name, *ends, len(values)))
    columns = ["cell", "epoch", "last", "quantity", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def averaged(values: pd.Series, quantity: Quantity) -> tuple[float, float, float]:
    """Mean of a quantity over seeds and the ends of its 95 % t-interval."""
    values = values.astype(float)
    if not quantity.factors:
        return _ends(mean_interval(values))
    return tuple(
        float(np.exp(end)) for end in _ends(mean_interval(np.log(values.where(values > 0))))
    )


def interval(line: pd.Series) -> str:
    """``3.6 [2.8, 4.7]``; the mean alone for one seed, a dash where there is none."""
    if math.isnan(line["mean"]):
        return "–"
    alone = math.isnan(line["low"])
    return f"{line['mean']:.3g}" + ("" if alone else f" [{line['low']:.3g}, {line['high']:.3g}]")


def densities(
    plan: Plan, cells: Iterable[str]
) -> list[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Cell, seed, epoch, nodes and weights [vectors, steps] of every spectrum that is finite."""
    found = []
    for cell, seed, spectra in results.spectra(plan, cells):
        for at in spectra:
            nodes, weights = (np.array(at["density"][k], float) for k in ("nodes", "weights"))
            if np.isfinite(nodes).all():
                found.append((cell, seed, at["epoch"], nodes, weights))
    return found


def smoothed(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """The density on a grid: a Gaussian of standard deviation ``width`` at each node.

    Args:
        nodes: [vectors, steps]; ``weights`` likewise, a row of which sums to 1.
        weights: of the nodes.
        grid: points [n].
        width: in the units of the nodes.
    """
    z = (grid[:, None] - nodes.reshape(1, -1)) / width
    heights = np.exp(-0.5 * z**2) / (width * math.sqrt(2 * math.pi))
    return heights @ weights.reshape(-1) / len(weights)


def _line(cell: str, seed: int, at: dict[str, Any], last: bool, flat: float | None) -> tuple:
    pooled = at.get("pooled") or {}
    return (
        cell, seed, at["epoch"], last, _float(at["loss"]), _float(at["largest"][0]),
        *(_float(at[k]["value"]) for k in ("leading_ratio", "trace", "lambda_min", "asymmetry")),
        *(_float(at[k]["value"]) for k in ("worst_case", "average_case")),
        _near_zero(at["density"], flat),
        *(_float(pooled.get(k)) for k in ("mean_of_largest", "mean_of_positive")),
    )  # fmt: skip


def _near_zero(density: dict[str, Any], flat: float | None) -> float:
    """The share of the spectrum within `NEAR_ZERO` of SGD's largest eigenvalue, in percent."""
    nodes, weights = (np.array(density[k], float) for k in ("nodes", "weights"))
    if flat is None or not np.isfinite([flat, *nodes.flat]).all():
        return math.nan
    return 100 * float(weights[np.abs(nodes) <= NEAR_ZERO * abs(flat)].sum()) / len(weights)


def reference(plan: Plan, cell: str) -> str | None:
    """The cell of SGD with all else as in a cell; None where there is none."""
    spec = plan.cells[cell].cell
    same = lambda c: (c.paper, c.model, c.data, c.varied)  # noqa: E731
    others = ((i, p.cell) for i, p in plan.cells.items() if p.cell.variant == "sgd")
    return next((i for i, other in others if same(other) == same(spec)), None)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)
