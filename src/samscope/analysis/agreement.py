"""How the measured numbers of a table agree with the printed ones, and differ among themselves.

All on the scale of `samscope.metrics.Metric.scaled`: of what differs by factors, what is called
minus is a ratio, and a tolerance is a factor either way.

A printed number without an uncertainty is one run. It agrees where it lies within the tolerance:
the 95 % prediction interval for one further run of ours, from the spread between seeds. One of
several runs with a printed spread is a mean: it agrees where the 95 % interval of the difference of
the two means holds 0 (Welch, Biometrika 34, 1947). Either differs where it lies outside after
Holm's correction over the table, and is unclear in between. Levels are compared only where the
paper's own model, data and protocol were run; orders are compared always.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.stats import t as student

from samscope.analysis import scope
from samscope.analysis.keys import Keys
from samscope.analysis.stats import (
    LEVEL,
    Ranks,
    Spread,
    holm,
    mean_interval,
    paired_interval,
    quantile,
    rank_agreement,
    spreads,
)
from samscope.config.reported import Reported
from samscope.metrics import METRICS
from samscope.plan.types import Paper, Plan, Row

AGREEMENTS = ("agrees", "unclear", "differs")

Values = Mapping[tuple[str | None, str, str], pd.Series]
"""By cell, metric and selection: one value a seed, indexed by it."""

_NONE = pd.Series(dtype=float)


def levels(plan: Plan, paper: str, rows: Sequence[Row], values: Values) -> pd.DataFrame:
    """Printed against measured, one line a row: tolerance, p_agreement (Holm), agreement.

    ``agreement`` is one of `AGREEMENTS`, or "" where nothing is compared: no printed number, an
    excluded one, a stand-in, nothing measured, or no cell of the table with two seeds.
    """
    found: dict[tuple, tuple[float, float, float]] = {}
    alike = [row for row in rows if not scope.unlike(plan, paper, row)]
    for kind in dict.fromkeys(map(_pool, alike)):
        found |= _tested([row for row in alike if _pool(row) == kind], values)
    p = _corrected({key: (key[1], tested[1]) for key, tested in found.items()})
    lines = []
    for row in rows:
        tolerance, _, gap = found.get(_printed_cell(row), (math.nan, math.nan, math.nan))
        adjusted = p.get(_printed_cell(row), math.nan)
        shown = METRICS[row.metric].unscaled(tolerance)
        lines.append((shown, adjusted, _agreement(tolerance, adjusted, gap)))
    return pd.DataFrame(lines, columns=["tolerance", "p_agreement", "agreement"])


def _pool(row: Row) -> tuple:
    """Rows whose cells' spreads between seeds are of one size: of a model, a data set, a metric."""
    flat = row.spec.to_dict()
    return flat.get("model"), flat.get("data"), row.metric


def _tested(rows: list[Row], values: Values) -> dict[tuple, tuple[float, float, float]]:
    """Tolerance, p and gap of each printed number; rows are of one model, data set and metric."""
    cells = list(dict.fromkeys(row.cell for row in rows if row.cell))
    metric = METRICS[rows[0].metric]
    of = {cell: scaled(values, cell, rows[0].metric, "best_val") for cell in cells}
    spread = dict(zip(cells, spreads([list(v) for v in of.values()]), strict=True))
    tested = {}
    for row in rows:
        if row.cell is None:
            continue
        measured = mean_interval(of.get(row.cell, _NONE))
        gap, n = metric.scaled(row.reported.value) - measured.mean, measured.n
        if row.reported.excluded or math.isnan(gap):
            continue
        scatter = spread[row.cell]
        if has_spread(row.reported):
            # a small spread of a number is, of its logarithm, one relative to it
            of_one = row.reported.value if metric.factors else 1.0
            theirs = Spread(row.reported.deviation / of_one, row.reported.runs - 1)
            tolerance, p = welch(gap, theirs, scatter, n)
        else:
            tolerance, p = scatter.tolerance(n), scatter.p(gap, n)
        tested[_printed_cell(row)] = tolerance, p, gap
    return tested


def has_spread(reported: Reported) -> bool:
    """Whether a printed number is a mean of several runs, and says how far those scatter."""
    return reported.runs > 1 and math.isfinite(reported.deviation)


def scaled(values: Values, cell: str | None, metric: str, selection: str) -> pd.Series:
    """The values of a cell by seed, on the scale that its runs scatter on."""
    return values.get((cell, metric, selection), _NONE).map(METRICS[metric].scaled)


