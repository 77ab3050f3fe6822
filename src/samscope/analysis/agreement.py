"""How the measured numbers of a table agree with the printed ones, and differ among themselves.

A printed number without an uncertainty is one run. It agrees where it lies within the tolerance:
the 95 % prediction interval for one further run of ours, from the spread between seeds. It differs
where it lies outside after Holm's correction over the table, and is unclear in between. Levels are
compared only where the paper's own model, data and protocol were run; orders are compared always.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from samscope.analysis import scope
from samscope.analysis.stats import (
    LEVEL,
    Ranks,
    holm,
    mean_interval,
    paired_interval,
    rank_agreement,
    spreads,
)
from samscope.plan.papers import Plan, Row

AGREEMENTS = ("agrees", "unclear", "differs")
KEYS = ("model", "data", "rho", "settings")
"""Fields that tell the rows of a printed table apart; the rest tells its columns apart."""

Values = Mapping[tuple[str | None, str, str], pd.Series]
"""By cell, metric and selection: one value a seed, indexed by it."""

_NONE = pd.Series(dtype=float)


def levels(plan: Plan, paper: str, rows: Sequence[Row], values: Values) -> pd.DataFrame:
    """Printed against measured, one line a row: tolerance, p_agreement (Holm), agreement.

    ``agreement`` is one of `AGREEMENTS`, or "" where nothing is compared: no printed number, an
    excluded one, a stand-in, nothing measured, or no cell of the table with two seeds.
    """
    found = {}
    for kind in dict.fromkeys((row.model, row.data, row.metric) for row in rows):
        same = [row for row in rows if (row.model, row.data, row.metric) == kind]
        if not scope.unlike(plan, paper, same[0]):
            found |= _tested(same, values)
    p = _corrected({key: (key[1], tested[1]) for key, tested in found.items()})
    lines = []
    for row in rows:
        tolerance, _, gap = found.get(_printed_cell(row), (math.nan, math.nan, math.nan))
        adjusted = p.get(_printed_cell(row), math.nan)
        lines.append((tolerance, adjusted, _agreement(tolerance, adjusted, gap)))
    return pd.DataFrame(lines, columns=["tolerance", "p_agreement", "agreement"])


def _tested(rows: list[Row], values: Values) -> dict[tuple, tuple[float, float, float]]:
    """Tolerance, p and gap of each printed number; rows are of one model, data set and metric."""
    cells = list(dict.fromkeys(row.cell for row in rows if row.cell))
    of = {cell: values.get((cell, rows[0].metric, "best_val"), _NONE) for cell in cells}
    spread = dict(zip(cells, spreads([list(v) for v in of.values()]), strict=True))
    tested = {}
    for row in rows:
        measured = mean_interval(of.get(row.cell, _NONE))
        if row.reported is None or row.excluded or math.isnan(measured.mean):
            continue
        gap = row.reported - measured.mean
        scatter = spread[row.cell]
        found = scatter.tolerance(measured.n), scatter.p(gap, measured.n), gap
        tested[_printed_cell(row)] = found
    return tested


def _printed_cell(row: Row) -> tuple:
    """SGD's one run stands in every row of a table: it is compared once."""
    return row.cell, row.metric, row.reported if not row.excluded else row.excluded


def _corrected(tested: Mapping[tuple, tuple[object, float]]) -> dict[tuple, float]:
    """Holm's adjusted p-values, by family (the first of each pair)."""
    adjusted = {}
    for family in dict.fromkeys(f for f, _ in tested.values()):
        keys = [key for key, (f, _) in tested.items() if f == family]
        adjusted |= dict(zip(keys, holm([tested[key][1] for key in keys]), strict=True))
    return adjusted


def _agreement(tolerance: float, p: float, gap: float) -> str:
    if math.isnan(tolerance):
        return ""
    if abs(gap) <= tolerance:
        return "agrees"
    return "differs" if p <= 1 - LEVEL else "unclear"


def differences(rows: Sequence[Row], values: Values, selection: str) -> pd.DataFrame:
    """Each number minus that of the table's first column, paired over seeds, one line a row.

    Columns against (the name of that column), reported_difference, difference, difference_low,
    difference_high, p_difference (Holm over the differences of a metric).
    """
    first = rows[0].column if rows else ""
    references = {_row_key(row): row for row in rows if row.column == first}
    pairs = [(row, references.get(_row_key(row))) for row in rows]
    gaps = {}
    for row, other in pairs:
        if other is None or None in (row.cell, other.cell) or row.cell == other.cell:
            continue
        ours, theirs = (values.get((r.cell, r.metric, selection), _NONE) for r in (row, other))
        gaps[row.cell, other.cell, row.metric] = paired_interval(ours, theirs)
    p = _corrected({key: (key[2], gap.p) for key, gap in gaps.items()})
    lines = []
    for row, other in pairs:
        key = (row.cell, other and other.cell, row.metric)
        gap = gaps.get(key, mean_interval([]))
        against = first if other is not None and other is not row else ""
        printed = _printed_gap(row, other) if against else math.nan
        lines.append((against, printed, gap.mean, gap.low, gap.high, p.get(key, math.nan)))
    columns = ["difference", "difference_low", "difference_high", "p_difference"]
    return pd.DataFrame(lines, columns=["against", "reported_difference", *columns])


def _row_key(row: Row) -> tuple:
    return (row.metric, *(getattr(row, key) for key in KEYS))


def _printed_gap(row: Row, other: Row | None) -> float:
    if other is None or None in (row.reported, other.reported) or row.excluded or other.excluded:
        return math.nan
    return row.reported - other.reported


def ranks(lines: Iterable[Any]) -> Ranks:
    """Whether printed and measured numbers of one metric are in the same order.

    Args:
        lines: of `samscope.analysis.tables.build`, as tuples; those that are not measured, are
            excluded, or repeat a cell do not count, and the best-validation epoch does.
    """
    known = {
        (line.cell, line.reported): line.measured
        for line in lines
        if line.selection == "best_val" and line.status == "measured"
    }
    return rank_agreement([reported for _, reported in known], list(known.values()))
