"""Project 2: how far above 1 the ratio is, over training, beside the study's own figure."""

import math
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import gathered, scope
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.plan.papers import Plan

LIMITS = (1, 1.2, 1.5, 2, 4, 8, 16, math.inf)
COLOURS = (canvas.SKY, canvas.BLUE, canvas.GREEN, canvas.ORANGE, canvas.VERMILLION, canvas.PURPLE,
           canvas.INK)  # fmt: skip
RHO = 0.1
"""Of the run behind the study's figure."""

STEPS = 35_200
"""Of that run: 200 epochs of 176."""

_BINS = {
    "r>16" if high == math.inf else f"{low:g}<r<{high:g}": (low, high)
    for low, high in pairwise(LIMITS)
}
LOOKS = {
    name: {"color": colour, "linewidth": 1.3} for name, colour in zip(_BINS, COLOURS, strict=True)
}
COLUMNS = ["source", "bin", "training", "mean", "low", "high", "n", "independent"]


def draw(plan: Plan) -> Drawn:
    """Draw it: ours on the left, the digitised curves on the right."""
    cells = selection.sam_cells(plan)
    rhos = [plan.cells[cell].cell.rho for cell in cells]
    rho = RHO if RHO in rhos else next(iter(rhos), None)
    data = _data(plan, [cell for cell in cells if plan.cells[cell].cell.rho == rho])
    if not cells:
        return Drawn(canvas.empty("no SAM cell is planned"), data, "Not planned.")
    figure, ((left, right),) = canvas.panels((canvas.WIDTH, 3.2), 2, [(0.75, 1.95)], 0.5, 0.5)
    for axes, source in ((left, "measured"), (right, "reported")):
        _panel(axes, data[data.source == source])
    left.set_title(f"Measured, rho {rho:g}", fontweight="bold")
    right.set_title(f"The study's figure, rho {RHO:g}", fontweight="bold")
    left.set_ylabel("% of all parameters")
    canvas.legend(figure, LOOKS, columns=7)
    return Drawn(figure, data, _caption(plan, data, rho))


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    if data.empty:
        canvas.note(axes, "not run")
    for name, look in LOOKS.items():
        canvas.band(axes, data[data.bin == name], "training", **look)
        low, high = _BINS[name]
        axes.plot(103, gathered.independent_share(low, high), "_", color=look["color"])
    axes.set_xlim(-4, 106)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("% of training")


def _data(plan: Plan, cells: list[str]) -> pd.DataFrame:
    frame = gathered.total(gathered.read(plan, cells, "ratios"))
    lines = []
    for epoch, group in frame.groupby("epoch", sort=True):
        training = 100 * (epoch - 0.5) / plan.cells[cells[0]].cell.epochs
        for name, (low, high) in _BINS.items():
            share = mean_interval(group[gathered.bins(low, high)].sum(axis=1))
            ends = share.mean, share.low, share.high, share.n
            lines.append(("measured", name, training, *ends, gathered.independent_share(low, high)))
    printed = gathered.printed(plan, selection.STUDY, "ratio_bins")
    for row in printed.to_dict("records"):
        for name in [name for name in _BINS if name in row]:
            lines.append(("reported", name, 100 * row["step"] / STEPS, row[name], math.nan,
                          math.nan, 1, gathered.independent_share(*_BINS[name])))  # fmt: skip
    return pd.DataFrame(lines, columns=COLUMNS)


def _caption(plan: Plan, data: pd.DataFrame, rho: float | None) -> str:
    rows = [r for r in selection.variant_rows(plan) if r.variant == "sam"]
    return (
        f"Shares of all parameters by the size of a ratio above 1, under SAM at rho {rho:g}: mean "
        f"over the steps of an epoch, then {canvas.means(data[data.source == 'measured'].n)}. "
        "Right: the study's figure of one "
        "smoothed run, digitised (about 3 % of its axis); it leaves r > 16 out. Chance: dashes at "
        "the right edges, the shares for two independent gradients of one scale, whose ratio is "
        "Cauchy's. " + scope.brief(plan, selection.STUDY, rows)
    )
