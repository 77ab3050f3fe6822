"""Curvature over training: how the spectra of variants part."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, scope, selection, spectra
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View

TITLE = "Curvature over training"
CELLS = "measured"
NEEDS = ("curvature",)

PANELS = {
    "lambda_max": "Largest eigenvalue",
    "trace": "Trace",
    "leading_ratio": "λ 1 / λ k",
    "asymmetry": "|λ max / λ min|",
}
NARROW = 3
"""A panel whose values and intervals differ by less than this factor has a linear axis."""

VARIANTS = ("sgd", "sam", "ckpt1", "ckpt2", "ckpt3", "ckpt4")
LOOKS = dict(
    zip(
        VARIANTS,
        zip(
            (canvas.INK, canvas.BLUE, canvas.VERMILLION, canvas.GREEN, canvas.ORANGE,
             canvas.PURPLE),
            "osD^vP",
            strict=True,
        ),
        strict=True,
    )
)  # fmt: skip
AGAIN = (canvas.MUTED, "X")
"""Of a variant at another setting than the first."""


def draw(view: View) -> Drawn:
    """Draw it: four quantities, a line a variant with its interval."""
    cells = selection.measured(view)
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no spectrum is planned", data)
    if data.empty:
        return canvas.unrun(data)
    figure, grid = canvas.panels((canvas.WIDTH, 4.8), 2, [(0.7, 1.6), (2.8, 1.6)], 0.55, 0.5)
    planned = _shown(view, cells)
    shown = {cell: look for cell, look in planned.items() if cell in set(data.cell)}
    epochs = selection.measured_epochs(view, cells[0])
    for (name, title), axes in zip(PANELS.items(), [*grid[0], *grid[1]], strict=True):
        axes.set_title(title, fontweight="bold")
        chosen = data[(data.quantity == name) & data.cell.isin(shown)]
        _panel(axes, chosen, shown, epochs)
        ends = chosen[["mean", "low", "high"]].stack()
        if ends.max() > NARROW * ends.min():
            canvas.decades(axes.yaxis)
    for axes in grid[1]:
        axes.set_xlabel(selection.unit(view, cells))
    looks = {
        label(view, cell): {"color": colour, "marker": marker, "markersize": 3.4}
        for cell, (colour, marker) in shown.items()
    }
    canvas.legend(figure, looks, columns=4)
    return Drawn(figure, data, _caption(view, data, planned, epochs))


def _shown(view: View, cells: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """The cells that are drawn, of `VARIANTS` at one rho, with their colours and markers."""
    rho = selection.shown_rho(view, cells)
    found: dict[str, tuple[str, str]] = {}
    for variant, look in LOOKS.items():
        for cell in cells:
            flat = view.leaves(cell)
            if flat["variant"] == variant and flat["rho"] in (None, rho):
                found[cell] = AGAIN if look in found.values() else look
    return found


def _data(view: View, cells: tuple[str, ...]) -> pd.DataFrame:
    frame = spectra.over_seeds(view.plan, cells)
    of = {cell: view.leaves(cell) for cell in cells}
    frame.insert(1, "variant", [of[cell]["variant"] for cell in frame.cell])
    frame.insert(2, "rho", [of[cell]["rho"] for cell in frame.cell])
    return frame


def _panel(
    axes: Axes, data: pd.DataFrame, shown: dict[str, tuple[str, str]], epochs: tuple[int, ...]
) -> None:
    apart = 0.012 * (epochs[-1] - epochs[0])
    for i, (cell, (colour, marker)) in enumerate(shown.items()):
        chosen = data[data.cell == cell].sort_values("epoch")
        at = chosen.epoch + apart * (i - (len(shown) - 1) / 2)
        axes.plot(at, chosen["mean"], color=colour, marker=marker, markersize=3.2, linewidth=1.1)
        axes.vlines(at, chosen["low"], chosen["high"], color=colour, alpha=0.6, linewidth=1.1)
    axes.set_xticks(epochs)
    axes.margins(x=0.07)


def _caption(
    view: View, data: pd.DataFrame, planned: Iterable[str], epochs: tuple[int, ...]
) -> str:
    settings = view.settings("curvature")
    unit = selection.unit(view, selection.measured(view))
    bounds = spectra.bounds(data, PANELS)
    return (
        "Curvature of the training loss over training: mean and 95 % t-interval over "
        f"{canvas.seeds(data.n)} at {unit}s {', '.join(map(str, epochs))}, of logarithms; "
        f"k = {settings['top_n']}. "
        + (f"Error bounds of one run's numbers: {bounds}. " if bounds else "")
        + "The data behind it hold every measured variant and rho. "
        + canvas.missing(label(view, cell) for cell in planned if cell not in set(data.cell))
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, selection.measured(view)))
    )
