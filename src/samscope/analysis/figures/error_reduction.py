"""What part of its error SAM takes from a training: printed and measured, a point a setting."""

from collections.abc import Mapping

import pandas as pd

from samscope.analysis import canvas, scope, selection, tables
from samscope.analysis.canvas import Drawn
from samscope.analysis.keys import Keys
from samscope.analysis.view import View
from samscope.optim.method import Ascent
from samscope.plan.rows import CHOOSE
from samscope.plan.types import Row
from samscope.spec.leaves import leaves

TITLE = "Reduction of the error by SAM"

_METHOD = {"variant", CHOOSE, *leaves(Ascent)}
"""In these a training with SAM and one without differ."""
METRIC = "test_error_percent"
PRINTED: canvas.Look = {"color": canvas.MUTED, "marker": "o", "markersize": 4.2}
OURS: canvas.Look = {"color": canvas.BLUE, "marker": "D", "markersize": 4}


def draw(view: View, pairs: Mapping[str, str] | None = None) -> Drawn:
    """Draw it: a line of points a network, 100 (without - with) / without percent each.

    Args:
        view: of the tables.
        pairs: heading of a column without SAM: heading of that with it; SGD: SAM by default.
    """
    data = _data(view, pairs or {"SGD": "SAM"})
    if data.empty:
        return canvas.unplanned("no pair of columns is in the plan", data)
    if data.measured.isna().all():
        return canvas.unrun(data)
    lines = list(dict.fromkeys(data.line))
    tall = 0.27 * len(lines)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, tall + 0.95), 1, [(0.38, tall)], 2.3, 0.0)
    axes.axvline(0, color=canvas.INK, linewidth=0.8)
    at = data.line.map(lines.index)
    axes.plot(data.printed, at, **{**PRINTED, **canvas.HOLLOW, "linestyle": "none"})
    ours = data.drop_duplicates(["line", "measured"]).dropna(subset="measured")
    axes.plot(ours.measured, ours.line.map(lines.index) + 0.22, **OURS, linestyle="none")
    axes.set_yticks(range(len(lines)), lines)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("reduction of the test error by SAM, %")
    canvas.legend(figure, {
        "printed": {**PRINTED, **canvas.HOLLOW, "linestyle": "none"},
        "measured": {**OURS, "linestyle": "none"},
    })  # fmt: skip
    return Drawn(figure, data, _caption(view, data))


def _data(view: View, pairs: Mapping[str, str]) -> pd.DataFrame:
    """A line a pair of cells of a table: its network, setting, and both reductions in percent."""
    keys, lines = Keys(view.paper), []
    for name, table in view.paper.tables.items():
        rows = [row for row in table.rows if row.metric == METRIC]
        if (view.tables and name not in view.tables) or not rows:
            continue
        frame = tables.measure(view.plan, view.paper.name, rows)
        measured = frame[frame.selection == "best_val"].measured
        of = {
            (_setting(keys, row), row.column): (row, value)
            for row, value in zip(rows, measured, strict=True)
            if not row.reported.excluded
        }
        for (label, column), (row, value) in of.items():
            if column in pairs and (label, pairs[column]) in of:
                sam, with_sam = of[label, pairs[column]]
                printed = _reduction(row.reported.value, sam.reported.value)
                line = f"{name}: {row.keys.get('model') or column}"
                lines.append((name, line, label, printed, _reduction(value, with_sam)))
    return pd.DataFrame(lines, columns=["table", "line", "setting", "printed", "measured"])


def _setting(keys: Keys, row: Row) -> str:
    """What a row's columns say beside its method: the same for SAM as for the training without."""
    told = []
    for column in keys.columns:
        entry = keys.paper.about.keys.get(column, {}).get(row.keys.get(column, ""), column)
        if not _METHOD & set(entry if isinstance(entry, Mapping) else [column]):
            told.append(keys.label(row, [column]))
    told += [f"{k} {v}" for k, v in keys.departures(row).items() if k not in _METHOD]
    return " ".join(filter(None, told))


def _reduction(without: float, with_sam: float) -> float:
    return 100 * (without - with_sam) / without


def _caption(view: View, data: pd.DataFrame) -> str:
    planned = [row for row in view.rows if row.cell and row.metric == METRIC]
    held = data.printed.dropna()
    when = selection.when(planned[0].spec) if planned else ""
    return (
        f"Hollow: of the printed errors, {held.min():.0f} to {held.max():.0f} %, median "
        f"{held.median():.0f} %, a point a data set and augmentation. Filled: of the mean errors "
        f"measured {when}".rstrip()
        + ", settings that are one run in this profile once; without an interval, which the claims "
        "have. A tenth of a small error is few images. "
        + scope.brief(view.plan, view.paper.name, planned)
    )
