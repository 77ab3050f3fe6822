"""Spectral densities of the Hessian, SGD beside SAM on one scale, over training."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from samscope.analysis import canvas, scope, selection, spectra
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.view import View

TITLE = "Spectra of SGD and SAM"
CELLS = "sgd_and_sam"
NEEDS = ("curvature",)

POINTS = 240
"""Of a curve."""

KERNELS = 120
"""Widths of the kernel in the range of all eigenvalues shown."""

DECADES = 6
"""Of density below the highest point that are shown."""


def draw(view: View) -> Drawn:
    """Draw it: a column for SGD and for SAM at each rho, a row for each measured epoch."""
    cells = selection.sgd_and_sam(view)
    data, width = _data(view, cells)
    if not cells:
        return Drawn(canvas.empty("no spectrum is planned"), data, "Not planned.")
    epochs = selection.measured_epochs(view, cells[0])
    heights = [(0.3 + 1.45 * i, 1.2) for i in range(len(epochs))]
    size = canvas.WIDTH, 0.6 + 1.45 * len(epochs)
    figure, grid = canvas.panels(size, len(cells), heights, left=0.62, gap=0.2)
    numbers = spectra.over_seeds(view.plan, cells).set_index(["cell", "epoch", "quantity"])
    unit = selection.unit(view, cells)
    for row, epoch in zip(grid, epochs, strict=True):
        for axes, cell in zip(row, cells, strict=True):
            chosen = data[(data.cell == cell) & (data.epoch == epoch)]
            _panel(axes, chosen, data, numbers)
            axes.tick_params(labelleft=axes is row[0], labelbottom=row is grid[-1])
        row[0].set_ylabel(f"density, {unit} {epoch}")
    for axes, cell in zip(grid[0], cells, strict=True):
        axes.set_title(label(view, cell), fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("eigenvalue")
    return Drawn(figure, data, _caption(view, data, width))


def _data(view: View, cells: tuple[str, ...]) -> tuple[pd.DataFrame, float]:
    """Mean densities over seeds on one grid, and the width of the kernel."""
    found = spectra.densities(view.plan, cells)
    columns = ["cell", "epoch", "eigenvalue", "density", "kernel", "n"]
    if not found:
        return pd.DataFrame(columns=columns), np.nan
    ends = [end for *_, nodes, _ in found for end in (nodes.min(), nodes.max())]
    low, high = min(ends), max(ends)
    width = float(f"{(high - low) / KERNELS or 1.0:.2g}")
    grid = np.linspace(low - 4 * width, high + 4 * width, POINTS)
    curves: dict[tuple[str, int], list[np.ndarray]] = {}
    for cell, _, epoch, nodes, weights in found:
        curve = spectra.smoothed(nodes, weights, grid, width)
        curves.setdefault((cell, epoch), []).append(curve)
    frames = [
        pd.DataFrame({"cell": cell, "epoch": epoch, "eigenvalue": grid,
                      "density": np.mean(several, 0), "kernel": width, "n": len(several)})
        for (cell, epoch), several in curves.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)[columns], width


def _panel(axes: Axes, chosen: pd.DataFrame, data: pd.DataFrame, numbers: pd.DataFrame) -> None:
    if not data.empty:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        top = data.density.max()
        axes.set_ylim(top * 10.0**-DECADES, top * 3)
        axes.set_xlim(data.eigenvalue.min(), data.eigenvalue.max())
    if chosen.empty:
        canvas.note(axes, "not run")
        return
    floor = np.maximum(chosen.density, axes.get_ylim()[0])
    axes.fill_between(chosen.eigenvalue, axes.get_ylim()[0], floor, color=canvas.SKY, alpha=0.35,
                      linewidth=0)  # fmt: skip
    axes.plot(chosen.eigenvalue, floor, color=canvas.BLUE, linewidth=0.9)
    key = chosen.cell.iloc[0], chosen.epoch.iloc[0]
    lines = [
        f"{symbol} {spectra.interval(numbers.loc[(*key, name)])}"
        for name, symbol in (("lambda_max", "λ max"), ("leading_ratio", "λ 1/λ k"))
    ]
    axes.text(0.98, 0.96, "\n".join(lines), transform=axes.transAxes, ha="right", va="top",
              fontsize=7)  # fmt: skip


def _caption(view: View, data: pd.DataFrame, width: float) -> str:
    settings = view.settings("curvature")
    kernel = "" if np.isnan(width) else f" of standard deviation {width:g}"
    return (
        "Spectral density of the Hessian of the training loss on "
        f"{settings['images']} fixed training images, by Lanczos quadrature: a Gaussian{kernel} at "
        f"each node, so that detail finer than that is the kernel's; mean over "
        f"{canvas.seeds(data.n)}. All panels share both axes. Written in: λ max and λ 1/λ k with "
        f"k = {settings['top_n']}, geometric mean and 95 % t-interval of the logarithm. "
        + scope.brief(
            view.plan, view.paper.name, selection.rows_of(view, selection.sgd_and_sam(view))
        )
    )
