"""A table as the paper sets it: its rows and columns, reported and measured in every cell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from samscope.analysis import choice
from samscope.analysis.agreement import has_spread, ranks
from samscope.analysis.keys import Keys
from samscope.analysis.stats import LEVEL, Ranks
from samscope.metrics import METRICS
from samscope.plan.types import Plan, Row


@dataclass(frozen=True)
class Number:
    """One metric of a printed cell and what stands beside it.

    Attributes:
        row: the printed number.
        lines: by selection, its line of `samscope.analysis.tables.build`.
    """

    row: Row
    lines: Mapping[str, Any]

    @property
    def digits(self) -> int:
        """Decimals it is shown with."""
        return METRICS[self.row.metric].digits

    @property
    def title(self) -> str:
        """Its metric in words."""
        return METRICS[self.row.metric].title

    @property
    def agreement(self) -> str:
        """One of `samscope.analysis.agreement.AGREEMENTS`, or "" where nothing is compared."""
        return self.lines["best_val"].agreement

    @property
    def factors(self) -> bool:
        """Whether its runs differ by factors."""
        return METRICS[self.row.metric].factors

    def measured(self, selection: str) -> str:
        """``85.32 ± 1.20``, ``62.1 [31.2, 124]``, ``not run``, or why it is no number."""
        line = self.lines[selection]
        if math.isnan(line.measured):
            return line.reason if line.seeds else "not run"
        if self.factors:
            return between(line.measured, line.ci_low, line.ci_high)
        return _plus_minus(line.measured, line.ci_high - line.measured, f".{self.digits}f")

    def difference(self, selection: str) -> str:
        """``+1.30 ± 0.40``: minus the table's first column, or over it; "" where there is none."""
        line = self.lines[selection]
        if math.isnan(line.difference):
            return ""
        if self.factors:
            return f"×{between(line.difference, line.difference_low, line.difference_high)}"
        half = line.difference_high - line.difference
        return _plus_minus(line.difference, half, f"+.{self.digits}f")

    @property
    def printed_difference(self) -> str:
        """The same of the printed numbers; "" where there is none."""
        gap = self.lines["best_val"].reported_difference
        if math.isnan(gap):
            return ""
        return f"×{_short(gap)}" if self.factors else f"{gap:+.{self.digits}f}"

    def side(self, selection: str) -> int:
        """1 where that difference is above 0 after Holm's correction, -1 below, 0 undecided.

        A ratio: above and below 1.
        """
        line = self.lines[selection]
        decided = line.p_difference <= 1 - LEVEL
        away = METRICS[self.row.metric].scaled(line.difference)
        return int(math.copysign(1, away)) if decided else 0


@dataclass(frozen=True)
class Entry:
    """One cell of a printed table.

    Attributes:
        numbers: one a metric, in the order of `samscope.metrics.METRICS`.
        printed: as printed, ``78.60 (0.7787)``; ``??`` where the paper left it open, "" where it
            printed no number of the table.
        measured: ``85.32 ± 1.20`` for each metric, none where nothing was measured.
        seeds: number of runs behind it.
        status: see `samscope.analysis.tables.build`.
        new: measured, and open in a table of which the paper printed others.
        reason: why excluded, why not run, or what is incomplete.
    """

    numbers: tuple[Number, ...]
    printed: str
    measured: tuple[str, ...]
    seeds: int
    status: str
    new: bool
    reason: str

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its row of each metric."""
        return tuple(number.row for number in self.numbers)


@dataclass(frozen=True)
class Layout:
    """A printed table: heading of the row labels, its columns, and for each label its entries.

    ``ranks`` says how printed and measured numbers agree in order, by label and metric; the label
    of the whole table is "".
    """

    corner: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Entry | None, ...]]
    ranks: dict[tuple[str, str], Ranks]

    @cached_property
    def entries(self) -> list[Entry]:
        """All that the paper has a cell for."""
        return [e for row in self.rows.values() for e in row if e]

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the table, in the order of `samscope.metrics.METRICS`."""
        found = {row.metric for entry in self.entries for row in entry.rows}
        return tuple(metric for metric in METRICS if metric in found)

    @property
    def factors(self) -> bool:
        """Whether runs differ by factors in one of them."""
        return any(METRICS[metric].factors for metric in self.metrics)

    @property
    def printed(self) -> bool:
        """Whether the paper printed any number of it."""
        return any(entry.printed for entry in self.entries)

    @property
    def spread(self) -> bool:
        """Whether a printed number of it is compared by the spread that is printed with it."""
        numbers = [number for entry in self.entries for number in entry.numbers]
        return any(number.agreement and has_spread(number.row.reported) for number in numbers)

    @property
    def single(self) -> bool:
        """Whether one is compared that is of one run, or prints no spread."""
        numbers = [number for entry in self.entries for number in entry.numbers]
        return any(number.agreement and not has_spread(number.row.reported) for number in numbers)

    @property
    def chosen(self) -> bool:
        """Whether a number of it stands for the better of several cells."""
        return any(len(row.cells) > 1 for entry in self.entries for row in entry.rows)

    @property
    def notes(self) -> list[str]:
        """Reasons of the excluded entries, each once, in order: the footnotes."""
        return list(dict.fromkeys(e.reason for e in self.entries if e.status == "excluded"))


