"""Which of several cells stands for a printed number, where a paper printed the better of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from samscope.analysis import results
from samscope.metrics import METRICS
from samscope.plan.types import Plan, Row
from samscope.spec import Cell


def settled(plan: Plan, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows, in those of several cells the one first that stands for the number.

    That is the one with the best mean of the metric by which the best epoch is chosen too, or,
    without validation, of the first metric that is printed of the same cells. Where one has no
    result yet nothing is chosen, and it stands for the number as not run.
    """
    rows = tuple(rows)
    if all(len(row.cells) < 2 for row in rows):
        return rows
    return tuple(_settled(plan, row, _by(row, rows)) if len(row.cells) > 1 else row for row in rows)


def told(row: Row) -> str:
    """How the cell of a row was chosen, in words; "" where it has but one."""
    if len(row.cells) < 2:
        return ""
    by = METRICS[_validated(row) or row.metric].title
    return f"the best of {len(row.cells)} cells by {by}"


def _by(row: Row, rows: Sequence[Row]) -> str:
    """Name of the metric by which a row's cell is chosen."""
    same = [other.metric for other in rows if other.cells == row.cells]
    return _validated(row) or next(name for name in METRICS if name in same)


def _validated(row: Row) -> str:
    """The metric by which the best epoch of a row's cells is chosen; "" without validation."""
    if not isinstance(row.spec, Cell) or not row.spec.task.val_size:
        return ""
    scores = row.spec.task.kind.scores
    return f"val_{scores[0]}" if scores else "val_loss"


def _settled(plan: Plan, row: Row, by: str) -> Row:
    frame = results.metrics(plan, row.cells, [by])
    frame = frame[frame.selection == "best_val"]
    # A mean over seeds of which one is lost says less than none that is whole.
    means = frame.groupby("cell").value.agg(lambda values: values.mean(skipna=False)).dropna()
    ranked = means.sort_values(ascending=METRICS[by].better < 0, kind="stable").index
    # Among some that are not run there is no best one yet: those come first.
    lacking = [cell for cell in row.cells if cell not in {*frame.cell}]
    cells = tuple(dict.fromkeys([*lacking, *ranked, *row.cells]))
    return replace(row, cells=cells, seeds=plan.specs[cells[0]].seeds)
