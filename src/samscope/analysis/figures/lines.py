"""Loss along a line through a solution, and from one solution to another."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import landscapes
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.figures.lambda_max import label
from samscope.papers import Plan

COLOURS = (canvas.INK, canvas.BLUE, canvas.VERMILLION, canvas.GREEN, canvas.ORANGE)
TITLES = {
    "line": "Along a filter-normalised random direction",
    "between": "From one solution to the other",
}


def draw(plan: Plan) -> Drawn:
    """Draw it: a panel for each kind of line."""
    cells = selection.mapped_cells(plan)
    found = {kind: landscapes.surfaces(plan, kind) for kind in TITLES}
    data = pd.concat([landscapes.tidy(kind, several) for kind, several in found.items()])
    if not cells:
        return Drawn(canvas.empty("no landscape is planned"), data, "Not planned.")
    figure, (row,) = canvas.panels((canvas.WIDTH, 2.75), 2, [(0.6, 1.65)], left=0.5, gap=0.45)
    looks = {cell: {"color": colour} for cell, colour in zip(cells, COLOURS, strict=False)}
    for axes, (kind, title) in zip(row, TITLES.items(), strict=True):
        axes.set_title(title, fontweight="bold")
        if not found[kind]:
            canvas.note(axes, "not run")
        for cell, surface in found[kind].items():
            axes.plot(surface.a, surface.loss[:, 0], **looks[cell], linewidth=1.3)
        axes.set_ylim(bottom=0)
    row[0].set_ylabel("training loss")
    row[0].set_xlabel("length of the direction")
    _ends(row[1], label(plan, cells[0]))
    canvas.legend(figure, {label(plan, cell): look for cell, look in looks.items()})
    return Drawn(figure, data, _caption(plan, data, label(plan, cells[0])))


def _ends(axes: Axes, start: str) -> None:
    """Where the two solutions are."""
    axes.set_xlabel(f"0: {start}, 1: the other")
    for x in (0.0, 1.0):
        axes.axvline(x, color=canvas.MUTED, linewidth=0.6, linestyle=(0, (4, 3)))


def _caption(plan: Plan, data: pd.DataFrame, start: str) -> str:
    return (
        "Training loss along lines through the last weights. Left: a filter-normalised Gaussian "
        "direction (Li et al.) with running statistics of batch normalisation; its length is that "
        f"of the weights' filters, so curves compare in those units. Right: from {start} to each "
        "other solution, with batch statistics at every point. "
        + landscapes.about(plan, selection.STUDY, data)
    )
