"""Error, squared loss and norm of fits against their number of features, through the threshold."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from samscope.analysis import canvas, results, scope
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.metrics import METRICS
from samscope.spec import Fit

TITLE = "Double descent"

PANELS = {
    "fit_error_percent": ("Error, %", "fit_train_error_percent"),
    "fit_loss": ("Squared loss", "fit_train_loss"),
    "fit_norm": ("Norm of the coefficients", ""),
}
"""By metric of test samples: title of its panel, and the same of training samples."""
LOOKS: tuple[canvas.Look, ...] = (
    {"color": canvas.BLUE, "marker": "o"},
    {"color": canvas.ORANGE, "marker": "s"},
    {"color": canvas.VERMILLION, "marker": "^"},
    {"color": canvas.PURPLE, "marker": "D"},
)
TRAIN: canvas.Look = {"linestyle": (0, (3, 2)), "linewidth": 1, "marker": ""}
THRESHOLD: canvas.Look = {"color": canvas.MUTED, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
COLUMNS = ("noise", "metric", "n", "features", "mean", "low", "high", "seeds", "cell")


def draw(view: View) -> Drawn:
    """Draw it: a line a share of wrong labels, training samples dashed, the threshold dotted."""
    fits = {row.cell: row.spec for row in view.rows if row.cell and isinstance(row.spec, Fit)}
    data = _data(view, fits)
    if not fits:
        return canvas.unplanned("no fit is planned", data)
    if data.empty:
        return canvas.unrun(data)
    noises = sorted(data.noise.unique())
    looks = dict(zip(noises, LOOKS, strict=False))
    size = canvas.WIDTH, 2.85
    figure, (row,) = canvas.panels(size, len(PANELS), [(0.62, 1.72)], left=0.5, gap=0.5)
    for axes, (metric, (title, train)) in zip(row, PANELS.items(), strict=True):
        axes.set_title(title, fontweight="bold")
        canvas.decades(axes.xaxis)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("features N")
        for n in {fit.train_size for fit in fits.values()}:
            axes.axvline(n, **THRESHOLD)
        for noise, look in looks.items():
            own = data[data.noise == noise]
            _line(axes, own[own.metric == metric], metric, {**look, "markersize": 3})
            if train:
                _line(axes, own[own.metric == train], train, {**look, **TRAIN})
        _scaled(axes, data[data.metric == metric], metric)
    shown = {_told(noise): {**look, "markersize": 4} for noise, look in looks.items()}
    shown["training samples"] = {"color": canvas.INK, **TRAIN}
    shown["N = n"] = THRESHOLD
    canvas.legend(figure, shown)
    return Drawn(figure, data, _caption(view, data, fits))


def _data(view: View, fits: dict[str, Fit]) -> pd.DataFrame:
    """A line for every metric of every fit; means of a loss and a norm are geometric."""
    names = [name for metric, (_, train) in PANELS.items() for name in (metric, train) if name]
    frame = results.metrics(view.plan, fits, names)
    frame = frame[frame.selection == "last"]
    lines = []
    for (cell, metric), values in frame.groupby(["cell", "metric"], sort=False).value:
        of, fit = METRICS[metric], fits[cell]
        found = mean_interval(values.map(of.scaled))
        ends = map(of.unscaled, (found.mean, found.low, found.high))
        about = fit.label_noise, metric, fit.train_size, fit.count
        lines.append((*about, *ends, found.n, cell))
    return pd.DataFrame(lines, columns=COLUMNS).sort_values(["metric", "noise", "features"])


def _line(axes: Axes, frame: pd.DataFrame, metric: str, look: canvas.Look) -> None:
    shown = frame.assign(n=frame.seeds)
    if METRICS[metric].factors:
        canvas.band(axes, shown, "features", logs=True, **look)
    else:
        canvas.band(axes, shown, "features", within=(0.0, METRICS[metric].high), **look)


def _scaled(axes: Axes, shown: pd.DataFrame, metric: str) -> None:
    """Percentages from 0 to 100; else decades around what is of test samples.

    A training loss beyond the threshold is rounding, and leaves the panel.
    """
    if METRICS[metric].unit == "points":
        axes.set_ylim(0, 100)
        return
    canvas.decades(axes.yaxis)
    axes.set_ylim(shown["mean"].min() / 2, shown["mean"].max() * 2)


def _told(noise: float) -> str:
    return f"{100 * noise:g} % wrong labels" if noise else "true labels"


def _caption(view: View, data: pd.DataFrame, fits: dict[str, Fit]) -> str:
    sizes = " or ".join(f"{n:,}" for n in sorted({fit.train_size for fit in fits.values()}))
    best = [_lowest(data[(data.metric == "fit_error_percent") & (data.noise == noise)], noise)
            for noise in sorted({fit.label_noise for fit in fits.values()})]  # fmt: skip
    rows = [row for row in view.rows if row.cell in fits]
    absent = sorted({fit.label_noise for fit in fits.values()} - {*data.noise})
    return (
        f"Least squares on N random features of n = {sizes} samples, of least norm where N > n: "
        f"{canvas.means(data.seeds)}, of loss and norm the geometric mean. Solid: test samples; "
        "dashed: training samples with their labels. Dotted: the interpolation threshold N = n, "
        "beyond which the training loss is rounding and off the panel. "
        + "".join(best)
        + canvas.missing(map(_told, absent))
        + scope.brief(view.plan, view.paper.name, rows)
    )


def _lowest(own: pd.DataFrame, noise: float) -> str:
    """The lowest test error on either side of the threshold, in a sentence; "" where one lacks."""
    below, above = own[own.features < own.n], own[own.features > own.n]
    if not (len(below) and len(above)):
        return ""
    first, second = (side.loc[side["mean"].idxmin()] for side in (below, above))
    return (
        f"Lowest error with {_told(noise)}: {first['mean']:.1f} % at N = {first.features:,} below "
        f"the threshold, {second['mean']:.1f} % at N = {second.features:,} above it. "
    )
