"""Loss along a line through a solution, and from one solution to another."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from samscope.analysis import canvas, landscapes, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View

TITLE = "Loss along lines"
CELLS = "mapped"
NEEDS = ("landscape",)

COLOURS = (canvas.INK, canvas.BLUE, canvas.VERMILLION, canvas.GREEN, canvas.ORANGE)
TITLES = {
    "line": "Along a filter-normalised random direction",
    "between": "From one solution to the other",
}


def draw(view: View) -> Drawn:
    """Draw it: a panel for each kind of line."""
    cells = selection.mapped(view)
    found = {kind: landscapes.surfaces(view, kind) for kind in TITLES}
    data = pd.concat([landscapes.tidy(kind, several) for kind, several in found.items()])
    if not cells:
        return canvas.unplanned("no landscape is planned", data)
    if data.empty:
        return canvas.unrun(data)
    figure, (row,) = canvas.panels((canvas.WIDTH, 2.75), 2, [(0.6, 1.65)], left=0.5, gap=0.45)
    start = label(view, cells[0])
    names = {("line", cell): label(view, cell) for cell in cells}
    names |= {("between", cell): f"{start} to {label(view, cell)}" for cell in cells[1:]}
    looks: dict[tuple[str, str], canvas.Look] = {
        key: {"color": colour} for key, colour in zip(names, COLOURS, strict=False)
    }
    for axes, (kind, title) in zip(row, TITLES.items(), strict=True):
        if not found[kind]:
            axes.remove()
            continue
        axes.set_title(title, fontweight="bold")
        for (of, cell), look in looks.items():
            if of == kind and cell in found[kind]:
                surface = found[kind][cell]
                axes.plot(surface.a, surface.loss[:, 0], **look, linewidth=1.3)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    row[0].set_ylabel("training loss")
    row[0].set_xlabel("length of the direction")
    row[1].set_xlabel(f"0: {start}, 1: the other")
    for x in (0.0, 1.0):
        row[1].axvline(x, color=canvas.MUTED, linewidth=0.6, linestyle=(0, (4, 3)))
    run = {(kind, cell) for kind, several in found.items() for cell in several}
    canvas.legend(figure, {names[key]: look for key, look in looks.items() if key in run})
    return Drawn(figure, data, _caption(view, data, start))


def _caption(view: View, data: pd.DataFrame, start: str) -> str:
    return (
        "Training loss along lines through the last weights. Left: a filter-normalised Gaussian "
        "direction (Li et al.) with running statistics of batch normalisation; its length is that "
        f"of the weights' filters, so curves compare in those units. Right: from {start} to each "
        "other solution, with batch statistics at every point. " + landscapes.about(view, data)
    )
