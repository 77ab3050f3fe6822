"""Training and test loss over the training, and the gap between them, SAM beside its optimizer."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View

TITLE = "Loss over training"
CELLS = "plain"

LOOKS = (
    {"color": canvas.INK, "linestyle": "-"},
    {"color": canvas.BLUE, "linestyle": (0, (5, 1.2))},
    {"color": canvas.ORANGE, "linestyle": (0, (1.4, 1))},
    {"color": canvas.GREEN, "linestyle": (0, (4, 1, 1, 1))},
    {"color": canvas.VERMILLION, "linestyle": (0, (7, 2))},
    {"color": canvas.PURPLE, "linestyle": (0, (2, 2))},
)
QUANTITIES = ("train_loss", "held_out_loss", "gap")
WORDS = {"val": "validation", "test": "test"}
TALL, GAP = 1.5, 0.6
LINE, WIDE = 0.17, 110
"""A line of a legend in inches, and letters in the width of a figure."""
SETTLED = 0.1
"""Of a training, what is left out of the choice of the axes: losses fall from far above."""


def draw(view: View) -> Drawn:
    """Draw it: a row a model, a column each for training loss, test loss and their difference."""
    groups = selection.models(view, selection.plain(view))
    data = _data(view, groups)
    if not groups:
        return canvas.unplanned("no training of SAM is planned", data)
    if data.empty:
        return canvas.unrun(data)
    run = set(data.cell)
    groups = {model: tuple(c for c in of if c in run) for model, of in groups.items()}
    groups = {model: cells for model, cells in groups.items() if cells}
    names = {model: [label(view, cell) for cell in cells] for model, cells in groups.items()}
    lines = max(-(-len(of) // _columns(of)) for of in names.values())
    head = 0.42 + LINE * (lines - 1)
    tops = [head + (TALL + GAP - 0.17 + head) * i for i in range(len(groups))]
    size = canvas.WIDTH, tops[-1] + TALL + 0.45
    figure, grid = canvas.panels(size, 3, [(top, TALL) for top in tops], left=0.58, gap=0.62)
    for row, (model, cells) in zip(grid, groups.items(), strict=True):
        looks = {cell: LOOKS[i % len(LOOKS)] for i, cell in enumerate(cells)}
        split = WORDS[selection.held_out(view, cells[0])]
        titles = dict(zip(QUANTITIES, ("training loss", f"{split} loss", "gap"), strict=True))
        for axes, (quantity, title) in zip(row, titles.items(), strict=True):
            own = data[data.cell.isin(cells) & (data.quantity == quantity)]
            _panel(axes, own, looks, signed=quantity == "gap")
            axes.set_xlabel(selection.unit(view, cells))
            axes.set_ylabel(title)
        ends = [end for axes in row[:2] for end in axes.get_ylim()]
        for axes in row[:2]:
            axes.set_ylim(min(ends), max(ends))
        _head(row[0], model, {label(view, cell): look for cell, look in looks.items()})
    return Drawn(figure, data, _caption(view, data))


def _data(view: View, groups: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    lines = []
    for model, cells in groups.items():
        held = f"{selection.held_out(view, cells[0])}_loss"
        frame = results.histories(view.plan, cells)
        if frame.empty:
            continue
        values = {"train_loss": frame.train_loss, "held_out_loss": frame[held]}
        frame = frame[["cell", "epoch"]].assign(**values)
        frame["gap"] = frame.held_out_loss - frame.train_loss
        for (cell, epoch), group in frame.groupby(["cell", "epoch"], sort=False):
            for quantity in QUANTITIES:
                found = mean_interval(group[quantity])
                ends = found.mean, found.low, found.high, found.n
                lines.append((model, cell, label(view, cell), epoch, quantity, *ends))
    columns = ["model", "cell", "method", "epoch", "quantity", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _panel(axes: Axes, data: pd.DataFrame, looks: dict[str, dict], signed: bool) -> None:
    within = (-math.inf if signed else 0.0), math.inf
    for cell, look in looks.items():
        own = data[data.cell == cell].sort_values("epoch")
        canvas.band(axes, own, "epoch", within=within, linewidth=1.1, **look)
    settled = data[data.epoch > SETTLED * data.epoch.max()]
    low, high = canvas.ends(settled, within=within)
    margin = 0.06 * (high.max() - low.min())
    if margin > 0:
        axes.set_ylim(low.min() - margin, high.max() + margin)
    if signed:
        axes.axhline(0, color=canvas.MUTED, linewidth=0.6)


def _columns(names: Sequence[str]) -> int:
    """Of a legend as wide as the figure."""
    return max(1, min(4, WIDE // (max(map(len, names), default=0) + 8)))


def _head(axes: Axes, model: str, looks: dict[str, dict]) -> None:
    """Above a row of panels: what was trained, and the lines of its methods."""
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    columns = _columns([*looks])
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns,
                borderaxespad=0, handlelength=2.4)  # fmt: skip
    if model:
        lines = -(-len(looks) // columns)
        axes.set_title(model, fontweight="bold", pad=18 + 72 * LINE * (lines - 1))


def _caption(view: View, data: pd.DataFrame) -> str:
    cells, run = selection.plain(view), set(data.cell)
    splits = " or ".join(dict.fromkeys(WORDS[selection.held_out(view, cell)] for cell in cells))
    return (
        f"Loss of every {selection.unit(view, cells)}: {canvas.means(data.n)}. Training loss is "
        f"the mean over an epoch's steps, while the weights move, with augmentation and dropout; "
        f"{splits} loss is that of the weights at its end, without. Gap: {splits} less training "
        "loss, paired by seed. Axes leave out where the losses of the first tenth are off them. "
        + canvas.missing(selection.named(view, [cell for cell in cells if cell not in run]))
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
