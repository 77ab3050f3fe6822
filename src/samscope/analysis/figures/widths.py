"""Test loss, error and training loss of trained networks over their parameters: double descent."""

from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes

from samscope import data as datasets
from samscope import models
from samscope.analysis import canvas, results, scope
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.plan.types import Row
from samscope.spec import Cell

TITLE = "Double descent of trained networks"

PANELS = {"test_loss": "Test loss", "test_error_percent": "Test error, %",
          "train_loss": "Training loss"}  # fmt: skip
LOOKS: tuple[canvas.Look, ...] = (
    {"color": canvas.BLUE, "marker": "o"},
    {"color": canvas.ORANGE, "marker": "s"},
    {"color": canvas.PURPLE, "marker": "D", "linestyle": ""},
    {"color": canvas.VERMILLION, "marker": "^"},
)
THRESHOLD: canvas.Look = {"color": canvas.MUTED, "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
COLUMNS = ["line", "metric", "parameters", "mean", "low", "high", "n", "cell"]


def draw(view: View, lines: Sequence[str] = ("method",)) -> Drawn:
    """Draw it: a panel a metric, a line for each kind of training, the threshold dotted.

    Args:
        view: of cells of networks by width.
        lines: key columns by which rows are of one line.
    """
    groups: dict[str, dict[str, Row]] = {}
    rows = [row for row in view.rows if _is_of_one_layer(row)]
    for row in rows:
        name = ", ".join(row.keys[column] for column in lines if row.keys.get(column))
        groups.setdefault(name, {})[row.cell or ""] = row
    planned = {name: {c: row for c, row in own.items() if c} for name, own in groups.items()}
    data = _data(view, planned)
    if not any(planned.values()):
        reason = next((row.reason for row in rows if row.reason), "no such network")
        return Drawn(canvas.empty("no width is planned"), data, f"Not planned: {reason}.")
    if data.empty:
        return canvas.unrun(data)
    looks = dict(zip((name for name in planned if name in set(data.line)), LOOKS, strict=False))
    size = canvas.WIDTH, 3.0
    figure, (panels,) = canvas.panels(size, len(PANELS), [(0.75, 1.75)], left=0.5, gap=0.5)
    for axes, (metric, title) in zip(panels, PANELS.items(), strict=True):
        axes.set_title(title, fontweight="bold")
        axes.set_xlabel("parameters a target")
        canvas.decades(axes.xaxis)
        axes.axvline(1, **THRESHOLD)
        _panel(axes, data[data.metric == metric], looks)
    shown = {name: {**look, "markersize": 4} for name, look in looks.items()}
    canvas.legend(figure, shown | {"parameters = targets": THRESHOLD}, columns=3)
    return Drawn(figure, data, _caption(view, data, rows))


def _data(view: View, groups: dict[str, dict[str, Row]]) -> pd.DataFrame:
    """A line for every metric of every cell."""
    found = []
    for name, own in groups.items():
        frame = results.metrics(view.plan, own, tuple(PANELS))
        frame = frame[frame.selection == "last"]
        for (cell, metric), values in frame.groupby(["cell", "metric"], sort=False).value:
            mean = mean_interval(values)
            spec = own[cell].spec
            assert isinstance(spec, Cell)  # see `_is_of_one_layer`
            at = parameters(spec)
            found.append((name, metric, at, mean.mean, mean.low, mean.high, mean.n, cell))
    return pd.DataFrame(found, columns=COLUMNS).sort_values("parameters", kind="stable")


def _is_of_one_layer(row: Row) -> bool:
    spec = row.spec
    return isinstance(spec, Cell) and "units" in models.MODELS[spec.model].settings


def parameters(spec: Cell) -> float:
    """Of a network of one hidden layer, over the targets, samples times classes."""
    facts, settings = datasets.SOURCES[spec.task.data].facts, models.MODELS[spec.model].settings
    units, classes = settings["units"], facts["classes"]
    inputs = settings["side"] ** 2 * len(facts["mean"])
    return ((inputs + 1) * units + (units + 1) * classes) / ((spec.task.train_size or 0) * classes)


def _panel(axes: Axes, data: pd.DataFrame, looks: dict[str, canvas.Look]) -> None:
    for name, look in looks.items():
        own = data[data.line == name]
        if len(own):
            canvas.band(axes, own, "parameters", within=(0.0, 1e9), markersize=3, **look)
    axes.set_ylim(bottom=0)


def _caption(view: View, data: pd.DataFrame, rows: Iterable[Row]) -> str:
    return (
        "One hidden layer, squared loss on one-hot targets, by its parameters over the number of "
        f"targets, samples times classes: {canvas.means(data.n)}, at the last step. From "
        "the smaller: up to the threshold each network starts from the last weights of the next "
        "smaller one, and so has the steps of all of them behind it; beyond it all start anew. "
        + scope.brief(view.plan, view.paper.name, [row for row in rows if row.cell])
    )
