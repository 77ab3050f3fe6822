"""Displacement of the weights over the steps since the training set is learned."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from samscope import stages
from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.figures.grokking import COLOURS, in_steps, method_of
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.store import recorded

TITLE = "Drift after the training set is learned"
CELLS = "drifting"
NEEDS = ("drift",)

GUIDES: dict[float, tuple[str, canvas.Look]] = {
    0.5: ("random walk, exponent 0.5", {"color": canvas.MUTED, "linestyle": (0, (1, 1.5))}),
    1.0: ("straight line, exponent 1", {"color": canvas.MUTED, "linestyle": (0, (5, 2))}),
}
LATER: canvas.Look = {"linestyle": (0, (3, 1.4)), "alpha": 0.55}
COLUMNS = ["group", "cell", "method", "seed", "from", "start", "lag", "distance", "exponent",
           "cosine"]  # fmt: skip
TALL = 1.9


def draw(view: View) -> Drawn:
    """Draw it: a panel for each weight decay and share of the samples that train."""
    chosen = set(selection.drifting(view))
    groups = {
        name: tuple(c for c in cells if c in chosen) for name, cells in in_steps(view).items()
    }
    groups = {name: cells for name, cells in groups.items() if cells}
    data = _data(view, groups)
    if not groups:
        return canvas.unplanned("no drift is planned", data)
    if data.empty:
        return canvas.unrun(data)
    planned, groups = groups, {n: cells for n, cells in groups.items() if n in set(data.group)}
    size = canvas.WIDTH, TALL + 1.1
    figure, (row,) = canvas.panels(size, len(groups), [(0.65, TALL)], left=0.55, gap=0.35)
    cells = [cell for own in groups.values() for cell in own]
    names = list(dict.fromkeys(method_of(view, cell) for cell in cells))
    looks = {name: {"color": COLOURS[i % len(COLOURS)]} for i, name in enumerate(names)}
    for axes, name in zip(row, groups, strict=True):
        axes.set_title(name, fontweight="bold")
        axes.set_xlabel("lag, steps")
        _panel(axes, data[data.group == name], looks)
    row[0].set_ylabel("||w(t + lag) − w(t)||")
    marks = {"t: a later step": {"color": canvas.INK, **LATER}} | dict(GUIDES.values())
    canvas.legend(figure, looks | marks, columns=3)
    return Drawn(figure, data, _caption(view, data, planned))


def _data(view: View, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """A line for each distance from the first of a run's weights, and from those in the middle."""
    lines = []
    for group, cells in groups.items():
        for cell in cells:
            seeds = {run.seed for run in results.runs(view.plan, cell, "drift")}
            record = view.plan.run_dir(cell) / stages.STAGES["drift"].record
            settings = stages.runs(view.plan, "drift")[cell][0].settings
            for raw in recorded.runs_of(record, settings):
                if raw["seed"] not in seeds or len(raw["steps"]) < 2:
                    continue
                numbers = raw["exponent"], raw["cosine"]
                for name, place in (("first", 0), ("later", (len(raw["steps"]) - 1) // 2)):
                    start, *after = raw["steps"][place:]
                    about = group, cell, method_of(view, cell), raw["seed"], name, start
                    for at, distance in zip(after, raw["distances"][place], strict=True):
                        lines.append((*about, at - start, distance, *numbers))
    return pd.DataFrame(lines, columns=COLUMNS)


def _panel(axes: Axes, data: pd.DataFrame, looks: dict[str, canvas.Look]) -> None:
    canvas.decades(axes.xaxis)
    canvas.decades(axes.yaxis)
    axes.yaxis.set_minor_formatter(NullFormatter())
    for (method, name, _), own in data.groupby(["method", "from", "seed"], sort=False):
        look = {"linewidth": 0.9, **looks[method], **(LATER if name == "later" else {})}
        axes.plot(own.lag, own.distance, **look)
    ends, low = (data.lag.min(), data.lag.max()), data.distance.min()
    top, bottom = axes.get_ylim()[1], axes.get_ylim()[0]
    for exponent, (_, look) in GUIDES.items():
        # From the lowest point of the panel, so that slopes are compared and not levels.
        axes.plot(ends, [low, low * (ends[1] / ends[0]) ** exponent], linewidth=1, **look)
    axes.set_ylim(bottom, top)


def _caption(view: View, data: pd.DataFrame, planned: Iterable[str]) -> str:
    cells, told = selection.drifting(view), []
    for (group, method), own in data.groupby(["group", "method"], sort=False):
        each = own.drop_duplicates("seed").astype({"exponent": float, "cosine": float})
        words = [f"{name} {_told(each[name])}" for name in ("exponent", "cosine")]
        told.append(f"{method}, {group}: {', '.join(words)}")
    shown = f"Mean and 95 % t-interval: {'; '.join(told)}. " if told else ""
    counts = data.groupby("cell").seed.nunique() if len(data) else []
    return (
        "Distance of the weights from where 99 % of the training samples are first right (solid), "
        "and from a later step (dashed), over the steps since then; a line a run, "
        f"{canvas.seeds(counts)}. Slopes of a random walk, whose moves have a mean cosine of 0 "
        f"with the move before, and of a straight line, where it is 1, however slow. {shown}"
        + canvas.missing(name for name in planned if name not in set(data.group))
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )


def _told(values: pd.Series) -> str:
    found = mean_interval(values)
    return f"{found.mean:.2f}" + (f" [{found.low:.2f}, {found.high:.2f}]" if found.n > 1 else "")
