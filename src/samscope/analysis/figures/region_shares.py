"""Shares of the four regions of the ratio over training, SAM at each rho."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, claims, results, scope, selection
from samscope.analysis.canvas import REGIONS, Drawn
from samscope.analysis.claims.share import Fields
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "Shares of the four regions"
CELLS = "sam"

LEVEL = {"color": canvas.INK, "linewidth": 0.9}
AT_LEAST: canvas.Look = {**LEVEL, "linestyle": (0, (4, 3))}
AROUND: canvas.Look = {**LEVEL, "marker": "D", "markersize": 5, "markerfacecolor": "none"}
CLAIMED: dict[str, canvas.Look] = {
    "the study: around, and our tolerance": AROUND,
    "the study: at least": AT_LEAST,
}


def draw(view: View, told: str = "") -> Drawn:
    """Draw it, with the levels that claims of the kind ``share`` say.

    Args:
        view: what it shows.
        told: of those levels, in the caption.
    """
    cells = selection.sam(view)
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    if data.empty:
        return canvas.unrun(data)
    heights = [(0.75, 1.75), (2.95, 1.75)]
    figure, grid = canvas.panels((canvas.WIDTH, 5.15), 2, heights, left=0.5, gap=0.5)
    looks = canvas.rho_styles(data.rho)
    epochs = view.plan.cells[cells[0]].cell.budget.length
    levels = [claim for claim in claims.read(view.paper) if isinstance(claim, Fields)]
    for region, axes in zip(REGIONS, [*grid[0], *grid[1]], strict=True):
        _panel(axes, data[data.region == region], looks, epochs)
        for claim in levels:
            if claim.region == region:
                _reported(axes, claim, epochs)
        axes.set_title(REGIONS[region], fontweight="bold")
        axes.set_ylim(bottom=0)
    for axes in grid[1]:
        axes.set_xlabel(selection.unit(view, cells))
    for axes, _ in grid:
        axes.set_ylabel("% of all parameters")
    shown = {f"SAM, rho {rho:g}": {**look, "markersize": 3.4} for rho, look in looks.items()}
    canvas.legend(figure, {**CLAIMED, **shown}, columns=4)
    return Drawn(figure, data, _caption(view, data, told))


def _data(view: View, cells: tuple[str, ...]) -> pd.DataFrame:
    frame = results.histories(view.plan, cells)
    lines = []
    for (cell, epoch), group in frame.groupby(["cell", "epoch"], sort=False):
        for region, name in enumerate(results.REGIONS, 1):
            share = mean_interval(group[name])
            rho = view.leaves(cell)["rho"]
            lines.append(("sam", rho, epoch, region, share.mean, share.low, share.high, share.n))
    columns = ["variant", "rho", "epoch", "region", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _panel(axes: Axes, data: pd.DataFrame, looks: dict, epochs: int) -> None:
    for rho, look in looks.items():
        chosen = data[data.rho == rho]
        canvas.band(axes, chosen, "epoch", color=look["color"], linewidth=1.3)
        some = chosen[:: max(1, epochs // 4)]
        axes.plot(some.epoch, some["mean"], **look, markersize=3, linewidth=0)
    axes.set_xticks(sorted({round(1 + (epochs - 1) * i / 4) for i in range(5)}))
    axes.set_xlim(1 - 0.07 * epochs, epochs + 0.07 * epochs)


def _reported(axes: Axes, claim: Fields, epochs: int) -> None:
    """A claimed level at the time it is claimed for, with the tolerance it is tested at."""
    low, high = claim.at_least, claim.at_most
    if low is None or high is None:
        axes.axhline((high or 0.0) if low is None else low, **AT_LEAST)
        return
    edge = 0.045 * epochs
    x = 1 - edge if claim.when == "first_epoch" else epochs + edge
    axes.errorbar(x, (low + high) / 2, (high - low) / 2, capsize=2.5, zorder=5, **AROUND)


def _caption(view: View, data: pd.DataFrame, told: str) -> str:
    cells = selection.sam(view)
    rhos = sorted({view.leaves(cell)["rho"] for cell in cells} - {*data.rho})
    return (
        "Shares of all parameters by the ratio of the perturbed to the current gradient, under "
        f"SAM: mean over the steps of an epoch, then {canvas.means(data.n)}. "
        f"{told}{' ' if told else ''}"
        + canvas.missing(f"rho {rho:g}" for rho in rhos)
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
