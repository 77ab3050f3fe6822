"""Shares of the four regions by kind of layer, and those of one sampled step an epoch."""

import itertools

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, gathered, scope, selection
from samscope.analysis.canvas import REGIONS, Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.optim.bins import KINDS

TITLE = "Shares of the regions by kind of layer"
CELLS = "sam"

ALL, LAST = "all parameters", "the epoch's last step alone"
TOGETHER = {
    ALL: {"color": canvas.INK, "linewidth": 1.4},
    LAST: {"color": canvas.INK, "marker": "o", "markersize": 3.2, "markerfacecolor": "none",
           "linewidth": 0},
}  # fmt: skip
COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.PURPLE, canvas.SKY, canvas.VERMILLION,
           canvas.MUTED)  # fmt: skip
EQUAL, SQUASHED = 25, 1.6
"""Percent of a region by chance; and how far above all that is drawn it may stand as a line."""
CHANCE: canvas.Look = {"color": canvas.MUTED, "linestyle": (0, (1, 2)), "linewidth": 0.9}


def draw(view: View, told: str = "") -> Drawn:
    """Draw it for SAM at the rho that figures of one rho show.

    Args:
        view: what it shows.
        told: of the last step of an epoch, in the caption.
    """
    cells, rho = selection.sam_shown(view)
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    if data.empty:
        return canvas.unrun(data)
    heights = [(0.75, 1.75), (2.95, 1.75)]
    figure, grid = canvas.panels((canvas.WIDTH, 5.15), 2, heights, left=0.5, gap=0.5)
    looks = _looks(data)
    for region, axes in zip(REGIONS, [*grid[0], *grid[1]], strict=True):
        chosen = data[data.region == region]
        for kind, look in looks.items():
            line = chosen[chosen.kind == kind]
            if kind == LAST:
                axes.plot(line.epoch, line["mean"], **look)
            else:
                canvas.band(axes, line, "epoch", 0.6, **look)
        axes.set_title(REGIONS[region], fontweight="bold")
        _chance(axes, chosen[["mean", "high"]].max().max())
    for axes in grid[1]:
        axes.set_xlabel(selection.unit(view, cells))
    for axes, _ in grid:
        axes.set_ylabel("% of the kind's parameters")
    canvas.legend(figure, {**looks, "independent gradients": CHANCE}, columns=4)
    return Drawn(figure, data, _caption(view, data, rho, told))


def _chance(axes: Axes, most: float) -> None:
    """Chance as a line, or in words where it would squash what is drawn."""
    if 0 < most * SQUASHED < EQUAL:
        axes.annotate(f"chance {EQUAL} ↑", (0.99, 0.97), xycoords="axes fraction", ha="right",
                      va="top", color=canvas.MUTED)  # fmt: skip
        axes.set_ylim(0, 1.15 * most)
    else:
        axes.axhline(EQUAL, **CHANCE)
        axes.set_ylim(bottom=0)


def _looks(data: pd.DataFrame) -> dict[str, canvas.Look]:
    """A colour for each kind that a network has, and what stands for all of them."""
    kinds = [kind for kind in KINDS if kind in set(data.kind)]
    looks = zip(kinds, itertools.cycle(COLOURS))
    return {kind: {"color": colour, "linewidth": 1.2} for kind, colour in looks} | TOGETHER


def _data(view: View, cells: list[str]) -> pd.DataFrame:
    columns = ["rho", "kind", "epoch", "region", "mean", "low", "high", "n"]
    frame = gathered.read(view.plan, cells, "ratios")
    if frame.empty:
        return pd.DataFrame(columns=columns)
    every = gathered.total(frame).assign(kind=ALL)
    last = frame[frame.batch == "last"].assign(kind=LAST)
    frame = pd.concat([frame[frame.batch == "all"], every, last], ignore_index=True)
    rho = view.leaves(cells[0])["rho"]
    lines = []
    for (kind, epoch), group in gathered.regions(frame).groupby(["kind", "epoch"], sort=False):
        for region in REGIONS:
            share = mean_interval(group[f"region{region}"])
            lines.append((rho, kind, epoch, region, share.mean, share.low, share.high, share.n))
    return pd.DataFrame(lines, columns=columns)


def _caption(view: View, data: pd.DataFrame, rho: float | None, told: str) -> str:
    rows = selection.rows_of(view, selection.sam(view))
    return (
        f"Shares of the regions in each kind of layer, under SAM at rho {rho:g}: mean over the "
        f"steps of an epoch, then {canvas.means(data.n)}. Circles: "
        f"the last step of each epoch alone, usually a short batch{', ' if told else ''}{told}. "
        "Chance: two independent gradients of one scale would have a quarter in each region "
        "(dots). " + scope.brief(view.plan, view.paper.name, rows)
    )
