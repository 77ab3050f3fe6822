"""A table as the paper sets it: its rows and columns, reported and measured in every cell."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from samscope.analysis import scope
from samscope.papers import Plan, Row

DECIMALS = {"test_acc_percent": 2, "test_loss": 3}
KEYS = ("model", "data", "rho", "settings")


@dataclass(frozen=True)
class Entry:
    """One cell of a printed table.

    Attributes:
        rows: its row of each metric, accuracy first.
        printed: as printed, ``78.60 (0.7787)``; ``??`` where the paper left it open.
        measured: ``85.32 ± 1.20`` for each metric, none where nothing was measured.
        seeds: number of runs behind it.
        status: see `samscope.analysis.tables.build`.
        new: measured, and open in the paper.
        reason: why excluded, why not run, or what is incomplete.
    """

    rows: tuple[Row, ...]
    printed: str
    measured: tuple[str, ...]
    seeds: int
    status: str
    new: bool
    reason: str


@dataclass(frozen=True)
class Layout:
    """A printed table: heading of the row labels, its columns, and for each label its entries."""

    corner: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Entry | None, ...]]

    @property
    def notes(self) -> list[str]:
        """Reasons of the excluded entries, each once, in order: the footnotes."""
        entries = [e for row in self.rows.values() for e in row if e]
        return list(dict.fromkeys(e.reason for e in entries if e.status == "excluded"))


def arrange(plan: Plan, paper: str, table: str, frame: pd.DataFrame) -> Layout:
    """Lay out a table as printed.

    Args:
        plan: of the profile.
        paper: name.
        table: id.
        frame: from `samscope.analysis.tables.build`.
    """
    rows = plan.papers[paper].tables[table].rows
    best = frame[frame.selection == "best_val"]
    keys = [k for k in KEYS if len({getattr(row, k) for row in rows}) > 1] or ["rho"]
    groups: dict[str, dict[str, list[tuple]]] = {}
    for row, line in zip(rows, best.itertuples(), strict=True):
        label = " ".join(_label(getattr(row, k)) for k in keys)
        groups.setdefault(label, {}).setdefault(row.column, []).append((row, line))
    columns = tuple(dict.fromkeys(row.column for row in rows))
    laid = {
        label: tuple(_entry(cells[c]) if c in cells else None for c in columns)
        for label, cells in groups.items()
    }
    return Layout(" ".join(keys), columns, laid)


def _label(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _entry(pairs: list[tuple]) -> Entry:
    """The entry of a printed cell from its rows (accuracy, loss) and their measured lines."""
    pairs = sorted(pairs, key=lambda pair: list(DECIMALS).index(pair[0].metric))
    rows, lines = zip(*pairs, strict=True)
    printed = [row.printed for row in rows]
    seeds = max(line.seeds for line in lines)
    reasons = dict.fromkeys(line.reason for line in lines if line.reason)
    statuses = [line.status for line in lines]
    status = next(s for s in ("excluded", "measured", "not run") if s in statuses)
    return Entry(
        rows=rows,
        printed=_bracket([p or ("??" if i == 0 else "") for i, p in enumerate(printed)]),
        measured=tuple(_measured(line) for line in lines) if seeds else (),
        seeds=seeds,
        status=status,
        new=bool(seeds) and not printed[0],
        reason="; ".join(reasons),
    )


def _bracket(parts: Iterable[str]) -> str:
    """``accuracy (loss)``, as the studies print it; a missing loss is left out."""
    return " ".join(p if i == 0 else f"({p})" for i, p in enumerate(parts) if p or i == 0)


def _measured(line: tuple) -> str:
    digits = DECIMALS[line.metric]
    if math.isnan(line.measured):
        return line.reason if line.seeds else "not run"
    half = "" if math.isnan(line.ci_high) else f" ± {line.ci_high - line.measured:.{digits}f}"
    return f"{line.measured:.{digits}f}{half}"


def markdown(plan: Plan, paper: str, table: str, frame: pd.DataFrame) -> str:
    """The page of a table: its question, what was trained, the table, its footnotes."""
    source = plan.papers[paper].tables[table]
    laid = arrange(plan, paper, table, frame)
    marks = {reason: chr(ord("a") + i) for i, reason in enumerate(laid.notes)}
    head = [f"# {table}: {source.title}", f"> {source.question}"]
    head.append(scope.setting(plan, paper, source.rows))
    head += scope.thinned(source.rows)
    lines = [
        f"| {laid.corner} | {' | '.join(laid.columns)} |",
        f"| --- |{' --- |' * len(laid.columns)}",
    ]
    for label, entries in laid.rows.items():
        lines.append(f"| {label} | {' | '.join(_cell(e, marks) for e in entries)} |")
    notes = [f"<sup>{mark}</sup> Not compared: {reason}." for reason, mark in marks.items()]
    return "\n\n".join([*head, "\n".join(lines), LEGEND, *notes]) + "\n"


LEGEND = (
    "In each cell: the printed test accuracy in percent (and test loss) / the measured mean ± half "
    "the 95 % t-interval over n seeds, at the epoch of best validation accuracy. *new*: the paper "
    "left the cell open (??)."
)


def _cell(entry: Entry | None, marks: dict[str, str]) -> str:
    if entry is None:
        return ""
    note = f"<sup>{marks[entry.reason]}</sup>" if entry.status == "excluded" else ""
    if not entry.measured:
        return f"{entry.printed}{note} /<br>not run"
    new = " *new*" if entry.new else ""
    return f"{entry.printed}{note} /<br>**{_bracket(entry.measured)}**, n={entry.seeds}{new}"
