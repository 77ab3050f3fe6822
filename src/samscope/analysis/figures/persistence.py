"""How long elements stay in their region, beside independent steps."""

import pandas as pd

from samscope.analysis import canvas, gathered, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "How long parameters stay in a region"
CELLS = "sam"

COLOURS = (canvas.INK, canvas.SKY, canvas.BLUE, canvas.GREEN, canvas.ORANGE)
STATISTICS = {"overlap": "in it now, %", "unbroken": "in it all along, %"}
COLUMNS = ["rho", "reference", "region", "lag", "statistic", "mean", "low", "high", "chance", "n"]
CHANCE: canvas.Look = {"color": canvas.MUTED, "linestyle": (0, (3, 2)), "linewidth": 1.0}


def draw(view: View, above: str = "", below: str = "") -> Drawn:
    """Draw it for SAM at the rho that figures of one rho show: a column a region.

    Args:
        view: what it shows.
        above: what the paper calls the upper panels, in the caption.
        below: and the lower ones.
    """
    cells, rho = selection.sam_shown(view)
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    if data.empty:
        return canvas.unrun(data)
    heights = [(0.75, 1.5), (2.45, 1.5)]
    figure, grid = canvas.panels((canvas.WIDTH, 4.4), 4, heights, left=0.55, gap=0.3)
    references = sorted(data.reference.unique())
    looks: dict[str, canvas.Look] = {
        f"members at step {int(r)}": {"color": colour, "marker": "o", "markersize": 2.4,
                                      "linewidth": 1.1}
        for r, colour in zip(references, COLOURS, strict=False)
    }  # fmt: skip
    shown = data[data["mean"] > 0]  # a logarithm has no place for none
    for row, (statistic, label) in zip(grid, STATISTICS.items(), strict=True):
        those = shown[shown.statistic == statistic]
        for region, axes in enumerate(row, 1):
            chosen = those[those.region == region]
            canvas.decades(axes.xaxis)
            if statistic == "unbroken":
                canvas.decades(axes.yaxis)
                axes.set_ylim(0.01, 130)
                axes.tick_params(labelleft=axes is row[0], which="both")
            for reference, look in zip(references, looks.values(), strict=False):
                line = chosen[chosen.reference == reference]
                canvas.band(axes, line, "lag", 0.5, **look)
                axes.plot(line.lag, line.chance, **{**CHANCE, "color": look["color"]})
            if len(those):
                axes.set_xlim(0.8, 1.5 * those.lag.max())
            if statistic == "overlap":
                axes.set_ylim(bottom=0)
            axes.set_title(f"Region {region}" if statistic == "overlap" else "")
        row[0].set_ylabel(label)
    for axes in grid[1]:
        axes.set_xlabel("steps since")
    canvas.legend(figure, {**looks, "independent steps": CHANCE}, columns=4)
    return Drawn(figure, data, _caption(view, data, rho, above, below))


def _data(view: View, cells: list[str]) -> pd.DataFrame:
    frame = gathered.read(view.plan, cells, "persistence")
    frame = frame[frame.reference.notna()]
    rho = view.leaves(cells[0])["rho"] if cells else None
    lines = []
    for (reference, region, lag), group in frame.groupby(["reference", "region", "lag"]):
        for name in STATISTICS:
            found, chance = mean_interval(group[name]), group[f"{name}_chance"].mean()
            ends = found.mean, found.low, found.high, chance, found.n
            lines.append((rho, reference, region, lag, name, *ends))
    return pd.DataFrame(lines, columns=COLUMNS)


def _caption(view: View, data: pd.DataFrame, rho: float | None, above: str, below: str) -> str:
    upper, lower = (", ".join(filter(None, pair)) for pair in (("above", above), ("below", below)))
    rows = selection.rows_of(view, selection.sam(view))
    return (
        f"Of the members of each region at a step, how many are in it again some steps later "
        f"({upper}) and how many have been in it at every step since "
        f"({lower}), under SAM at rho {rho:g}: "
        f"{canvas.means(data.n)}. Chance: dashed, what steps independent of each other with the "
        "same shares would give, which is the share of the region at that step and the product of "
        "the shares of all steps since. " + scope.brief(view.plan, view.paper.name, rows)
    )
