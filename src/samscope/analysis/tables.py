"""Tables: every printed number of a paper beside the one measured, tidy and as printed."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from samscope.analysis import agreement, exports, results
from samscope.analysis.layout import arrange
from samscope.analysis.stats import mean_interval
from samscope.plan.papers import Plan, Row

COLUMNS = (
    "model", "data", "column", "variant", "rho", "condition", "settings", "metric", "selection",
    "reported", "measured", "ci_low", "ci_high", "seeds", "status", "reason", "cell",
    "tolerance", "p_agreement", "agreement", "against", "reported_difference",
    "difference", "difference_low", "difference_high", "p_difference",
)  # fmt: skip
MEASURED = COLUMNS[: COLUMNS.index("tolerance")]


def build(plan: Plan, paper: str, table: str) -> pd.DataFrame:
    """A table with a line for every printed (or open) number and selection, columns `COLUMNS`.

    ``status`` is ``measured``, ``not run``, or ``excluded``: the printed number must not be
    compared, ``reason`` says why, and the measured one stands beside it where there is one. The
    paper's number stands beside the best-validation epoch only, which is what it tabulates.

    Raises:
        InputError: for a truncated or malformed record.
    """
    rows = plan.papers[paper].tables[table].rows
    values = _values(plan, rows)
    frame = _measured(rows, values)
    found = agreement.levels(plan, paper, rows, values)
    gaps = [agreement.differences(rows, values, selection) for selection in results.SELECTIONS]
    # The lines of a row follow each other, one for each selection.
    for i, gap in enumerate(gaps):
        gap.index = gap.index * len(gaps) + i
    gaps[1]["reported_difference"] = math.nan
    found.index *= len(gaps)
    frame = frame.join(found).join(pd.concat(gaps)).fillna({"agreement": ""})
    return frame[list(COLUMNS)]


def measure(plan: Plan, rows: Iterable[Row]) -> pd.DataFrame:
    """The lines of `build` for any rows, two for each, without the comparisons: `MEASURED`."""
    rows = list(rows)
    return _measured(rows, _values(plan, rows))


def _measured(rows: Sequence[Row], values: agreement.Values) -> pd.DataFrame:
    lines = [_line(row, s, values) for row in rows for s in results.SELECTIONS]
    return pd.DataFrame(lines, columns=list(MEASURED))


def _values(plan: Plan, rows: Iterable[Row]) -> agreement.Values:
    """By cell, metric and selection: a value a seed, of the metrics the rows name."""
    frame = results.metrics(plan, [row.cell for row in rows if row.cell])
    frame = frame[frame.metric.isin({row.metric for row in rows})].set_index("seed")
    return dict(iter(frame.groupby(["cell", "metric", "selection"]).value))


def _line(row: Row, selection: str, known: agreement.Values) -> tuple:
    values = known.get((row.cell, row.metric, selection), pd.Series(dtype=float))
    interval = mean_interval(values)
    compared = selection == "best_val"
    status = "measured" if interval.n else "not run"
    reason = row.reason or "no result yet"
    if interval.n:
        reason = _incomplete(row, values)
    if compared and row.excluded:
        status, reason = "excluded", row.excluded
    reported = row.reported if compared and row.reported is not None else math.nan
    return (
        row.model, row.data, row.column, row.variant, row.rho, row.condition, row.settings,
        row.metric, selection, reported, interval.mean, interval.low, interval.high, interval.n,
        status, reason, row.cell or "",
    )  # fmt: skip


def _incomplete(row: Row, values: pd.Series) -> str:
    """What a measured mean lacks, or ""."""
    n, lost = len(values), int(values.isna().sum())
    if lost:
        return f"not finite in {lost} of {n} seeds"
    if n < len(row.seeds):
        return f"{n} of {len(row.seeds)} seeds"
    return "one seed, no interval" if n == 1 else ""


def write(plan: Plan, paper: str, table: str, out_dir: Path) -> None:
    """Write ``<table>.csv``, ``.md`` and ``.tex``; the same records give the same bytes."""
    frame = build(plan, paper, table)
    laid = arrange(plan, paper, table, frame)
    results.put(out_dir / f"{table}.csv", frame.to_csv(index=False, lineterminator="\n"))
    results.put(out_dir / f"{table}.md", exports.markdown(plan, paper, table, laid))
    results.put(out_dir / f"{table}.tex", exports.latex(plan, paper, table, laid))
