"""Curvature over seeds and epochs: what differs by factors is averaged as logarithms.

Every number comes with what its record knows of its error, in percent of it: of an eigenvalue the
bound by its Lanczos residual, of the trace half its 95 % interval, of the mean rise two standard
errors. The largest rise is itself a lower bound, and has none.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.analysis.stats import Interval, mean_interval
from samscope.plan.papers import Plan


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
        Quantity("pooled_max", "mean of mini-batches' largest", "pooled λ max", factors=True),
        Quantity("pooled_mean", "mean of the positive top n", "pooled mean", factors=True),
    )
}
BOUNDS = {name: f"{name}_bound_percent" for name in QUANTITIES}
"""Columns of the errors: in percent of the number, NaN where none is recorded."""

COLUMNS = ("cell", "seed", "epoch", "last", "converged", "loss", *QUANTITIES, *BOUNDS.values())


def measured(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """A line for every measured run and epoch, columns `COLUMNS`; pooled values at the last alone.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    lines = [
        _line(cell, seed, at, at is spectra[-1])
        for cell, seed, spectra in results.spectra(plan, cells)
        for at in spectra
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def over_seeds(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """Means and 95 % t-intervals: cell, epoch, last, quantity, mean, low, high, n, bound_percent.

    The last is the largest of any seed, see `BOUNDS`.
    """
    frame, lines = measured(plan, cells), []
    for (cell, epoch), group in frame.groupby(["cell", "epoch"], sort=False):
        for quantity in QUANTITIES.values():
            values = group[quantity.name]
            if group["last"].all() or not quantity.name.startswith("pooled"):
                ends = averaged(values, quantity)
                last = bool(group["last"].all())
                bound = group[BOUNDS[quantity.name]].max()
                lines.append((cell, epoch, last, quantity.name, *ends, len(values), bound))
    columns = ["cell", "epoch", "last", "quantity", "mean", "low", "high", "n", "bound_percent"]
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
    mean, low, high = (_digits(line[k]) for k in ("mean", "low", "high"))
    return mean if math.isnan(line["low"]) else f"{mean} [{low}, {high}]"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def bounds(frame: pd.DataFrame, names: Iterable[str]) -> str:
    """``λ max below 0.01 %, trace at most 29 %``: the largest errors, see `BOUNDS`; "" of nothing.

    Args:
        frame: from `over_seeds`.
        names: of quantities.
    """
    largest = frame.groupby("quantity").bound_percent.max().reindex(list(names)).dropna()
    return ", ".join(
        f"{QUANTITIES[name].symbol} " + ("below 0.01 %" if at < 0.01 else f"at most {at:.2g} %")
        for name, at in largest.items()
    )


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


def _line(cell: str, seed: int, at: dict[str, Any], last: bool) -> tuple:
    trace, average, pooled = at["trace"], at["average_case"], at.get("pooled") or {}
    pairs = ("leading_ratio", "lambda_min", "asymmetry")
    found = {
        "lambda_max": (at["largest"][0], at["largest_residuals"][0]),
        **{name: (at[name]["value"], at[name]["error"]) for name in pairs},
        "trace": (trace["value"], (_float(trace["high"]) - _float(trace["low"])) / 2),
        "worst_case": (at["worst_case"]["value"], math.nan),
        "average_case": (average["value"], 2 * _float(average["stderr"])),
        "pooled_max": (pooled.get("mean_of_largest"), pooled.get("residual", math.nan)),
        "pooled_mean": (pooled.get("mean_of_positive"), pooled.get("residual", math.nan)),
    }
    values = [_float(found[name][0]) for name in QUANTITIES]
    percents = [_percent(*found[name]) for name in QUANTITIES]
    return cell, seed, at["epoch"], last, at["converged"], _float(at["loss"]), *values, *percents


def _percent(value: float | None, error: float | None) -> float:
    """An error in percent of a value; null beside a number stands for infinity."""
    if value is None:
        return math.nan
    return math.inf if error is None or value == 0 else 100 * abs(error / value)


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
