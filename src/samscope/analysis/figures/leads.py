"""By how much a method is ahead of another over training, paired over seeds."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.comparisons import Records
from samscope.analysis.stats import paired_interval
from samscope.analysis.view import View
from samscope.config.claims import variant_leaves
from samscope.errors import InputError

TITLE = "Differences over training"

QUANTITIES = {"acc_percent": "held-out accuracy, points", "loss": "held-out loss"}
COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.VERMILLION)
TALL = 1.7


def draw(view: View, pairs: Mapping[str, Sequence[str]] | None = None, rho: float = 0.05) -> Drawn:
    """Draw it: a panel each for held-out accuracy and loss, a line a pair, the zero line marked.

    Args:
        view: of the cells.
        pairs: by what a line is called, two methods as claims name them: the one, and what is
            taken from it.
        rho: of both.

    Raises:
        InputError: for a pair that is none of methods.
    """
    known = {name: _pair(view, pair) for name, pair in (pairs or {}).items()}
    data = _data(view, known, rho)
    if not (known and selection.every(view)):
        return canvas.unplanned("no pair of methods is planned", data)
    if data.empty:
        return canvas.unrun(data)
    run = [name for name in known if name in set(data.pair)]
    looks = dict(zip(run, cycle(COLOURS), strict=False))
    size = canvas.WIDTH, 0.5 + TALL + 0.45
    figure, (row,) = canvas.panels(size, 2, [(0.5, TALL)], left=0.62, gap=0.7)
    for axes, (quantity, title) in zip(row, QUANTITIES.items(), strict=True):
        _panel(axes, data[data.quantity == quantity], looks)
        axes.set(
            xlabel=selection.unit(view, selection.every(view)), ylabel=f"difference of\n{title}"
        )
    canvas.legend(figure, {name: {"color": colour} for name, colour in looks.items()}, columns=3)
    return Drawn(figure, data, _caption(view, data, known, rho))


def _pair(view: View, pair: Sequence[str]) -> tuple[str, str]:
    """Two methods.

    Raises:
        InputError: where one of them is none, or they are not two.
    """
    try:
        one, other = pair
        _ = [variant_leaves(name) for name in (one, other)]
    except (ValueError, AttributeError):
        where, allowed = f"{view.paper.name}/paper.yaml: leads", "two methods, as claims name them"
        raise InputError(where, "pairs", pair, allowed) from None
    return one, other


def _data(view: View, pairs: Mapping[str, tuple[str, str]], rho: float) -> pd.DataFrame:
    """A line a pair, quantity and epoch: mean and 95 % t-interval of the difference."""
    records, lines = Records(view), []
    for name, pair in pairs.items():
        for quantity in QUANTITIES:
            one, other = (records.course(method, rho, f"held_out_{quantity}") for method in pair)
            for epoch in sorted({*one} & {*other}):
                found = paired_interval(one[epoch], other[epoch])
                ends = found.mean, found.low, found.high, found.n
                lines.append((name, *pair, quantity, epoch, *ends))
    columns = ["pair", "method", "less", "quantity", "epoch", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _panel(axes: Axes, data: pd.DataFrame, looks: Mapping[str, str]) -> None:
    axes.axhline(0, color=canvas.INK, linewidth=0.8)
    for name, colour in looks.items():
        own = data[data.pair == name].sort_values("epoch")
        canvas.band(axes, own, "epoch", within=(-math.inf, math.inf), color=colour, linewidth=1.2)


def _caption(
    view: View, data: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], rho: float
) -> str:
    told = "; ".join(f"{name}: {one} minus {other}" for name, (one, other) in pairs.items())
    absent = [name for name in pairs if name not in set(data.pair)]
    return (
        f"Differences between runs of one seed at rho {rho:g}: {canvas.means(data.n)}, not "
        f"corrected for the number of epochs. {told}. Above 0 the first is more accurate, below 0 "
        "its loss is lower. "
        + canvas.missing(absent)
        + scope.brief(view.plan, view.paper.name, view.rows)
    )
