"""Shares of the four regions by kind of layer, and those of one sampled step an epoch."""

import pandas as pd

from samscope.analysis import gathered, scope
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.figures.region_shares import TITLES
from samscope.analysis.stats import mean_interval
from samscope.optim.bins import KINDS
from samscope.plan.papers import Plan

ALL, LAST = "all parameters", "the epoch's last step alone"
LOOKS = {
    **dict(
        zip(
            KINDS,
            (
                {"color": colour, "linewidth": 1.2}
                for colour in (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.PURPLE)
            ),
            strict=True,
        )
    ),
    ALL: {"color": canvas.INK, "linewidth": 1.4},
    LAST: {"color": canvas.INK, "marker": "o", "markersize": 3.2, "markerfacecolor": "none",
           "linewidth": 0},
}  # fmt: skip
CHANCE = {"color": canvas.MUTED, "linestyle": (0, (1, 2)), "linewidth": 0.9}


def draw(plan: Plan) -> Drawn:
    """Draw it for SAM at the rho that figures of one rho show."""
    cells, rho = selection.sam_shown(plan)
    data = _data(plan, cells)
    if not cells:
        return Drawn(canvas.empty("no SAM cell is planned"), data, "Not planned.")
    heights = [(0.75, 1.75), (2.95, 1.75)]
    figure, grid = canvas.panels((canvas.WIDTH, 5.15), 2, heights, left=0.5, gap=0.5)
    for region, axes in zip(TITLES, [*grid[0], *grid[1]], strict=True):
        chosen = data[data.region == region]
        if chosen.empty:
            canvas.note(axes, "not run")
        for kind, look in LOOKS.items():
            line = chosen[chosen.kind == kind]
            if kind == LAST:
                axes.plot(line.epoch, line["mean"], **look)
            else:
                canvas.band(axes, line, "epoch", 0.6, **look)
        axes.axhline(25, **CHANCE)
        axes.set_title(TITLES[region], fontweight="bold")
        axes.set_ylim(bottom=0)
    for axes in grid[1]:
        axes.set_xlabel("epoch")
    for axes, _ in grid:
        axes.set_ylabel("% of the kind's parameters")
    canvas.legend(figure, {**LOOKS, "independent gradients": CHANCE}, columns=4)
    return Drawn(figure, data, _caption(plan, data, rho))


def _data(plan: Plan, cells: list[str]) -> pd.DataFrame:
    columns = ["rho", "kind", "epoch", "region", "mean", "low", "high", "n"]
    frame = gathered.read(plan, cells, "ratios")
    if frame.empty:
        return pd.DataFrame(columns=columns)
    every = gathered.total(frame).assign(kind=ALL)
    last = frame[frame.batch == "last"].assign(kind=LAST)
    frame = pd.concat([frame[frame.batch == "all"], every, last], ignore_index=True)
    rho = plan.cells[cells[0]].cell.rho
    lines = []
    for (kind, epoch), group in gathered.regions(frame).groupby(["kind", "epoch"], sort=False):
        for region in TITLES:
            share = mean_interval(group[f"region{region}"])
            lines.append((rho, kind, epoch, region, share.mean, share.low, share.high, share.n))
    return pd.DataFrame(lines, columns=columns)


def _caption(plan: Plan, data: pd.DataFrame, rho: float | None) -> str:
    rows = [r for r in selection.variant_rows(plan) if r.variant == "sam"]
    return (
        f"Shares of the regions in each kind of layer, under SAM at rho {rho:g}: mean over the "
        f"steps of an epoch, then {canvas.means(data.n)}. Circles: "
        "the last step of each epoch alone, usually a short batch, which is what the study logged. "
        "Chance: two independent gradients of one scale would have a quarter in each region "
        "(dots). " + scope.brief(plan, selection.STUDY, rows)
    )
