"""Whether region 1 holds the largest gradients, beside its share of all parameters."""

import math

import pandas as pd

from samscope.analysis import canvas, gathered, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "Region 1 and the largest gradients"
CELLS = "sam"

SERIES = {
    "above_g": "by the size of g",
    "above_h": "by the size of h",
    "members": "chance: region 1 of all",
}
LOOKS: dict[str, canvas.Look] = {
    SERIES["above_g"]: {"color": canvas.BLUE, "linewidth": 1.3},
    SERIES["above_h"]: {"color": canvas.ORANGE, "linewidth": 1.3},
    SERIES["members"]: {"color": canvas.MUTED, "linestyle": (0, (3, 2)), "linewidth": 1.2},
    "as printed": {"color": canvas.MUTED, "marker": "o", "markersize": 3.2,
                   **canvas.HOLLOW, "linewidth": 0},
}  # fmt: skip


def draw(view: View, epochs: int = 1, told: str = "") -> Drawn:
    """Draw it for SAM at the rho that figures of one rho show.

    Args:
        view: what it shows.
        epochs: of the run behind the printed numbers, where there are some.
        told: of those numbers, in the caption.
    """
    cells, rho = selection.sam_shown(view)
    data = _data(view, cells, epochs)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    if not (data.source == "measured").any():
        return canvas.unrun(data)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, 3.3), 1, [(0.5, 2.3)], 0.5, 0.0)
    for label, look in LOOKS.items():
        chosen = data[data.series == label]
        if label == "as printed":
            axes.plot(chosen.training, chosen["mean"], **look)
        else:
            canvas.band(axes, chosen, "training", **look)
    axes.set_xlabel("% of training")
    axes.set_ylabel("% of region 1 among the n1 largest")
    canvas.legend(figure, LOOKS)
    return Drawn(figure, data, _caption(view, data, rho, told))


def _data(view: View, cells: list[str], epochs: int) -> pd.DataFrame:
    frame = results.histories(view.plan, cells)
    frame = frame[frame["members"].notna()] if len(frame) else frame
    lines = []
    for epoch, group in frame.groupby("epoch"):
        training = 100 * epoch / view.plan.cells[cells[0]].cell.budget.length
        for column, label in SERIES.items():
            value = mean_interval(group[column])
            ends = value.mean, value.low, value.high, value.n
            threshold = group.get(f"threshold_{column[-1]}", pd.Series(dtype=float)).mean()
            lines.append(("measured", label, training, *ends, threshold))
    for row in gathered.printed(view.plan, view.paper.name, "magnitude_ranks").itertuples():
        ends = row.above, math.nan, math.nan, 1
        lines.append(("reported", "as printed", 100 * row.epoch / epochs, *ends, row.threshold))
    columns = ["source", "series", "training", "mean", "low", "high", "n", "threshold"]
    return pd.DataFrame(lines, columns=columns)


def _caption(view: View, data: pd.DataFrame, rho: float | None, told: str) -> str:
    rows = selection.rows_of(view, selection.sam(view))
    return (
        "With n1 parameters in region 1: how many of them are among the n1 of all parameters whose "
        f"gradient is largest, at the last whole batch of an epoch, under SAM at rho {rho:g}; "
        f"{canvas.means(data[data.source == 'measured'].n)}. Chance: were "
        "membership and size independent, as many as region 1 has of all parameters (dashes). "
        "Region 1 is where h is larger than g, so that the size of h is not independent of it by "
        f"selection alone. {told}{' ' if told else ''}"
        + scope.brief(view.plan, view.paper.name, rows)
    )
