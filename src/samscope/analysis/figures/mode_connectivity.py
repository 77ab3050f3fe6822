"""Training loss and test error along paths between two solutions: straight, Bezier, chain."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.spec import Curve
from samscope.stages import STAGES
from samscope.store import recorded

TITLE = "Along paths between two solutions"

LOOKS: dict[str, canvas.Look] = {
    "line": {"color": canvas.MUTED, "linestyle": (0, (4, 2))},
    "bezier": {"color": canvas.BLUE},
    "chain": {"color": canvas.VERMILLION, "linestyle": (0, (7, 2))},
}
NAMES = {"line": "straight line", "bezier": "Bezier curve", "chain": "polygonal chain"}
QUANTITIES = {"train_loss": "training loss", "test_error_percent": "test error, %"}
TALL = 1.6


def draw(view: View) -> Drawn:
    """Draw it: a column for each pair of methods, a row for each quantity."""
    groups = _groups(view)
    data = _data(view, groups)
    if not groups:
        return canvas.unplanned("no path is planned", data)
    if data.empty:
        return canvas.unrun(data)
    groups = {name: cells for name, cells in groups.items() if name in set(data.ends)}
    heights = [(0.55, TALL), (0.55 + TALL + 0.15, TALL)]
    size = canvas.WIDTH, 2 * TALL + 1.15
    figure, grid = canvas.panels(size, len(groups), heights, left=0.6, gap=0.22)
    for row, (quantity, title) in zip(grid, QUANTITIES.items(), strict=True):
        for axes, name in zip(row, groups, strict=True):
            own = data[(data.ends == name) & (data.quantity == quantity)]
            _panel(axes, own)
        row[0].set_ylabel(title)
        top = data.loc[data.quantity == quantity, "mean"].max()
        for axes in row:
            axes.set_ylim(0, 1.15 * top if top > 0 else None)
            axes.tick_params(labelleft=axes is row[0], labelbottom=row is grid[1])
    for axes, name in zip(grid[0], groups, strict=True):
        axes.set_title(name, fontweight="bold")
    for axes in grid[1]:
        axes.set_xlabel("place t between the ends")
    shown = [path for path in LOOKS if path in set(data.path)]
    canvas.legend(figure, {NAMES[path]: LOOKS[path] for path in shown})
    return Drawn(figure, data, _caption(view, data))


def _groups(view: View) -> dict[str, dict[str, str]]:
    """By the methods of the ends, the planned curves by path: of the lines the finest."""
    found: dict[str, dict[str, str]] = {}
    for cell in selection.every(view):
        curve = view.plan.specs[cell].cell
        if not isinstance(curve, Curve):
            continue
        ends = [selection.method(end.to_dict()) for end, _ in curve.between(0)]
        same = found.setdefault(" and ".join(ends), {})
        other = view.plan.specs[same[curve.path]].cell if curve.path in same else None
        if not isinstance(other, Curve) or curve.points > other.points:
            same[curve.path] = cell
    return found


def _data(view: View, groups: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Means over pairs with their intervals, by t."""
    lines = []
    for ends, cells in groups.items():
        for path, cell in cells.items():
            frame = _read(view, cell)
            for (t, quantity), group in frame.groupby(["t", "quantity"], sort=False):
                found = mean_interval(group.value)
                numbers = found.mean, found.low, found.high, found.n
                lines.append((ends, path, cell, quantity, t, *numbers))
    columns = ["ends", "path", "cell", "quantity", "t", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _read(view: View, cell: str) -> pd.DataFrame:
    """The numbers of the pairs of a curve that count, by t."""
    seeds = {run.seed for run in results.runs(view.plan, cell)}
    record = view.plan.run_dir(cell) / STAGES["curve"].record
    rows = [
        (raw["seed"], t, quantity, value)
        for raw in recorded.runs_of(record, {})
        if raw["seed"] in seeds
        for quantity in QUANTITIES
        for t, value in zip(raw["path"]["t"], raw["path"].get(quantity, ()), strict=False)
    ]
    return pd.DataFrame(rows, columns=["seed", "t", "quantity", "value"])


def _panel(axes: Axes, data: pd.DataFrame) -> None:
    for path, look in LOOKS.items():
        own = data[data.path == path].sort_values("t")
        if not own.empty:
            canvas.band(axes, own, "t", within=(0.0, float("inf")), linewidth=1.3, **look)
    axes.set_xlim(0, 1)


def _caption(view: View, data: pd.DataFrame) -> str:
    rows = [row for row in view.rows if row.cell]
    absent = [
        f"{NAMES[path]}, {ends}"
        for ends, cells in _groups(view).items()
        for path, cell in cells.items()
        if cell not in set(data.cell)
    ]
    return (
        f"Along paths phi(t) between the last weights of two runs: {canvas.means(data.n)}, a seed "
        "a pair, of which no two share a run. SGD and SGD, or SAM and SAM: of two seeds. SGD and "
        "SAM: of one, from the same initial weights and with the same batches. Bezier curve and "
        "chain have one trained bend; batch normalisation has its statistics anew at every t. "
        + canvas.missing(absent)
        + scope.brief(view.plan, view.paper.name, rows)
    )
