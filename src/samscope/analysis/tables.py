"""Tables: every printed number of a paper beside the one measured, tidy and as printed."""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from samscope.analysis import results
from samscope.analysis.layout import markdown
from samscope.analysis.stats import mean_interval
from samscope.papers import Plan, Row

COLUMNS = (
    "model", "data", "column", "variant", "rho", "condition", "settings", "metric", "selection",
    "reported", "measured", "ci_low", "ci_high", "seeds", "status", "reason", "cell",
)  # fmt: skip


def build(plan: Plan, paper: str, table: str) -> pd.DataFrame:
    """A table with a line for every printed (or open) number and selection, columns `COLUMNS`.

    ``status`` is ``measured``, ``not run``, or ``excluded``: the printed number must not be
    compared, ``reason`` says why, and the measured one stands beside it where there is one. The
    paper's number stands beside the best-validation epoch only, which is what it tabulates.

    Raises:
        InputError: for a truncated or malformed record.
    """
    return measure(plan, plan.papers[paper].tables[table].rows)


def measure(plan: Plan, rows: Iterable[Row]) -> pd.DataFrame:
    """The lines of `build` for any rows, two for each: best_val and last."""
    rows = list(rows)
    frame = results.metrics(plan, [row.cell for row in rows if row.cell])
    values = {key: group.value for key, group in frame.groupby(["cell", "metric", "selection"])}
    empty = pd.Series(dtype=float)
    lines = [
        _line(row, selection, values.get((row.cell, row.metric, selection), empty))
        for row in rows
        for selection in results.SELECTIONS
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _line(row: Row, selection: str, values: pd.Series) -> tuple:
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
    """Write ``<table>.csv`` and ``<table>.md``; the same records give the same bytes."""
    frame = build(plan, paper, table)
    results.put(out_dir / f"{table}.csv", frame.to_csv(index=False, lineterminator="\n"))
    results.put(out_dir / f"{table}.md", markdown(plan, paper, table, frame))
