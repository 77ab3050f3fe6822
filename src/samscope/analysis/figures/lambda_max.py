"""Sharpness: the top Hessian eigenvalue of every measured variant, and the loss it was taken at."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, scope, selection, spectra
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View

TITLE = "Sharpness"
CELLS = "measured"
NEEDS = ("curvature",)


def draw(view: View) -> Drawn:
    """Draw it: a row a cell, a dot a seed, the geometric mean and its interval."""
    cells = selection.measured(view)
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no spectrum is planned", data)
    if data.empty:
        return canvas.unrun(data)
    cells = tuple(cell for cell in cells if cell in set(data.cell))
    tall = 0.26 * len(cells)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, tall + 0.75), 1, [(0.25, tall)], 1.5, 0.0)
    axes.set_position(axes.get_position().shrunk(0.9, 1))
    canvas.decades(axes.xaxis)
    for i, cell in enumerate(cells):
        _row(axes, i, data[data.cell == cell])
    axes.set_yticks(range(len(cells)), [selection.label(view, cell) for cell in cells])
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.set_xlabel("largest eigenvalue of the Hessian")
    axes.text(1.02, 1.02, "train loss", transform=axes.transAxes, va="bottom", color=canvas.MUTED)
    return Drawn(figure, data, _caption(view, data))


def _data(view: View, cells: tuple[str, ...]) -> pd.DataFrame:
    points = spectra.measured(view.plan, cells).rename(columns={"loss": "sample_loss"})
    points = points[points["last"].astype(bool)][["cell", "seed", "lambda_max", "sample_loss"]]
    means = spectra.over_seeds(view.plan, cells)
    means = means[means["last"].astype(bool) & (means.quantity == "lambda_max")]
    return points.merge(means.drop(columns=["epoch", "last"]), on="cell")


def _row(axes: Axes, i: int, data: pd.DataFrame) -> None:
    first = data.iloc[0]
    axes.plot(data.lambda_max, [i] * len(data), "o", color=canvas.SKY, markersize=4, alpha=0.8)
    axes.plot([first["low"], first["high"]], [i, i], color=canvas.BLUE, linewidth=1.8)
    axes.plot(first["mean"], i, "D", color=canvas.BLUE, markersize=4)
    axes.annotate(f"{data.sample_loss.mean(skipna=False):.3f}", (1.02, i), va="center",
                  xycoords=("axes fraction", "data"), annotation_clip=False)  # fmt: skip


def _caption(view: View, data: pd.DataFrame) -> str:
    settings = view.settings("curvature")
    bound = spectra.bounds(data, ["lambda_max"])
    absent = [cell for cell in selection.measured(view) if cell not in set(data.cell)]
    return (
        f"Largest eigenvalue of the Hessian of the training loss on {settings['images']} fixed "
        "training images, weights of the last epoch. Dots: seeds; diamond and line: geometric "
        f"mean and 95 % t-interval of the logarithm over {canvas.seeds(data.n)}. "
        + (f"Lanczos bounds the error of every dot: {bound}. " if bound else "")
        + "Beside it the loss on the same images: a network that interpolates them has little "
        "curvature left, whatever the method. "
        + canvas.missing(selection.label(view, cell) for cell in absent)
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, selection.measured(view)))
    )