def welch(gap: float, printed: Spread, scatter: Spread, n: int) -> tuple[float, float]:
    """Half the 95 % interval of a difference of two means, and the two-sided p-value of none.

    With variances s1^2/n1 and s2^2/n2 of the means, the standard error is the root of their sum,
    and of its degrees of freedom there are (s1^2/n1 + s2^2/n2)^2 / ((s1^2/n1)^2/df1 +
    (s2^2/n2)^2/df2).

    Args:
        gap: between the means.
        printed: of the runs behind the one, one more than its degrees of freedom.
        scatter: of single runs of ours; NaN where it is not known, for both.
        n: runs of ours.
    """
    if not scatter.sd > 0:
        return math.nan, math.nan
    theirs, ours = printed.sd**2 / (printed.df + 1), scatter.sd**2 / n
    error = math.sqrt(theirs + ours)
    df = (theirs + ours) ** 2 / (theirs**2 / printed.df + ours**2 / scatter.df)
    return quantile(df) * error, 2 * float(student.sf(abs(gap) / error, df))


def _printed_cell(row: Row) -> tuple:
    """SGD's one run stands in every row of a table: it is compared once."""
    return row.cell, row.metric, row.reported.excluded or row.reported.value


def _corrected(tested: Mapping[tuple, tuple[object, float]]) -> dict[tuple, float]:
    """Holm's adjusted p-values, by family (the first of each pair)."""
    adjusted: dict[tuple, float] = {}
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


def differences(paper: Paper, rows: Sequence[Row], values: Values, selection: str) -> pd.DataFrame:
    """Each number minus that of the table's first column, paired over seeds, one line a row.

    A first column that leaves a number of its key columns empty, as one without an ascent its rho,
    stands beside all of them.

    Columns against (the name of that column), reported_difference, difference, difference_low,
    difference_high, p_difference (Holm over the differences of a metric).
    """
    first = rows[0].column if rows else ""
    pairs = list(zip(rows, _references(paper, rows), strict=True))
    gaps = {}
    for row, other in pairs:
        if other is None or None in (row.cell, other.cell) or row.cell == other.cell:
            continue
        ours, theirs = (scaled(values, r.cell, r.metric, selection) for r in (row, other))
        gaps[row.cell, other.cell, row.metric] = paired_interval(ours, theirs)
    p = _corrected({key: (key[2], gap.p) for key, gap in gaps.items()})
    lines = []
    for row, other in pairs:
        key = (row.cell, other.cell if other else None, row.metric)
        gap = gaps.get(key, mean_interval([]))
        against = first if other is not None and other is not row else ""
        printed = _printed_gap(row, other) if against else math.nan
        ends = map(METRICS[row.metric].unscaled, (gap.mean, gap.low, gap.high))
        lines.append((against, printed, *ends, p.get(key, math.nan)))
    columns = ["difference", "difference_low", "difference_high", "p_difference"]
    return pd.DataFrame(lines, columns=["against", "reported_difference", *columns])


def _references(paper: Paper, rows: Sequence[Row]) -> list[Row | None]:
    """For each row, that of the first column which stands in its line; None without one."""
    keys = Keys(paper)
    names, told = keys.apart(rows), [keys.values(row) for row in rows]
    lines = [(row.metric, *(held[k] for k in names)) for row, held in zip(rows, told, strict=True)]
    places: dict[tuple, int] = {}
    """Of the first column's rows, by metric and what tells them apart."""
    for i, row in enumerate(rows):
        if row.column == rows[0].column:
            places.setdefault(lines[i], i)
    numbers = [i for i, name in enumerate(names, 1) if name in keys.numbers]
    blank = {tuple(i for i in numbers if line[i] is None) for line in places}

    def reference(line: tuple) -> Row | None:
        """The row of the same line, or the first that leaves some of its numbers empty."""
        emptied = [
            tuple(None if i in left else value for i, value in enumerate(line)) for left in blank
        ]
        found = places.get(line, min((places[e] for e in emptied if e in places), default=None))
        return None if found is None else rows[found]

    return [reference(line) for line in lines]


def _printed_gap(row: Row, other: Row | None) -> float:
    if other is None or row.reported.excluded or other.reported.excluded:
        return math.nan
    metric = METRICS[row.metric]
    ours, theirs = (metric.scaled(r.reported.value) for r in (row, other))
    return metric.unscaled(ours - theirs)


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
