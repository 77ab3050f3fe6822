"""Training loss over the plane of two solutions and a third point: a solution, or a path's bend."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap

from samscope.analysis import canvas, results, scope
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View
from samscope.plan.types import Row
from samscope.spec import Curve
from samscope.stages import STAGES
from samscope.store import recorded

TITLE = "Planes through two solutions"

TALL = 2.1
COLUMNS = ["panel", "cell", "x", "y", "train_loss", "objective"]
LEVELS = (0.1, 0.3, 1.0, 3.0)
MARKS: dict[str, canvas.Look] = {
    "solution": {"color": canvas.INK, "marker": "o", "linestyle": "", "markersize": 4},
    "bend": {"color": canvas.INK, "marker": "x", "linestyle": "", "markersize": 5},
    "path": {"color": canvas.INK, "linewidth": 1},
    "straight": {"color": canvas.INK, "linewidth": 1, "linestyle": "--"},
}


def draw(view: View, column: str = "curve", levels: Sequence[float] = LEVELS) -> Drawn:
    """Draw it: a panel a row, on one scale of colours.

    Args:
        view: of curves with a plane.
        column: key column that names a panel.
        levels: of the training loss with decay, between which colours change.
    """
    chosen = [row for row in view.rows if isinstance(row.spec, Curve) and row.spec.plane]
    rows = {row.keys[column]: row for row in chosen}
    planes = {name: _plane(view, row) for name, row in rows.items()}
    data = _data(rows, planes)
    if not any(row.cell for row in rows.values()):
        return canvas.unplanned("no plane is planned", data)
    run = {name: plane for name, plane in planes.items() if plane}
    if not run:
        return canvas.unrun(data)
    colours = ListedColormap(canvas.shades(len(levels) + 1))
    scale = BoundaryNorm([0.0, *levels, 1e9], colours.N)
    size = canvas.WIDTH, TALL + 1.15
    figure, (row,) = canvas.panels(size, len(run), [(0.65, TALL)], left=0.5, gap=0.35)
    for axes, (name, plane) in zip(row, run.items(), strict=True):
        axes.set_title(name, fontweight="bold")
        _panel(axes, plane, bent=rows[name].spec.to_dict()["bends"] > 0, look=(colours, scale))
    words = [f"to {levels[0]:g}", *(f"to {level:g}" for level in levels[1:]), "more"]
    swatch: canvas.Look = {"marker": "s", "linestyle": "", "markersize": 6}
    shown = {
        word: {"color": colour, **swatch}
        for word, colour in zip(words, canvas.shades(len(words)), strict=True)
    }
    canvas.legend(figure, shown | MARKS, columns=7)
    return Drawn(figure, data, _caption(view, list(rows.values()), planes))


def _plane(view: View, row: Row) -> dict[str, Any] | None:
    """That of the first pair of a curve that counts; None where it is not measured."""
    if row.cell is None:
        return None
    seeds = {run.seed for run in results.runs(view.plan, row.cell)}
    record = view.plan.run_dir(row.cell) / STAGES["curve"].record
    found = [raw for raw in recorded.runs_of(record, {}) if raw["seed"] in seeds]
    return next((raw["plane"] for raw in found if raw.get("plane")), None)


def _data(rows: dict[str, Row], planes: dict[str, dict[str, Any] | None]) -> pd.DataFrame:
    """A line for every grid point."""
    lines = []
    for name, plane in planes.items():
        for j, y in enumerate(plane["y"] if plane else ()):
            for i, x in enumerate(plane["x"] if plane else ()):
                values = (plane[of][j][i] for of in ("train_loss", "objective")) if plane else ()
                lines.append((name, rows[name].cell, x, y, *values))
    return pd.DataFrame(lines, columns=COLUMNS)


def _panel(axes: Axes, plane: dict[str, Any], bent: bool, look: tuple) -> None:
    colours, scale = look
    values = np.array(plane["objective"], dtype=float)
    # A loss that is not finite is more than any level.
    values = np.where(np.isfinite(values), values, 1e8)
    axes.contourf(plane["x"], plane["y"], values, scale.boundaries, cmap=colours, norm=scale)
    (first, last, third), path = plane["points"], np.array(plane["path"])
    axes.plot(*zip(first, last, *([] if bent else [third]), strict=True), **MARKS["solution"])
    if bent:
        axes.plot(path[:, 0], path[:, 1], **MARKS["path"])
        axes.plot(*zip(first, last, strict=True), **MARKS["straight"])
        axes.plot(*third, **MARKS["bend"])
    axes.set_xlabel("distance in weights")
    canvas.coordinates(axes)


def _caption(view: View, rows: list[Row], planes: dict[str, dict[str, Any] | None]) -> str:
    ends = [plane for plane in planes.values() if plane]
    apart = f"The first two solutions are {ends[0]['points'][1][0]:.1f} apart. " if ends else ""
    return (
        "Training loss with weight decay, which the curve is trained on, over the plane of two "
        "solutions of SGD and a third point: another solution, or the bend of the path between the "
        f"two. Statistics of batch normalisation anew at every point; one pair, seed 0. {apart}"
        "Upwards, too, is a distance of weights, in each panel as far as its third point needs. "
        + canvas.missing(name for name, plane in planes.items() if not plane)
        + scope.brief(view.plan, view.paper.name, [row for row in rows if row.cell])
    )