def arrange(plan: Plan, paper: str, table: str, frame: pd.DataFrame) -> Layout:
    """Lay out a table as printed.

    Args:
        plan: of the profile.
        paper: name.
        table: id.
        frame: from `samscope.analysis.tables.build`.
    """
    rows = choice.settled(plan, plan.papers[paper].tables[table].rows)
    keys = Keys(plan.papers[paper])
    names = keys.apart(rows)
    labels = [keys.label(row, names) for row in rows]
    by_selection = [
        list(frame[frame.selection == selection].itertuples())
        for selection in frame.selection.unique()
    ]
    groups: dict[str, dict[str, list[Number]]] = {}
    for label, row, *lines in zip(labels, rows, *by_selection, strict=True):
        number = Number(row, {line.selection: line for line in lines})
        groups.setdefault(label, {}).setdefault(row.column, []).append(number)
    columns = tuple(dict.fromkeys(row.column for row in rows))
    gap = "??" if any(row.reported.printed for row in rows) else ""
    laid = {
        label: tuple(_entry(cells[c], gap) if c in cells else None for c in columns)
        for label, cells in groups.items()
    }
    return Layout(" ".join(names), columns, laid, _ranks(labels, by_selection[0]))


def _ranks(labels: list[str], lines: list[Any]) -> dict[tuple[str, str], Ranks]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for label, line in zip(labels, lines, strict=True):
        groups.setdefault(("", line.metric), []).append(line)
        groups.setdefault((label, line.metric), []).append(line)
    metrics = dict.fromkeys(metric for _, metric in groups)
    empty: dict[tuple[str, str], list[Any]] = {
        (label, metric): [] for label in dict.fromkeys(labels) for metric in metrics
    }
    return {key: ranks(group) for key, group in (empty | groups).items()}


def _entry(numbers: list[Number], gap: str) -> Entry:
    """The entry of a printed cell from its numbers; ``gap`` for an open one."""
    numbers = sorted(numbers, key=lambda number: list(METRICS).index(number.row.metric))
    lines = [number.lines["best_val"] for number in numbers]
    printed = [number.row.reported.printed for number in numbers]
    seeds = max(line.seeds for line in lines)
    statuses = [line.status for line in lines]
    status = next(s for s in ("excluded", "measured", "not run") if s in statuses)
    reasons = dict.fromkeys(li.reason for li in lines if li.status == status and li.reason)
    return Entry(
        numbers=tuple(numbers),
        printed=bracketed([p or ("" if i else gap) for i, p in enumerate(printed)]),
        measured=tuple(number.measured("best_val") for number in numbers) if seeds else (),
        seeds=seeds,
        status=status,
        new=bool(seeds and gap and not printed[0]),
        reason="; ".join(reasons),
    )


def bracketed(parts: list[str]) -> str:
    """``accuracy (loss)``, as the studies print it; what is missing in brackets is left out."""
    return " ".join(p if i == 0 else f"({p})" for i, p in enumerate(parts) if p or i == 0)


def between(mean: float, low: float, high: float) -> str:
    """A mean and its interval, ``62.1 [31.2, 124]``; the mean alone without one."""
    return _short(mean) if math.isnan(low) else f"{_short(mean)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    """Three digits, and all before the point.

    >>> _short(999.9999), _short(0.12345)
    ('1000', '0.123')
    """
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _plus_minus(mean: float, half: float, style: str) -> str:
    shown = f"{mean:{style}}"
    return shown if math.isnan(half) else f"{shown} ± {half:{style.replace('+', '')}}"
