"""The share of region 1 against test accuracy, across rhos and within them."""

import pandas as pd

from samscope.analysis import canvas, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.comparisons import Records
from samscope.analysis.correlations import FISHER, across, share_and_accuracy, within
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "Share of region 1 and accuracy"
CELLS = "sam"


def draw(view: View) -> Drawn:
    """Draw it: a point a run, a colour a rho."""
    cells = selection.sam(view)
    rhos = [view.leaves(cell)["rho"] for cell in cells]
    if not cells:
        data = pd.DataFrame(columns=["seed", "share", "accuracy", "rho"])
        return canvas.unplanned("no SAM cell is planned", data)
    data = share_and_accuracy(Records(view), 1, "sam", rhos)
    if len(rhos) == 1 and len(view.plan.cells[cells[0]].seeds) < FISHER:
        few = f"not planned at three rhos, nor with {FISHER} seeds at one"
        return Drawn(canvas.empty(few), data, f"{few.capitalize()}: nothing to correlate.")
    if data.empty:
        return canvas.unrun(data)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, 3.3), 1, [(0.5, 2.3)], 0.5, 0.0)
    looks = canvas.rho_styles(data.rho)
    for rho, look in looks.items():
        chosen = data[data.rho == rho]
        axes.plot(chosen["share"], chosen.accuracy, **look, markersize=4, linewidth=0)
    axes.set_xlabel("share of region 1, mean over training, %")
    axes.set_ylabel("test accuracy, %")
    shown = {f"rho {rho:g}": {**look, "linewidth": 0} for rho, look in looks.items()}
    canvas.legend(figure, shown, columns=7)
    return Drawn(figure, data, _caption(view, data, len(rhos) < 3))


def _caption(view: View, data: pd.DataFrame, few: bool) -> str:
    rows = selection.rows_of(view, selection.sam(view))
    counts = data.groupby("rho").seed.nunique() if len(data) else []
    told = "Across rhos both move with rho, which is no cause of one by the other."
    told = "Not planned at three rhos: no correlation across them." if few else told
    return (
        "Share of region 1, mean over training, and test accuracy at the best-validation epoch, "
        f"of SAM's runs, over {canvas.seeds(counts)} at each rho; 95 % t-interval over seeds or "
        f"Fisher's. {_correlations(data)}Chance: no correlation. {told} "
        + scope.brief(view.plan, view.paper.name, rows)
    )


def _correlations(data: pd.DataFrame) -> str:
    text = ""
    if data.groupby("rho").ngroups > 2:
        mean = mean_interval(across(data))
        text += (
            f"Correlation across rhos, within a seed: {mean.mean:.2f} ({mean.low:.2f} to "
            f"{mean.high:.2f}). "
        )
    value, low, high, _ = within(data)
    if low < high:
        text += f"Over seeds, by their means over the rhos: {value:.2f} ({low:.2f} to {high:.2f}). "
    return text
