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
"""Of a panel, in inches, at most."""


def draw(view: View) -> Drawn:
    """Draw it: a column a solution, above on one scale, below each on its own; model by model."""
    found = landscapes.surfaces(view, "random")
    data = landscapes.tidy("random", found)
    if not selection.mapped(view):
        return canvas.unplanned("no landscape is planned", data)
    found = {cell: s for cell, s in found.items() if np.isfinite(s.loss).any()}
    if not found:
        return canvas.unrun(data)
    groups = selection.models(view, [cell for cell in selection.mapped(view) if cell in found])
    columns, rows = max(map(len, groups.values())), 2 * len(groups)
    side = min(SIDE, 1.3 * canvas.WIDTH / columns)
    figure = Figure(figsize=(canvas.WIDTH, rows * side + 0.3))
    for i, (model, cells) in enumerate(groups.items()):
        known = [found[cell].loss for cell in cells]
        for column, cell in enumerate(cells):
            name = ": ".join(filter(None, (model, label(view, cell))))
            surface = found[cell]
            for row, told in enumerate(("one scale", "own scale")):
                place = rows, columns, (2 * i + row) * columns + column + 1
                title = _title(name, told, columns)
                ends = shared_scale(*(known if row == 0 else [surface.loss]))
                _panel(figure, place, surface, ends, title)
    figure.subplots_adjust(0.0, 0.03, 0.96, 1 - 0.06 / rows, 0.05, 0.1)
    return Drawn(figure, data, _caption(view, data))


def _title(name: str, told: str, columns: int) -> str:
    """In two lines where there are many columns."""
    method, comma, rho = name.partition(", rho")
    if columns < 3:
        return f"{name}, {told}"
    return f"{method},\nrho{rho}, {told}" if comma else f"{name},\n{told}"


def _panel(
    figure: Figure,
    place: tuple[int, int, int],
    surface: Surface,
    scale: tuple[float, float],
    title: str,
) -> None:
    axes = figure.add_subplot(*place, projection="3d")
    axes.set_title(title, fontweight="bold", y=0.98)
    a, b = np.meshgrid(surface.a, surface.b, indexing="ij")
    axes.plot_surface(a, b, surface.loss, cmap="Blues_r", vmin=scale[0], vmax=scale[1],
                      linewidth=0.2, edgecolor=canvas.INK, rcount=60, ccount=60)  # fmt: skip
    axes.set_zlim(*scale)
    axes.view_init(28, -55)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=6, pad=-2)


def _caption(view: View, data: pd.DataFrame) -> str:
    return (
        "Training loss on the plane of two filter-normalised Gaussian directions (Li et al.) "
        "through the last weights, in units of the weights' filters, running statistics of batch "
        "normalisation where there is any; the same draws for all of a model. Above on one scale, "
        "below each on its own, which is how such surfaces are mostly printed and hides how they "
        "differ in height. " + landscapes.about(view, data)
    )
