"""How far above 1 the ratio is, over training, beside a printed figure."""

import math
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, gathered, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "Sizes of the ratio above 1"
CELLS = "sam"

LIMITS = (1, 1.2, 1.5, 2, 4, 8, 16, math.inf)
COLOURS = (canvas.SKY, canvas.BLUE, canvas.GREEN, canvas.ORANGE, canvas.VERMILLION, canvas.PURPLE,
           canvas.INK)  # fmt: skip
_BINS = {
    "r>16" if high == math.inf else f"{low:g}<r<{high:g}": (low, high)
    for low, high in pairwise(LIMITS)
}
LOOKS: dict[str, canvas.Look] = {
    name: {"color": colour, "linewidth": 1.3} for name, colour in zip(_BINS, COLOURS, strict=True)
}
COLUMNS = ["source", "bin", "training", "mean", "low", "high", "n", "independent"]


def draw(view: View, rho: float = math.nan, steps: int = 1, told: str = "") -> Drawn:
    """Draw it: ours on the left, printed curves on the right.

    Args:
        view: what it shows.
        rho: of the run behind the printed curves, where there are some.
        steps: of that run.
        told: of those curves, in the caption.
    """
    cells = selection.sam(view)
    rhos = [view.leaves(cell)["rho"] for cell in cells]
    ours = rho if rho in rhos else next(iter(rhos), None)
    data = _data(view, [cell for cell in cells if view.leaves(cell)["rho"] == ours], steps)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    if not (data.source == "measured").any():
        return canvas.unrun(data)
    figure, ((left, right),) = canvas.panels((canvas.WIDTH, 3.2), 2, [(0.75, 1.95)], 0.5, 0.5)
    for axes, source in ((left, "measured"), (right, "reported")):
        _panel(axes, data[data.source == source])
    left.set_title(f"Measured, rho {ours:g}", fontweight="bold")
    right.set_title(f"The study's figure, rho {rho:g}", fontweight="bold")
    left.set_ylabel("% of all parameters")
    canvas.legend(figure, LOOKS, columns=7)
    return Drawn(figure, data, _caption(view, data, ours, told))


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    for name, look in LOOKS.items():
        canvas.band(axes, data[data.bin == name], "training", **look)
        low, high = _BINS[name]
        axes.plot(103, gathered.independent_share(low, high), "_", color=look["color"])
    axes.set_xlim(-4, 106)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("% of training")


def _data(view: View, cells: list[str], steps: int) -> pd.DataFrame:
    frame = gathered.total(gathered.read(view.plan, cells, "ratios"))
    lines = []
    budgets = [view.plan.cells[cell].cell.budget for cell in cells[:1]]
    each, length = next(((b.report_every or 1, b.length) for b in budgets), (1, 1))
    for epoch, group in frame.groupby("epoch", sort=True):
        training = 100 * (epoch - 0.5 * each) / length
        for name, (low, high) in _BINS.items():
            share = mean_interval(group[gathered.bins(low, high)].sum(axis=1))
            ends = share.mean, share.low, share.high, share.n
            lines.append(("measured", name, training, *ends, gathered.independent_share(low, high)))
    printed = gathered.printed(view.plan, view.paper.name, "ratio_bins")
    for row in printed.to_dict("records"):
        for name in [name for name in _BINS if name in row]:
            lines.append(("reported", name, 100 * row["step"] / steps, row[name], math.nan,
                          math.nan, 1, gathered.independent_share(*_BINS[name])))  # fmt: skip
    return pd.DataFrame(lines, columns=COLUMNS)


def _caption(view: View, data: pd.DataFrame, rho: float | None, told: str) -> str:
    rows = selection.rows_of(view, selection.sam(view))
    return (
        f"Shares of all parameters by the size of a ratio above 1, under SAM at rho {rho:g}: mean "
        f"over the steps of an epoch, then {canvas.means(data[data.source == 'measured'].n)}. "
        f"{told}{' ' if told else ''}Chance: dashes at "
        "the right edges, the shares for two independent gradients of one scale, whose ratio is "
        "Cauchy's. " + scope.brief(view.plan, view.paper.name, rows)
    )
