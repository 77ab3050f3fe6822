"""Contours of the loss on planes through the solutions, on one scale and on their own."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

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


def draw(view: View) -> Drawn:
    """Draw it: a column a solution, a row a kind of plane."""
    cells = selection.mapped(view)
    kinds = dict.fromkeys(kind for kind, _ in ROWS)
    found = {kind: landscapes.surfaces(view, kind) for kind in kinds}
    data = pd.concat([landscapes.tidy(kind, several) for kind, several in found.items()])
    if not cells:
        return Drawn(canvas.empty("no landscape is planned"), data, "Not planned.")
    tall = 1.75
    heights = [(0.3 + (tall + 0.3) * i, tall) for i in range(len(ROWS))]
    size = canvas.WIDTH, 0.4 + (tall + 0.3) * len(ROWS)
    figure, grid = canvas.panels(size, len(cells), heights, left=0.75, gap=0.4)
    for row, ((kind, shared), title) in zip(grid, ROWS.items(), strict=True):
        finite = [s for s in found[kind].values() if np.isfinite(s.loss).any()]
        scale = shared_scale(*(s.loss for s in finite)) if finite else (1.0, 1.0)
        for axes, cell in zip(row, cells, strict=True):
            surface = found[kind].get(cell)
            if surface in finite:
                own = shared_scale(surface.loss)
                _panel(axes, surface, scale if shared else own)
            else:
                canvas.note(axes, "not run")
        row[0].set_ylabel(title)
    for axes, cell in zip(grid[0], cells, strict=True):
        axes.set_title(label(view, cell), fontweight="bold")
    return Drawn(figure, data, _caption(view, data, found["trajectory"]))


def _panel(axes: Axes, surface: Surface, scale: tuple[float, float]) -> None:
    """Levels evenly spaced in the logarithm; the cross is the solution."""
    low, high = max(scale[0], 1e-6), max(scale[1], 2e-6)
    levels = np.geomspace(low, high * (1 + 1e-9), LEVELS)
    drawn = axes.contourf(surface.a, surface.b, surface.loss.T, levels, norm=LogNorm(low, high),
                          cmap="Blues_r", alpha=0.85)  # fmt: skip
    lines = axes.contour(surface.a, surface.b, surface.loss.T, levels[1::3], colors=canvas.INK,
                         linewidths=0.4)  # fmt: skip
    axes.clabel(lines, fmt="%.2g", fontsize=6)
    drawn.set_edgecolor("face")
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    path = surface.settings["about"].get("coordinates")
    if path:
        axes.plot(*np.array(path).T, color=canvas.VERMILLION, marker="o", markersize=2.5,
                  linewidth=0.9)  # fmt: skip
    axes.plot(0, 0, "+", color=canvas.VERMILLION, markersize=6)


def _caption(view: View, data: pd.DataFrame, trained: dict[str, Surface]) -> str:
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
    return (
        "Training loss around the last weights (cross), levels evenly spaced in its logarithm, "
        "running statistics of batch normalisation. Random directions are filter-normalised "
        "Gaussians (Li et al.), in units of the weights' filters; eigenvectors of the Hessian and "
        "the principal components of the training, in distances between weights."
        + f"{told} " + landscapes.about(view, data)
    )  # fmt: skip
