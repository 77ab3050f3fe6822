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

DECADES = 6, 10
"""Of density below the highest point that are shown: at least, and at most.

One eigenvalue of P is lower than the highest point by about a factor of P.
"""


def draw(view: View, told: str = "") -> Drawn:
    """Draw it: a column a solution, a row for each measured epoch, for each model.

    Args:
        view: what it shows.
        told: a sentence on the eigenvalues that the paper prints.
    """
    cells = selection.sgd_and_sam(view)
    groups = selection.models(view, cells)
    printed = {cell: _printed(view, cell) for cell in cells}
    frames = {model: _data(view, of, printed) for model, of in groups.items()}
    data = pd.concat(frames.values(), ignore_index=True) if groups else _data(view, (), {})
    if not cells:
        return canvas.unplanned("no spectrum is planned", data)
    run = set(data.cell[data.n > 0])
    if not run:
        return canvas.unrun(data)
    groups = {model: tuple(c for c in of if c in run) for model, of in groups.items()}
    groups = {model: of for model, of in groups.items() if of}
    rows = [(m, e) for m, of in groups.items() for e in selection.measured_epochs(view, of[0])]
    columns = max(map(len, groups.values()))
    head = 0.0 if len(groups) == 1 else 0.55
    tops = [0.3 + 1.45 * i + head * (list(groups).index(m)) for i, (m, _) in enumerate(rows)]
    if columns > 3:
        tops = [top + 0.12 for top in tops]
    size = canvas.WIDTH, tops[-1] + 1.75
    left = 0.62 if set(groups) == {""} else 0.74
    figure, grid = canvas.panels(size, columns, [(top, 1.2) for top in tops], left=left, gap=0.2)
    numbers = spectra.over_seeds(view.plan, cells).set_index(["cell", "epoch", "quantity"])
    for row, (model, epoch) in zip(grid, rows, strict=True):
        of, frame = groups[model], frames[model]
        last = epoch == selection.measured_epochs(view, of[0])[-1]
        first = epoch == selection.measured_epochs(view, of[0])[0]
        for axes, cell in zip(row, of, strict=False):
            chosen = frame[(frame.cell == cell) & (frame.epoch == epoch)]
            if not chosen.n.any():  # only what is printed, or nothing
                axes.remove()
                continue
            _panel(axes, chosen, frame, numbers, printed[cell] if last else {})
            axes.tick_params(labelleft=axes is row[0], labelbottom=last)
            if first:
                axes.set_title(_title(view, cell, columns), fontweight="bold")
            if last:
                axes.set_xlabel("eigenvalue")
        for axes in row[len(of) :]:
            axes.remove()
        what = f"density, {selection.unit(view, of)} {epoch}"
        row[0].set_ylabel("\n".join(filter(None, (model, what))))
    return Drawn(figure, data, _caption(view, data, told if any(printed.values()) else ""))


def _title(view: View, cell: str, columns: int) -> str:
    """Of a column, in two lines where there are many."""
    name = label(view, cell)
    return name.replace(", rho", ",\nrho") if columns > 3 else name


def _printed(view: View, cell: str) -> dict[str, float]:
    """Eigenvalues of a cell that the paper prints: the ends of its spectrum, and the k-th.

    Only where its own model was trained by its own protocol: others have another scale.
    """
    rows = [row for row in view.rows if row.cell == cell]
    known: dict[str, float] = {
        row.metric: row.reported.value
        for row in rows
        if row.reported.printed
        and not row.reported.excluded
        and not scope.unlike(view.plan, view.paper.name, row)
    }
    found = {n: value for n, value in known.items() if n in ("lambda_max", "lambda_min")}
    if {"lambda_max", "leading_ratio"} <= set(known):
        found["lambda_k"] = known["lambda_max"] / known["leading_ratio"]
    return found


def _data(view: View, cells: tuple[str, ...], printed: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Mean densities over seeds on one grid; a column ``reported`` where eigenvalues are printed.

    Its lines hold the name of an eigenvalue, and no density.
    """
    found = spectra.densities(view.plan, cells)
    columns = ["cell", "epoch", "eigenvalue", "density", "kernel", "n"]
    marks = [(cell, value, name) for cell in cells for name, value in printed[cell].items()]
    last = selection.measured_epochs(view, cells[0])[-1] if cells else 0
    told = pd.DataFrame(marks, columns=["cell", "eigenvalue", "reported"]).assign(epoch=last)
    told = told.reindex(columns=[*columns, "reported"]).assign(n=0)
    if not found:
        return told if marks else pd.DataFrame(columns=columns)
    ends = [end for *_, nodes, _ in found for end in (nodes.min(), nodes.max())]
    ends += [value for _, value, _ in marks]
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
    measured = pd.concat(frames, ignore_index=True)[columns]
    return pd.concat([measured, told], ignore_index=True) if marks else measured


def _panel(
    axes: Axes,
    chosen: pd.DataFrame,
    data: pd.DataFrame,
    numbers: pd.DataFrame,
    printed: dict[str, float],
) -> None:
    chosen = chosen[chosen.density.notna()]
    axes.set_xlim(data.eigenvalue.min(), data.eigenvalue.max())
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    top = data.density.max()
    axes.set_ylim(_floor(data, top), top * 3)
    for value in printed.values():
        axes.plot(value, 0.07, "v", transform=axes.get_xaxis_transform(), color=canvas.VERMILLION,
                  markersize=4.5, **canvas.HOLLOW)  # fmt: skip
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


def _floor(data: pd.DataFrame, top: float) -> float:
    """The lowest density shown: that of the largest eigenvalue of every curve is above it."""
    last = []
    for _, curve in data[data.density.notna()].groupby(["cell", "epoch"]):
        heights = curve.density.to_numpy()
        peaks = heights[1:-1][(heights[1:-1] > heights[:-2]) & (heights[1:-1] >= heights[2:])]
        last += list(peaks[-1:])
    least, most = (top * 10.0**-decades for decades in DECADES)
    return max(most, min([least, *(height / 1.5 for height in last)]))


def _caption(view: View, data: pd.DataFrame, told: str) -> str:
    settings, cells = view.settings("curvature"), selection.sgd_and_sam(view)
    widths = data.kernel.dropna().unique()
    absent = [c for c in cells if c not in set(data.cell[data.n > 0])]
    kernel = f" of standard deviation {' or '.join(f'{w:g}' for w in widths)}" * bool(len(widths))
    same = "All panels share both axes" if len(selection.models(view, cells)) == 1 else (
        "Panels of a model share both axes"
    )  # fmt: skip
    return (
        "Spectral density of the Hessian of the training loss on "
        f"{settings['images']} fixed training {selection.samples(view, cells)}, by Lanczos "
        f"quadrature: a Gaussian{kernel} at each node, so that detail finer than that is the "
        f"kernel's; mean over {canvas.seeds(data.n)}. {same}. Written in: λ max and λ 1/λ k with "
        f"k = {settings['top_n']}, geometric mean and 95 % t-interval of the logarithm. "
        + canvas.missing(selection.named(view, absent))
        + (f"{told} " if told else "")
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
