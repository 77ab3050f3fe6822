"""How far from convex the loss is around the solutions: its Hessian's extreme eigenvalues."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from samscope.analysis import canvas, landscapes, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View
from samscope.measure.surface import Surface, shared_scale
from samscope.stages.landscape import CONVEXITY

TITLE = "Convexity on planes"
CELLS = "mapped"
NEEDS = ("landscape",)

TALL, GAP, HEAD = 1.75, 0.62, 0.72
LEVELS = 7
"""Of the loss, whose lines are drawn on top."""


def draw(view: View) -> Drawn:
    """Draw it: a row a model, a column a solution, all in the colours of one scale."""
    found, losses = (landscapes.surfaces(view, kind) for kind in (CONVEXITY, "random"))
    data = landscapes.tidy(CONVEXITY, found)
    if not selection.mapped(view):
        return canvas.unplanned("no landscape is planned", data)
    if not data.ratio.notna().any():
        if not view.settings("landscape").get("convexity_points"):
            return canvas.unplanned("no convexity is planned", data)
        return canvas.unrun(data)
    groups = selection.models(view, [cell for cell in selection.mapped(view) if cell in found])
    columns = max(map(len, groups.values()))
    tops = [HEAD + (TALL + GAP) * i for i in range(len(groups))]
    size = canvas.WIDTH, tops[-1] + TALL + 0.3
    figure, grid = canvas.panels(size, columns, [(top, TALL) for top in tops], left=0.62, gap=0.4)
    colours = Normalize(0, min(1.0, float(data.ratio.max())), clip=True)
    told = []
    for row, (model, cells) in zip(grid, groups.items(), strict=True):
        known = [losses[cell].loss for cell in cells if cell in losses]
        known = [loss for loss in known if np.isfinite(loss).any()]
        scale = shared_scale(*known) if known else (1.0, 2.0)
        levels = np.geomspace(max(scale[0], 1e-6), max(scale[1], 2e-6), LEVELS + 2)[1:-1]
        told += [f"{model} {levels[0]:.2g} to {levels[-1]:.2g}".strip()] if known else []
        for axes, cell in zip(row, cells, strict=False):
            _panel(axes, found[cell], losses.get(cell), colours, levels)
            axes.set_title(label(view, cell).replace(", rho", ",\nrho"), fontweight="bold")
        for axes in row[len(cells) :]:
            axes.remove()
        row[0].set_ylabel(model)
    _bar(figure, colours)
    return Drawn(figure, data, _caption(view, data, told))


def _panel(
    axes: Axes, ratio: Surface, loss: Surface | None, colours: Normalize, levels: np.ndarray
) -> None:
    axes.grid(visible=False)
    drawn = axes.pcolormesh(ratio.a, ratio.b, ratio.values["ratio"].T, cmap="YlOrBr", norm=colours,
                            shading="nearest")  # fmt: skip
    drawn.set_edgecolor("face")
    ends = axes.get_xlim(), axes.get_ylim()
    if loss is not None and np.isfinite(loss.loss).any():
        lines = axes.contour(loss.a, loss.b, loss.loss.T, levels, colors=canvas.INK,
                             linewidths=0.5)  # fmt: skip
        axes.clabel(lines, levels[::2], fmt="%.2g", fontsize=6)
    axes.set(xlim=ends[0], ylim=ends[1])
    canvas.coordinates(axes)
    axes.plot(0, 0, "+", color=canvas.BLUE, markersize=6)


def _bar(figure: Figure, colours: Normalize) -> None:
    """The scale of colours, along the top."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.62 / width, 1 - 0.12 / height, 2.0 / width, 0.08 / height))
    low, high = colours.vmin or 0.0, colours.vmax or 0.0
    axes.imshow([np.linspace(low, high, 100)], aspect="auto", cmap="YlOrBr",
                extent=(low, high, 0, 1))  # fmt: skip
    axes.set(yticks=[])
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7)
    axes.text(1.04, 0.5, "|λ min / λ max|", transform=axes.transAxes, va="center")


def _caption(view: View, data: pd.DataFrame, told: list[str]) -> str:
    error = data.error.max() if len(data) else np.nan
    bound = "" if np.isnan(error) else f", each within {error:.2g} by the residuals of Lanczos"
    over = " The colours end at 1, where both are as large." if data.ratio.gt(1).any() else ""
    lines = f"Lines: {LEVELS} levels of the training loss, {'; '.join(told)}. " if told else ""
    images = view.settings("landscape").get("convexity_images")
    first = f"The ratio is of the first {images} samples. " if images else ""
    return (
        "How far from convex the training loss is on the plane of two filter-normalised random "
        "directions (Li et al.): the Hessian's smallest eigenvalue over its largest, in magnitude, "
        f"at every point{bound}; 0 is convex in all directions.{over} {lines}Cross: the last "
        f"weights. {first}" + landscapes.about(view, data)
    )
