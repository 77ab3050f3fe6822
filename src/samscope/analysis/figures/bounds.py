"""What theory says of the test loss, measured: a table over rho, and where it is vacuous."""

import math

import pandas as pd

from samscope.analysis import canvas, gathered, pac_bayes, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View

TITLE = "Bounds by flatness"
CELLS = "sgd_and_sam"
NEEDS = ("curvature",)

LOOKS: dict[str, canvas.Look] = {
    "training loss": {"color": canvas.MUTED, "marker": "o"},
    "its largest within the radius": {"color": canvas.ORANGE, "marker": "^"},
    "test loss": {"color": canvas.INK, "marker": "D"},
    "slack, McAllester": {"color": canvas.SKY, "marker": "s"},
    "slack, Foret et al.": {"color": canvas.BLUE, "marker": "P"},
}
"""By what a column of the data is called."""


def draw(view: View, samples: int = 0) -> Drawn:
    """Draw it: a row a cell, on a logarithmic axis; the line at 1 is where a slack bounds nothing.

    Args:
        view: of cells whose curvature is measured.
        samples: that train a cell whose setting says all of them; 0: such a cell is left out.
    """
    cells = selection.sgd_and_sam(view)
    data = _data(view, cells, samples)
    if not cells:
        return canvas.unplanned("no spectrum is planned", data)
    if data.empty:
        return canvas.unrun(data)
    planned, cells = cells, tuple(cell for cell in cells if cell in set(data.cell))
    tall = 0.34 * len(cells)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, tall + 1.1), 1, [(0.5, tall)], 1.5, 0.0)
    canvas.decades(axes.xaxis)
    axes.axvline(1, color=canvas.INK, linewidth=0.8)
    for i, cell in enumerate(cells):
        own = data[data.cell == cell]
        for name, look in LOOKS.items():
            axes.plot(own[name].mean(), i, **look, linestyle="none", markersize=4.6)
    axes.set_yticks(range(len(cells)), [selection.label(view, cell) for cell in cells])
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.set_xlabel("loss, slack")
    canvas.legend(figure, {k: {**v, "linestyle": "none"} for k, v in LOOKS.items()}, columns=3)
    return Drawn(figure, data, _caption(view, data, planned))


def _data(view: View, cells: tuple[str, ...], samples: int) -> pd.DataFrame:
    """A line a run: its losses at the last epoch, both slacks, and the radius that would tell."""
    tested = results.metrics(view.plan, cells, ["test_loss"])
    tested = tested[tested.selection == "last"].set_index(["cell", "seed"]).value
    counts, radius = _parameters(view, cells), view.settings("curvature").get("rho", math.nan)
    lines = []
    for cell, seed, spectra in results.spectra(view.plan, cells):
        at, flat = spectra[-1], view.leaves(cell)
        k, n = counts.get(flat["model"]), flat["train_size"] or samples
        if not (k and n and at.norm):
            continue
        # Numbers of a run that diverged are None.
        loss, rise = (math.nan if v is None else v for v in (at.loss, at.numbers["worst_case"]))
        lines.append({
            "cell": cell, "method": selection.label(view, cell), "rho": flat["rho"], "seed": seed,
            "samples": n, "parameters": k, "norm": at.norm, "radius": radius,
            "training loss": loss,
            "its largest within the radius": loss + rise,
            "test loss": tested.get((cell, seed), math.nan),
            "slack, McAllester": pac_bayes.mcallester(at.norm, radius, k, n),
            "slack, Foret et al.": pac_bayes.foret(at.norm, radius, k, n),
            "telling radius": pac_bayes.telling_radius(at.norm, k, n),
        })  # fmt: skip
    about = ("cell", "method", "rho", "seed", "samples", "parameters", "norm", "radius")
    return pd.DataFrame(lines, columns=[*about, *LOOKS, "telling radius"])


def _parameters(view: View, cells: tuple[str, ...]) -> dict[str, int]:
    """How many each model has, as its runs with an ascent count them."""
    frame = gathered.total(gathered.read(view.plan, cells, "ratios"))
    found = frame.groupby("cell", sort=False).parameters.first()
    return {view.leaves(cell)["model"]: int(count) for cell, count in found.items()}


def _caption(view: View, data: pd.DataFrame, cells: tuple[str, ...]) -> str:
    vacuous = int((data["slack, Foret et al."] >= 1).sum())
    told = ""
    if len(data):
        least = data["telling radius"].div(data.norm).min()
        told = (
            f"The slack of Foret et al. is 1 or more, and so bounds nothing, in {vacuous} of "
            f"{len(data)} runs"
            + (f"; it falls below from a radius of {least:.3g} times the norm of the weights on. "
               if math.isfinite(least) else ", at any radius. ")
        )  # fmt: skip
    return (
        f"Means over {canvas.seeds(data.groupby('cell').seed.count())}, last epoch. Losses "
        "are of cross-entropy, on the fixed sample of training images and on the test images; the "
        "slacks are for a loss in [0, 1], such as the error, at a confidence of 95 %. Largest: the "
        f"largest that was found within the radius, a lower bound. {told}"
        + canvas.missing(selection.label(view, c) for c in cells if c not in set(data.cell))
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
