"""Loss surfaces in three dimensions, on one scale and, as sources draw them, on their own."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from samscope.analysis import canvas, landscapes, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View
from samscope.measure.surface import Surface, shared_scale

TITLE = "Loss surfaces"
CELLS = "mapped"
NEEDS = ("landscape",)

SIDE = 2.6
"""Of a panel, in inches."""


def draw(view: View) -> Drawn:
    """Draw it: a column a solution, above on one scale, below each on its own."""
    cells = selection.mapped(view)
    found = landscapes.surfaces(view, "random")
    data = landscapes.tidy("random", found)
    if not cells:
        return Drawn(canvas.empty("no landscape is planned"), data, "Not planned.")
    if not found:
        caption = _caption(view, data)
        return Drawn(canvas.empty("not run"), data, caption)
    figure = Figure(figsize=(canvas.WIDTH, 2 * SIDE + 0.3))
    scale = shared_scale(*(surface.loss for surface in found.values()))
    for column, (cell, surface) in enumerate(found.items()):
        for row, (name, ends) in enumerate(
            {"one scale": scale, "own scale": shared_scale(surface.loss)}.items()
        ):
            place = 2, len(found), row * len(found) + column + 1
            _panel(figure, place, surface, ends, f"{label(view, cell)}, {name}")
    figure.subplots_adjust(0.0, 0.03, 0.96, 0.97, 0.05, 0.1)
    return Drawn(figure, data, _caption(view, data))


def _panel(
    figure: Figure,
    place: tuple[int, int, int],
    surface: Surface,
    scale: tuple[float, float],
    title: str,
) -> None:
    axes = figure.add_subplot(*place, projection="3d")
    a, b = np.meshgrid(surface.a, surface.b, indexing="ij")
    axes.plot_surface(a, b, surface.loss, cmap="Blues_r", vmin=scale[0], vmax=scale[1],
                      linewidth=0.2, edgecolor=canvas.INK, rcount=60, ccount=60)  # fmt: skip
    axes.set_zlim(*scale)
    axes.view_init(28, -55)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=6, pad=-2)
    axes.set_title(title, fontweight="bold", y=0.98)


def _caption(view: View, data: pd.DataFrame) -> str:
    return (
        "Training loss on the plane of two filter-normalised Gaussian directions (Li et al.) "
        "through the last weights, in units of the weights' filters, running statistics of batch "
        "normalisation; the same draws for all. Above on one scale, below each on its own, which "
        "is how such surfaces are mostly printed and hides how they differ in height. "
        + landscapes.about(view, data)
    )
