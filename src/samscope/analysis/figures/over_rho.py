"""A metric against rho, a line for every value of a key column, a panel for what is trained."""

import pandas as pd

from samscope.analysis import canvas, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.keys import Keys
from samscope.analysis.tables import measure
from samscope.analysis.view import View
from samscope.errors import InputError
from samscope.metrics import METRICS
from samscope.plan.types import Row

TITLE = "Error against rho"

TALL, GAP = 1.7, 0.62
APART = 1.02
"""By this factor lines stand beside each other, so that none hides another's interval."""


def draw(view: View, by: str = "", metric: str = "test_error_percent") -> Drawn:
    """Draw it.

    Args:
        view: whose rows with a rho are shown.
        by: the key column that tells its lines apart; the heading where there is none.
        metric: that is shown.

    Raises:
        InputError: for a column that the paper's tables lack, or an unknown metric.
    """
    keys, where = Keys(view.paper), f"{view.paper.name}/paper.yaml: over_rho"
    # A configuration of some tables alone may leave out the one that has the column.
    if by and by not in keys.columns and not view.plan.config.tables:
        raise InputError(where, "by", by, ", ".join(keys.columns))
    if metric not in METRICS:
        raise InputError(where, "metric", metric, ", ".join(METRICS))
    rows = [r for r in view.rows if r.metric == metric and _line(r, by) and r.at("rho")]
    data = _data(view, keys, rows, by)
    if data.cell.eq("").all():
        return canvas.unplanned("no rho is planned", data)
    run = data[data["mean"].notna()]
    if run.empty:
        return canvas.unrun(data)
    shown = data[data.model.isin(run.model) & data.line.isin(run.line)]
    looks = _looks(shown.line)
    models = list(dict.fromkeys(shown.model))
    wide = min(2, len(models))
    tops = [0.55 + (TALL + GAP) * i for i in range(-(-len(models) // wide))]
    size = canvas.WIDTH, tops[-1] + TALL + 0.45
    figure, grid = canvas.panels(size, wide, [(top, TALL) for top in tops], left=0.6, gap=0.6)
    panels = [axes for line in grid for axes in line]
    for axes in panels[len(models) :]:
        figure.delaxes(axes)
    for axes, model in zip(panels, models, strict=False):
        own = shown[shown.model == model]
        for i, (line, look) in enumerate(looks.items()):
            chosen = own[own.line == line].sort_values("rho")
            canvas.band(axes, chosen.assign(rho=chosen.rho * APART**i), "rho", **look)
        axes.set_xlim(own.rho.min() / 1.6, own.rho.max() * 1.6)
        canvas.decades(axes.xaxis)
        axes.set(xlabel="rho", ylabel=METRICS[metric].title + canvas.unit(metric))
        axes.set_title(model, fontweight="bold")
    canvas.legend(figure, {f"{by} {line}".strip(): look for line, look in looks.items()})
    return Drawn(figure, data, _caption(view, data, rows, metric))


def _line(row: Row, by: str) -> str:
    return row.keys.get(by, "") if by else row.column


def _looks(lines: pd.Series) -> dict[str, canvas.Look]:
    """Colour and marker of each line, in the order of the table."""
    names = list(dict.fromkeys(lines))
    styles = canvas.rho_styles(range(len(names)))
    return {name: {**styles[i], "markersize": 3.6} for i, name in enumerate(names)}


def _data(view: View, keys: Keys, rows: list[Row], by: str) -> pd.DataFrame:
    """A line a row: what is trained, its line, rho, and mean with interval."""
    frame = measure(view.plan, view.paper.name, rows)
    frame = frame[frame.selection == "best_val"].reset_index(drop=True)
    frame = frame.rename(columns={"measured": "mean", "ci_low": "low", "ci_high": "high"})
    frame = frame.rename(columns={"seeds": "n"}).assign(
        model=[selection.place(keys, row) for row in rows],
        line=[_line(row, by) for row in rows],
        rho=[row.at("rho") for row in rows],
    )
    columns = ["model", "line", "rho", "mean", "low", "high", "n", "cell"]
    # Rows that differ in what a stand-in lacks are one run.
    return frame[columns].drop_duplicates(["line", "rho", "cell"]).reset_index(drop=True)


def _caption(view: View, data: pd.DataFrame, rows: list[Row], metric: str) -> str:
    planned = [row for row in rows if row.cell]
    missing = int((data.cell == "").sum())
    absent = data[data.cell.ne("") & ~data.model.isin(data.model[data["mean"].notna()])]
    return (
        f"{selection.phrase(metric).capitalize()} {selection.when(planned[0].spec)}: "
        f"{canvas.means(data.n)}; the spread between seeds, which the lines share, is in it. "
        + (f"{missing} of {len(data)} settings are not planned. " if missing else "")
        + canvas.missing(absent.model)
        + scope.brief(view.plan, view.paper.name, planned)
    )
