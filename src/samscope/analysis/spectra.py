"""Curvature over seeds and epochs: what differs by factors is averaged as logarithms.

Every number comes with what its record knows of its error, in percent of it: of an eigenvalue the
bound by its Lanczos residual, of the trace half its 95 % interval, of the mean rise two standard
errors. The largest rise is itself a lower bound, and has none.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.analysis.layout import between
from samscope.analysis.stats import Interval, mean_interval
from samscope.metrics import Metric, of_stage
from samscope.plan.types import Plan
from samscope.store.recorded import Number, Spectrum

QUANTITIES = of_stage("curvature")
"""The numbers of a spectrum by name, their columns."""

BOUNDS = {name: f"{name}_bound_percent" for name in QUANTITIES}
"""Columns of the errors: in percent of the number, NaN where none is recorded."""

_AT_LAST = ("pooled_max", "pooled_mean", "batch_asymmetry")
"""Of mini-batches: measured at a run's end alone."""

_LATER = ("filtered_case", "batch_asymmetry", "scale_free")
"""That older records do not have."""

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
        for name, quantity in of_any(frame).items():
            values = group[name]
            if group["last"].all() or name not in _AT_LAST:
                ends = averaged(values, quantity)
                last = bool(group["last"].all())
                bound = group[BOUNDS[name]].max()
                lines.append((cell, epoch, last, name, *ends, len(values), bound))
    columns = ["cell", "epoch", "last", "quantity", "mean", "low", "high", "n", "bound_percent"]
    return pd.DataFrame(lines, columns=columns)


def of_any(frame: pd.DataFrame) -> dict[str, Metric]:
    """The quantities that were measured of a run of ``frame``, from `measured`."""
    return {n: at for n, at in QUANTITIES.items() if n not in _LATER or frame[n].notna().any()}


def averaged(values: pd.Series, quantity: Metric) -> tuple[float, float, float]:
    """Mean of a quantity over seeds and the ends of its 95 % t-interval.

    Of logarithms where ``quantity.factors``; NaN where one is not positive.
    """
    mean, low, high = _ends(mean_interval(values.astype(float).map(quantity.scaled)))
    return quantity.unscaled(mean), quantity.unscaled(low), quantity.unscaled(high)


def interval(line: pd.Series) -> str:
    """``3.6 [2.8, 4.7]``; the mean alone for one seed, a dash where there is none."""
    if math.isnan(line["mean"]):
        return "–"
    return between(line["mean"], line["low"], line["high"])


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
            nodes, weights = (np.array(k, float) for k in (at.density.nodes, at.density.weights))
            if np.isfinite(nodes).all():
                found.append((cell, seed, at.epoch, nodes, weights))
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


def _line(cell: str, seed: int, at: Spectrum, last: bool) -> tuple:
    values, percents = [], []
    errors = _errors(at)
    for name, metric in QUANTITIES.items():
        value = at.numbers.get(metric.read or name)
        values.append(_float(value))
        percents.append(_percent(value, errors.get(metric.read or name, math.nan)))
    return cell, seed, at.epoch, last, at.converged, _float(at.loss), *values, *percents


def _errors(at: Spectrum) -> dict[str, Number]:
    """What a record knows of the errors of its numbers."""
    spread = at.pooled and at.pooled.asymmetry
    filtered = at.filtered_case
    return {
        "lambda_max": at.largest_residuals[0],
        "scale_free": at.largest_residuals[0] and at.largest_residuals[0] * (at.norm or 0) ** 2,
        "leading_ratio": at.leading_ratio.error,
        "lambda_min": at.lambda_min.error,
        "asymmetry": at.asymmetry.error,
        "trace": (_float(at.trace.high) - _float(at.trace.low)) / 2,
        "average_case": 2 * _float(at.average_case.stderr),
        "filtered_case": filtered and 2 * _float(filtered.stderr),
        **dict.fromkeys(("pooled_max", "pooled_mean"), at.pooled and at.pooled.residual),
        "batch_asymmetry": spread and spread.error,
    }


def _percent(value: Number, error: Number) -> float:
    """An error in percent of a value; null beside a number stands for infinity."""
    if value is None:
        return math.nan
    return math.inf if error is None or value == 0 else 100 * abs(error / value)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def _float(value: Number) -> float:
    return math.nan if value is None else float(value)
