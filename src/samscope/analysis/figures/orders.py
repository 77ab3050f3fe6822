"""SAM with and without its second-order term over training, and the cosine of both updates."""

import math

import pandas as pd

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "First and second order"

LOOKS: dict[str, canvas.Look] = {
    "first order": {"color": canvas.ORANGE, "linewidth": 1.2},
    "second order": {"color": canvas.BLUE, "linewidth": 1.2, "linestyle": (0, (5, 1.2))},
}
QUANTITIES = {"train_loss": "training loss", "held_out": "held-out accuracy, %",
              "second_order_cosine": "cosine of both updates"}  # fmt: skip
MOST = {"train_loss": math.inf, "held_out": 100.0, "second_order_cosine": 1.0}
TALL, GAP = 1.5, 0.62


def draw(view: View) -> Drawn:
    """Draw it: a row a model, a column each for training loss, accuracy and cosine."""
    groups = selection.models(view, _cells(view))
    data = _data(view, groups)
    if not groups:
        return canvas.unplanned("no second order is planned", data)
    if data.empty:
        return canvas.unrun(data)
    groups = {model: cells for model, cells in groups.items() if model in set(data.model)}
    tops = [0.6 + (TALL + GAP) * i for i in range(len(groups))]
    size = canvas.WIDTH, tops[-1] + TALL + 0.45
    figure, grid = canvas.panels(size, 3, [(top, TALL) for top in tops], left=0.62, gap=0.85)
    for line, (model, cells) in zip(grid, groups.items(), strict=True):
        for axes, (quantity, title) in zip(line, QUANTITIES.items(), strict=True):
            own = data[data.cell.isin(cells) & (data.quantity == quantity)]
            for order, look in LOOKS.items():
                chosen = own[own.order == order].sort_values("epoch")
                within = (-math.inf, MOST[quantity])
                canvas.band(axes, chosen, "epoch", within=within, **look)
            if own["mean"].isna().all():
                axes.remove()
                continue
            axes.set(xlabel=selection.unit(view, cells), ylabel=title)
            axes.ticklabel_format(useOffset=False)
        line[0].set_title(model, fontweight="bold", loc="left")
    canvas.legend(figure, LOOKS)
    return Drawn(figure, data, _caption(view, data))


def _data(view: View, groups: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    lines = []
    for model, cells in groups.items():
        for cell in cells:
            frame = results.histories(view.plan, [cell])
            order = _order(view, cell)
            held = f"{selection.held_out(view, cell)}_acc_percent"
            for quantity in QUANTITIES:
                column = held if quantity == "held_out" else quantity
                if column not in frame:
                    continue
                for epoch, values in frame.groupby("epoch")[column]:
                    found = mean_interval(values)
                    ends = found.mean, found.low, found.high, found.n
                    lines.append((model, cell, order, epoch, quantity, *ends))
    columns = ["model", "cell", "order", "epoch", "quantity", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _cells(view: View) -> tuple[str, ...]:
    """Of which the second-order term is kept, or recorded."""
    cells = selection.every(view)
    return tuple(c for c in cells if view.leaves(c).get("second_order", "dropped") != "dropped")


def _order(view: View, cell: str) -> str:
    return "second order" if view.leaves(cell)["second_order"] == "kept" else "first order"


def _caption(view: View, data: pd.DataFrame) -> str:
    cells = _cells(view)
    last = data[(data.quantity == "second_order_cosine") & data["mean"].notna()]
    ends = last.sort_values("epoch").groupby(["model", "order"], sort=False)["mean"].last()
    told = "; ".join(f"{' '.join(filter(None, at))} {value:.3f}" for at, value in ends.items())
    return (
        f"{canvas.means(data.n).capitalize()}. Cosine: of the gradients with and without what "
        "comes through e, mean over an epoch's steps, along the trajectory of each order"
        + (f"; at the end: {told}. " if told else ". ")
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
