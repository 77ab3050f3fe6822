"""Accuracy and gap against rho: SAM and adaptive SAM beside the optimizer alone, a row a model."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.keys import Keys
from samscope.analysis.selection import method
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.metrics import METRICS
from samscope.plan.types import Row

TITLE = "Accuracy and gap against rho"
CELLS = "swept"

TITLES = {
    "test_acc_percent": "Test accuracy, %",
    "highest_test_acc_percent": "Its highest of all epochs, %",
    "gap_loss": "Test loss less training loss",
}
LOOKS: dict[str, canvas.Look] = {
    "SAM": {"color": canvas.ORANGE, "marker": "o", "markersize": 3.4},
    "adaptive SAM": {"color": canvas.BLUE, "marker": "s", "markersize": 3.2},
}
BASE: canvas.Look = {"color": canvas.MUTED, "linestyle": (0, (3, 2)), "linewidth": 1.1}
PRINTED: canvas.Look = {"linestyle": "none", "markersize": 4.4, **canvas.HOLLOW}
TALL, GAP = 1.35, 0.5


def draw(view: View, told: str = "") -> Drawn:
    """Draw it: a row a model, a column each for the last epoch, the highest one and the gap.

    Args:
        view: what it shows.
        told: a sentence on the numbers that the paper prints.
    """
    rows = selection.sweep(view)
    data = _data(view, rows)
    if not any(row.cell for row in rows):
        return canvas.unplanned("no sweep over rho is planned", data)
    models = _models(data)
    if not models:
        return canvas.unrun(data)
    tops = [0.62 + (TALL + GAP) * i for i in range(len(models))]
    size = canvas.WIDTH, tops[-1] + TALL + 0.45
    figure, grid = canvas.panels(size, 3, [(top, TALL) for top in tops], left=0.74, gap=0.5)
    columns: dict[str, list[Axes]] = {metric: [] for metric in TITLES}
    for line, model in zip(grid, models, strict=True):
        own = data[data.model == model]
        for axes, metric in zip(line, TITLES, strict=True):
            chosen = own[own.metric == metric]
            if chosen["mean"].isna().all():  # the runs do not record it
                axes.remove()
                continue
            _panel(axes, chosen, metric)
            columns[metric].append(axes)
        shown = [axes for axes in line[:2] if axes.figure]
        ends = [end for axes in shown for end in axes.get_ylim()]
        for axes in shown:
            axes.set_ylim(min(ends), max(ends))
        line[0].set_ylabel(model)
    for metric, column in columns.items():
        if column:
            column[0].set_title(TITLES[metric], fontweight="bold")
            column[-1].set_xlabel("rho")
    figure.align_ylabels([line[0] for line in grid])
    _legend(figure, data)
    return Drawn(figure, data, _caption(view, data, rows, told))


def _models(data: pd.DataFrame) -> list[str]:
    """Those with a run that are trained at several rhos; all with one where none is."""
    run = data.model.isin(data.model[data["mean"].notna()])
    several = data[run].groupby("model", sort=False).rho.nunique() > 1
    return list(several[several].index if several.any() else several.index)


def _data(view: View, rows: tuple[Row, ...]) -> pd.DataFrame:
    """A line for every metric of `TITLES` of every run that tables tell apart."""
    cells = [cell for row in rows for cell in row.cells]
    frame = results.metrics(view.plan, cells, TITLES)
    frame = frame[frame.selection == "best_val"]
    values = dict(iter(frame.groupby(["cell", "metric"]).value))
    lines = {}
    for model, of, printed in _runs(view, rows):
        flat = of.spec.to_dict()
        losses = (printed.get(name, math.nan) for name in ("test_loss", "train_loss"))
        told = {"gap_loss": next(losses) - next(losses), **printed}
        for metric in TITLES:
            found = mean_interval(values.get((of.cell, metric), ()))
            ends = found.mean, found.low, found.high, found.n
            about = model, method(flat), of.at("rho"), metric
            line = (*about, *ends, told.get(metric, math.nan), of.cell or "")
            lines[str(line)] = line
    columns = ["model", "method", "rho", "metric", "mean", "low", "high", "n", "reported", "cell"]
    return pd.DataFrame(lines.values(), columns=columns)


def _runs(view: View, rows: tuple[Row, ...]) -> list[tuple[str, Row, dict[str, float]]]:
    """Model, a row, and what is printed by metric, of every run that is told apart."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        table = next(t.id for t in view.paper.tables.values() if any(r is row for r in t.rows))
        groups.setdefault((table, row.column, *row.keys.items()), []).append(row)
    keys, found = Keys(view.paper), []
    for several in groups.values():
        printed = {
            row.metric: row.reported.value
            for row in several
            if row.reported.printed and not row.reported.excluded
        }
        found.append((selection.place(keys, several[0]), several[0], printed))
    return sorted(found, key=lambda run: run[1].spec.to_dict()["rho"] or 0.0)


def _panel(axes: Axes, data: pd.DataFrame, metric: str) -> None:
    within = METRICS[metric].low, METRICS[metric].high
    measured = data.drop_duplicates(["method", "rho"])
    rhos = data.rho.dropna()
    if len(rhos):
        axes.set_xlim(rhos.min() / 2, rhos.max() * 1.6)
        canvas.decades(axes.xaxis)
        axes.xaxis.set_minor_formatter(NullFormatter())
    base = measured[measured.rho.isna() & measured["mean"].notna()]
    if len(base):
        low, high = canvas.ends(base, within=within)
        axes.axhline(base["mean"].iloc[0], **BASE)
        axes.axhspan(low.iloc[0], high.iloc[0], color=BASE["color"], alpha=0.16, linewidth=0)
    for name, look in LOOKS.items():
        canvas.band(axes, measured[measured.method == name], "rho", within=within, **look)
        printed = data[(data.method == name) & data.reported.notna()]
        axes.plot(printed.rho, printed.reported, **{**look, **PRINTED})
    printed = data[data.rho.isna() & data.reported.notna()]
    # Without a rho, it stands at the left edge.
    at = axes.get_yaxis_transform()
    axes.plot([0.03] * len(printed), printed.reported, "D", transform=at,
              **{**PRINTED, "color": canvas.MUTED, "markersize": 4})  # fmt: skip


def _legend(figure: Figure, data: pd.DataFrame) -> None:
    alone = " or ".join(dict.fromkeys(data.method[data.rho.isna()])) or "the optimizer"
    printed = {"color": canvas.INK, "marker": "o", **PRINTED}
    looks = {**LOOKS, f"{alone} alone": BASE, "printed, one run each": printed}
    canvas.legend(figure, looks)


def _caption(view: View, data: pd.DataFrame, rows: tuple[Row, ...], told: str) -> str:
    alone = data[data.rho.isna() & (data.n > 0)]
    planned = data[data.cell != ""].model
    return (
        f"Left: test accuracy {selection.when(rows[0].spec)}; middle: the highest of all epochs, "
        "chosen on the test samples themselves; right: test loss less training loss. Filled: "
        f"{canvas.means(data.n)}"
        + (
            "; the optimizer alone, which has no rho, as a line with its band. "
            if len(alone)
            else ". "
        )
        + "Hollow: what is printed or logged, of single runs. A rho without a filled point is not "
        "run. Each model has its own axes. "
        + canvas.missing(m for m in planned if m not in set(data.model[data.n > 0]))
        + (f"{told} " if told else "")
        + scope.brief(view.plan, view.paper.name, [row for row in rows if row.cell])
    )
