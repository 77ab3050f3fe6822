"""Contours of the loss on planes through the solutions, on one scale and on their own."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from samscope.analysis import canvas, landscapes, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View
from samscope.measure.surface import Surface, shared_scale

TITLE = "Loss on planes"
CELLS = "mapped"
NEEDS = ("landscape",)

ROWS = {
    ("random", True): "random directions,\none scale",
    ("random", False): "random directions,\nown scale",
    ("eigen", True): "leading eigenvectors,\none scale",
    ("trajectory", False): "trajectory,\nown scale",
}
LEVELS = 13
FEWEST = 3
"""Lines as told that must cross a plane to be drawn: of one that is flatter they show no shape."""
LABELLED = 6
"""Lines of a panel that have their number, about."""
MANY = 3
"""Columns from which on a title takes two lines."""
BAR = 0.55
"""Inches beside the panels, for the bar of colours of those on one scale, and its numbers."""


def draw(view: View, planes: Sequence[str] = (), lines: Sequence[float] = ()) -> Drawn:
    """Draw it: a column a solution, a row a kind of plane, for each model that is measured.

    Args:
        view: what it shows.
        planes: kinds of planes; all of `ROWS` where none is named.
        lines: first, last and step of the levels that the paper draws on scales of their own.
    """
    rows = {of: title for of, title in ROWS.items() if not planes or of[0] in planes}
    kinds = dict.fromkeys(kind for kind, _ in rows)
    found = {kind: landscapes.surfaces(view, kind) for kind in kinds}
    data = pd.concat([landscapes.tidy(kind, several) for kind, several in found.items()])
    if not selection.mapped(view):
        return canvas.unplanned("no landscape is planned", data)
    if data.empty:
        return canvas.unrun(data)
    run = {cell for several in found.values() for cell in several}
    groups = selection.models(view, [cell for cell in selection.mapped(view) if cell in run])
    rows = {of: title for of, title in rows.items() if found[of[0]]}
    tall, columns = 1.75, max(map(len, groups.values()))
    head = 0.3 if columns < MANY else 0.42
    tops = [head * (1 + i // len(rows)) + (tall + 0.3) * i for i in range(len(rows) * len(groups))]
    size = canvas.WIDTH, tops[-1] + tall + 0.55
    left, right = 0.9 if set(groups) == {""} else 1.05, BAR if any(one for _, one in rows) else 0.08
    places = [(top, tall) for top in tops]
    figure, grid = canvas.panels(size, columns, places, left=left, gap=0.4, right=right)
    told = []
    for i, (model, cells) in enumerate(groups.items()):
        own = grid[i * len(rows) : (i + 1) * len(rows)]
        for row, ((kind, shared), title) in zip(own, rows.items(), strict=True):
            several = {cell: found[kind].get(cell) for cell in cells}
            ends = _row(figure, row, several, shared, () if shared else lines)
            row[0].set_ylabel("\n".join(filter(None, (model, title, "second direction"))))
            if ends:
                told.append(", ".join(filter(None, (model, title.replace("\n", " ")))) + ends)
        for axes in own[-1][: len(cells)]:
            axes.set_xlabel("first direction")
        for axes, cell in zip(own[0], cells, strict=False):
            axes.set_title(_title(view, cell, columns), fontweight="bold")
    return Drawn(figure, data, _caption(view, data, found.get("trajectory", {}), told, lines))


def _row(
    figure: Figure,
    row: Sequence[Axes],
    several: dict[str, Surface | None],
    shared: bool,
    lines: Sequence[float],
) -> str:
    """The surfaces of a kind of plane; the ends of their levels in words, "" without any."""
    for axes in row[len(several) :]:
        axes.remove()
    finite = [s.loss for s in several.values() if s and np.isfinite(s.loss).any()]
    scale = shared_scale(*finite) if finite else (1.0, 1.0)
    ends: list[str] = []
    for axes, surface in zip(row, several.values(), strict=False):
        if surface and np.isfinite(surface.loss).any():
            own = scale if shared else shared_scale(surface.loss)
            filled = _panel(axes, surface, own, lines)
            if shared and not ends:
                _bar(figure, row[len(several) - 1], filled)
            ends.append(f"{own[0]:.3g} to {own[1]:.3g}")
        else:
            axes.remove()
    return " " + " and ".join(dict.fromkeys(ends)) if ends else ""


def _title(view: View, cell: str, columns: int) -> str:
    """Of a column, in two lines where there are many."""
    name = label(view, cell)
    return name.replace(", rho", ",\nrho") if columns >= MANY else name


def _bar(figure: Figure, last: Axes, filled: ContourSet) -> None:
    """The bar of the colours of a row, beside its last panel."""
    box, width = last.get_position(), figure.get_figwidth()
    beside = figure.add_axes((box.x1 + 0.08 / width, box.y0, 0.09 / width, box.height))
    ticks = np.asarray(filled.levels)[::3]
    bar = figure.colorbar(filled, cax=beside, format=FuncFormatter(_short), ticks=ticks)
    bar.ax.tick_params(labelsize=6.5, length=2, which="major")
    bar.ax.minorticks_off()
    bar.ax.set_title("loss", fontsize=7, loc="left", pad=3)


def _short(value: float, _: object = None) -> str:
    """Two digits that count, and no power of ten where that is longer: ``280``."""
    return f"{float(f'{value:.2g}'):g}"


def _panel(
    axes: Axes, surface: Surface, scale: tuple[float, float], told: Sequence[float]
) -> ContourSet:
    """Levels evenly spaced in the logarithm, or as ``told``; the cross is the solution."""
    low, high = max(scale[0], 1e-6), max(scale[1], 2e-6)
    levels = np.geomspace(low, high * (1 + 1e-9), LEVELS)
    drawn = axes.contourf(surface.a, surface.b, surface.loss.T, levels, norm=LogNorm(low, high),
                          cmap="Blues_r", alpha=0.85)  # fmt: skip
    drawn.set_edgecolor("face")
    theirs = _levels(told, low, high) if told else ()
    shown = theirs if len(theirs) >= FEWEST else levels[1::3]
    lines = axes.contour(surface.a, surface.b, surface.loss.T, shown, colors=canvas.INK,
                         linewidths=0.4)  # fmt: skip
    axes.clabel(lines, shown[:: 1 + len(shown) // LABELLED], fmt=_short, fontsize=6)
    axes.grid(visible=False)
    canvas.coordinates(axes)
    path = surface.settings["about"].get("coordinates")
    if path:
        axes.plot(*np.array(path).T, color=canvas.VERMILLION, marker="o", markersize=2.5,
                  linewidth=0.9)  # fmt: skip
    axes.plot(0, 0, "+", color=canvas.VERMILLION, markersize=6)
    return drawn


def _levels(told: Sequence[float], low: float, high: float) -> np.ndarray:
    """From the first to the last, both included, those that a surface has."""
    first, last, step = told
    every = np.arange(first, last + step / 2, step)
    return every[(every > low) & (every < high)]


def _caption(
    view: View,
    data: pd.DataFrame,
    trained: dict[str, Surface],
    scales: list[str],
    lines: Sequence[float],
) -> str:
    told = ""
    for cell, surface in trained.items():
        about = surface.settings["about"]
        if len(about["epochs"]) < 4:  # three points are in a plane
            continue
        share, off = 100 * sum(about["explained"]), max(about["distances"])
        epochs = ", ".join(map(str, about["epochs"]))
        told += (
            f" {label(view, cell)}: the trajectory's plane explains {share:.0f} % of the variance "
            f"of epochs {epochs}, none of which lies further than {off:.2g} off it."
        )
    shown = f"{LEVELS} levels from the lowest to the highest loss: {'; '.join(scales)}. "
    theirs = (
        "On scales of their own the lines are those of the paper, {:g} to {:g} in steps of {:g}, "
        f"where {FEWEST} of them cross a plane. "
    )
    return (
        "Training loss around the last weights (cross), colours evenly spaced in its logarithm, "
        "running statistics of batch normalisation where there is any. "
        + (shown if scales else "")
        + (theirs.format(*lines) if lines else "")
        + _about_planes(set(data.kind))
        + f"{told} " + landscapes.about(view, data)
    )  # fmt: skip


def _about_planes(kinds: set[str]) -> str:
    parts = []
    if "random" in kinds:
        parts.append(
            "Random directions are filter-normalised Gaussians (Li et al.), in units of each "
            "network's own filters."
        )
    if kinds - {"random"}:
        parts.append(
            "Eigenvectors of the Hessian and the principal components of the training are in "
            "distances between weights."
        )
    return " ".join(parts)
