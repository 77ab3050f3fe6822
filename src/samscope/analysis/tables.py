"""Tables: every printed number of a paper beside the one measured, tidy and as printed."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from samscope.analysis import agreement, choice, exports, results
from samscope.analysis.keys import SETTINGS, Keys
from samscope.analysis.layout import arrange
from samscope.analysis.stats import mean_interval
from samscope.metrics import METRICS
from samscope.plan.types import Paper, Plan, Row

COMPARED = (
    *("tolerance", "p_agreement", "agreement", "against", "reported_difference"),
    *("difference", "difference_low", "difference_high", "p_difference"),
)
MEASURED = (
    *("metric", "selection", "reported", "measured", "ci_low", "ci_high", "seeds", "status"),
    *("reason", "cell"),
)


def columns(paper: Paper) -> tuple[str, ...]:
    """Of the lines of a paper's tables: its key columns by its own names, then ours."""
    keys = Keys(paper)
    after = [name for name in keys.columns if name not in keys.before]
    return (*keys.before, "column", *after, SETTINGS, *MEASURED, *COMPARED)


def build(plan: Plan, paper: str, table: str) -> pd.DataFrame:
    """A table with a line for every printed (or open) number and selection, columns `columns`.

    ``status`` is ``measured``, ``not run``, or ``excluded``: the printed number must not be
    compared, ``reason`` says why, and the measured one stands beside it where there is one. The
    paper's number stands beside the best-validation epoch only, which is what it tabulates.

    Raises:
        InputError: for a truncated or malformed record.
    """
    about = plan.papers[paper]
    rows = choice.settled(plan, about.tables[table].rows)
    values = _values(plan, rows)
    frame = _measured(about, rows, values)
    found = agreement.levels(plan, paper, rows, values)
    gaps = [agreement.differences(about, rows, values, s) for s in results.SELECTIONS]
    # The lines of a row follow each other, one for each selection.
    for i, gap in enumerate(gaps):
        gap.index = gap.index * len(gaps) + i
    gaps[1]["reported_difference"] = math.nan
    found.index *= len(gaps)
    frame = frame.join(found).join(pd.concat(gaps)).fillna({"agreement": ""})
    return frame[list(columns(about))]


def measure(plan: Plan, paper: str, rows: Iterable[Row]) -> pd.DataFrame:
    """The lines of `build` for any rows of a paper, two for each, without the comparisons."""
    rows = choice.settled(plan, rows)
    return _measured(plan.papers[paper], rows, _values(plan, rows))


def _measured(paper: Paper, rows: Sequence[Row], values: agreement.Values) -> pd.DataFrame:
    keys = Keys(paper)
    lines = [
        {**keys.values(row), "column": row.column, **_line(row, selection, values)}
        for row in rows
        for selection in results.SELECTIONS
    ]
    names = [name for name in columns(paper) if name not in COMPARED]
    return pd.DataFrame(lines, columns=names)


def _values(plan: Plan, rows: Iterable[Row]) -> agreement.Values:
    """By cell, metric and selection: a value a seed, of the metrics the rows name."""
    rows = list(rows)
    names = {row.metric for row in rows}
    frame = results.metrics(plan, [row.cell for row in rows if row.cell], names).set_index("seed")
    return dict(iter(frame.groupby(["cell", "metric", "selection"]).value))


def _line(row: Row, selection: str, known: agreement.Values) -> dict[str, Any]:
    values = known.get((row.cell, row.metric, selection), pd.Series(dtype=float))
    metric = METRICS[row.metric]
    interval = mean_interval(values.map(metric.scaled))
    mean, low, high = map(metric.unscaled, (interval.mean, interval.low, interval.high))
    compared, printed = selection == "best_val", row.reported
    status = "measured" if interval.n else "not run"
    reason = row.reason or "no result yet"
    if interval.n:
        reason = "; ".join(filter(None, (choice.told(row), _incomplete(row, values))))
    if compared and printed.excluded:
        status, reason = "excluded", printed.excluded
    return {
        "metric": row.metric, "selection": selection,
        "reported": printed.value if compared else math.nan,
        "measured": mean, "ci_low": low, "ci_high": high,
        "seeds": interval.n, "status": status, "reason": reason, "cell": row.cell or "",
    }  # fmt: skip


def _incomplete(row: Row, values: pd.Series) -> str:
    """What a measured mean lacks, or ""."""
    n, lost = len(values), int(values.isna().sum())
    if lost:
        return f"not finite in {lost} of {n} seeds"
    if METRICS[row.metric].factors and not (values > 0).all():
        return f"not above 0 in {(values <= 0).sum()} of {n} seeds"
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
