"""Accuracy over the logarithm of steps: of what was trained on, and of what was held out."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.train.learned import LEARNED

TITLE = "Accuracy over the steps of training"

COLOURS = (canvas.INK, canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.VERMILLION, canvas.PURPLE)
PRINTED: dict[str, Any] = {
    "color": canvas.VERMILLION,
    "marker": "D",
    "linestyle": "",
    "markerfacecolor": "none",
}
LINES: dict[str, Any] = {"train": (0, (3, 1.4)), "held out": "-"}
COLUMNS = ["group", "cell", "method", "part", "source", "step", "mean", "low", "high", "n"]
ACROSS, TALL, GAP = 2, 1.5, 0.75


def draw(view: View) -> Drawn:
    """Draw it: a panel for each weight decay and share of the samples that train."""
    groups = in_steps(view)
    data = pd.DataFrame(_measured(view, groups) + _printed(view, groups), columns=COLUMNS)
    if not groups:
        return canvas.unplanned("no training in steps is planned", data)
    ours = data[data.source == "ours"]
    if ours.empty:
        return canvas.unrun(data)
    shown = data[data.group.isin(ours.group)]
    groups = {name: cells for name, cells in groups.items() if name in set(ours.group)}
    across = min(ACROSS, len(groups))
    down = -(-len(groups) // across)
    tops = [0.75 + (TALL + GAP) * i for i in range(down)]
    size = canvas.WIDTH, tops[-1] + TALL + 0.45
    figure, grid = canvas.panels(size, across, [(top, TALL) for top in tops], left=0.55, gap=0.3)
    panels = [axes for row in grid for axes in row]
    methods = dict.fromkeys(method_of(view, cell) for cells in groups.values() for cell in cells)
    run = [name for name in methods if name in set(ours.method)]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(run)}
    for axes, group in zip(panels, groups, strict=False):
        axes.set_title(group, fontweight="bold")
        _panel(axes, data[data.group == group], colours)
        axes.set_xlabel("step")
    for axes in panels[len(groups) :]:
        figure.delaxes(axes)
    for row in grid:
        row[0].set_ylabel("accuracy, %")
    looks = {name: {"color": colour} for name, colour in colours.items()}
    looks |= {part: {"color": canvas.MUTED, "linestyle": line} for part, line in LINES.items()}
    if (shown.source == "printed").any():
        looks["read off the printed figure"] = PRINTED
    canvas.legend(figure, looks, columns=3)
    return Drawn(figure, data, _caption(view, data))


def in_steps(view: View) -> dict[str, tuple[str, ...]]:
    """The planned cells in steps, by what a panel says of them."""
    found: dict[str, tuple[str, ...]] = {}
    for cell in dict.fromkeys(cell for row in view.rows for cell in row.cells):
        spec = view.plan.cells[cell].cell
        if spec.budget.steps and "acc_percent" in spec.task.kind.scores:
            group = _group(view.leaves(cell))
            found[group] = (*found.get(group, ()), cell)
    return found


def _group(flat: Mapping[str, Any]) -> str:
    share = flat["train_percent"]
    trained = f", {share:g} % of the data" if share is not None else ""
    return f"weight decay {flat['weight_decay']:g}{trained}"


def method_of(view: View, cell: str) -> str:
    """How a cell is trained, with its rho."""
    flat = view.leaves(cell)
    rho = f", rho {flat['rho']:g}" if flat["rho"] is not None else ""
    return selection.method(flat) + rho


def _measured(view: View, groups: Mapping[str, tuple[str, ...]]) -> list[tuple]:
    lines = []
    for group, cells in groups.items():
        for cell in cells:
            held = "val" if view.plan.cells[cell].cell.task.val_size else "test"
            frame = results.histories(view.plan, [cell])
            for part, name in (("train", "train"), ("held out", held)):
                if frame.empty:
                    continue
                for step, values in frame.groupby("epoch")[f"{name}_acc_percent"]:
                    found = mean_interval(values)
                    ends = found.mean, found.low, found.high, found.n
                    lines.append((group, cell, method_of(view, cell), part, "ours", step, *ends))
    return lines


def _printed(view: View, groups: Mapping[str, tuple[str, ...]]) -> list[tuple]:
    """What was read off the printed figure: the step at which an accuracy was reached."""
    lines = []
    for row in view.rows:
        at, cell = row.reported.value, row.cell
        if cell is None or row.metric not in LEARNED or math.isnan(at):
            continue
        group = next(name for name, cells in groups.items() if cell in cells)
        part, percent = LEARNED[row.metric]
        about = group, cell, method_of(view, cell), part.replace("_", " "), "printed"
        lines.append((*about, at, percent, math.nan, math.nan, row.reported.runs))
    return lines


def _panel(axes: Axes, data: pd.DataFrame, colours: Mapping[str, str]) -> None:
    measured, printed = data[data.source == "ours"], data[data.source == "printed"]
    canvas.decades(axes.xaxis)
    axes.set_ylim(-4, 104)
    for (method, part), own in measured.groupby(["method", "part"], sort=False):
        look = {"color": colours[method], "linestyle": LINES[part], "linewidth": 1.2}
        canvas.band(axes, own, "step", within=(0.0, 100.0), **look)
    axes.plot(printed.step, printed["mean"], markersize=4.5, **PRINTED)


def _caption(view: View, data: pd.DataFrame) -> str:
    ours, printed = data[data.source == "ours"], data[data.source == "printed"]
    cells = list(dict.fromkeys(c for row in view.rows for c in row.cells))
    absent = [cell for cell in cells if cell not in set(ours.cell)]
    missing = [f"{method_of(view, cell)}, {_group(view.leaves(cell))}" for cell in absent]
    printed = printed[printed.group.isin(ours.group)]
    marks = ""
    if len(printed):
        marks = (
            "Diamonds: steps at which the printed figure, of the source's own model, data and "
            "budget, passes 95 % of the training equations, and 50 and 90 % of the others. "
        )
    return (
        f"Accuracy on the equations trained on (dashed, mean over the batches since the last row) "
        f"and on the others (solid): {canvas.means(ours.n)}. {marks}"
        + canvas.missing(missing)
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
