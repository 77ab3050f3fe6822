"""The errors of a source with their measured consequence, where ``errata.md`` asks for one.

How it asks is in `samscope.report.directives`. Columns of a table stand beside the numbers that are
printed in the first of them.
"""

import math
from typing import Any

import pandas as pd

from samscope.analysis import results
from samscope.analysis.layout import Entry, Layout
from samscope.analysis.selection import metric, phrase
from samscope.analysis.stats import Interval, mean_interval, paired_interval, rank_agreement
from samscope.analysis.view import View
from samscope.errors import InputError
from samscope.metrics import METRICS
from samscope.plan.types import Paper, Plan
from samscope.report import directives
from samscope.report.directives import Directive, place


def pieces(plan: Plan, paper: Paper, made: dict[str, dict], lines: list[dict]) -> list[dict]:
    """The text in order: ``{"kind": "text"}`` and, where the text asks, what was measured.

    Args:
        plan: of the profile.
        paper: whose errata.
        made: its tables on the page, by id.
        lines: its claims with their verdicts.

    Raises:
        InputError: for a comment that asks for something else, or an unknown column or claim.
    """
    path, found = paper.folder / "errata.md", []
    asked, rest = directives.read(path)
    for one in asked:
        found.append({"kind": "text", "text": one.before})
        try:
            found.append({"kind": one.kind, **KINDS[one.kind](plan, paper, made, lines, one)})
        except LookupError as error:
            raise InputError(path, f"measured: {one.kind}", one.of, error.args[0]) from None
    return [*found, {"kind": "text", "text": rest}] if asked or rest else []


def _columns(plan: Plan, paper: Paper, made: dict, lines: list, of: Directive) -> dict[str, Any]:
    """Columns of a table beside the numbers printed in the first of them."""
    table, columns = of.columns
    if table not in made:
        return {"missing": table}
    laid = made[table]["layout"]
    at = [place(laid.columns, name, f"the columns of {table}") for name in columns]
    rows = {label: [row[i] for i in at] for label, row in laid.rows.items()}
    rows = {label: entries for label, entries in rows.items() if all(entries)}
    distances = [_distances(plan, [entries[i] for entries in rows.values()], rows)
                 for i in range(len(columns))]  # fmt: skip
    return {
        "table": table, "anchor": made[table]["anchor"], "metric": _title(rows),
        "corner": laid.corner, "names": columns, "rows": rows,
        "ranks": [_rank(entries) for entries in zip(*rows.values(), strict=True)] if rows else [],
        "distances": [] if made[table]["unlike"] else [mean_interval(d) for d in distances],
        "nearer": _nearer(distances) if not made[table]["unlike"] else None,
    }  # fmt: skip


def _title(rows: dict[str, list[Entry]]) -> str:
    """What the first number of an entry is of."""
    return next((entries[0].numbers[0].title for entries in rows.values()), "")


def _rank(entries: tuple[Entry, ...]) -> Any:
    lines = [entry.numbers[0].lines["best_val"] for entry in entries]
    return rank_agreement([line.reported for line in lines], [line.measured for line in lines])


def _distances(plan: Plan, entries: list[Entry], rows: dict[str, list[Entry]]) -> pd.Series:
    """Root mean square distance between a column and the printed numbers, for each seed."""
    printed = [row[0].rows[0].reported.value for row in rows.values()]
    cells = [e.rows[0].cell for e in entries if e.rows[0].cell]
    frame = results.metrics(plan, cells, [e.rows[0].metric for e in entries])
    frame = frame[frame.selection == "best_val"]
    wide = frame.pivot(index="seed", columns="cell", values="value")
    held = [(e.rows[0].cell, p) for e, p in zip(entries, printed, strict=True)]
    pairs = [(cell, p) for cell, p in held if not math.isnan(p)]
    if not pairs or any(cell not in wide for cell, _ in pairs):
        return pd.Series(dtype=float)
    squares = [(wide[cell] - p) ** 2 for cell, p in pairs]
    return (sum(squares) / len(squares)).dropna() ** 0.5


def _nearer(distances: list[pd.Series]) -> Interval | None:
    """How much farther the second column is than the first, paired over seeds."""
    if len(distances) != 2:
        return None
    gap = paired_interval(distances[1], distances[0])
    return None if math.isnan(gap.mean) else gap


def _cells(plan: Plan, paper: Paper, made: dict, lines: list, of: Directive) -> dict[str, Any]:
    """Single cells, each named ``table: column @ row``."""
    found = []
    for table, column, label in of.cells:
        if table in made:
            laid, anchor = made[table]["layout"], made[table]["anchor"]
            at, entry = f"{column}, {laid.corner} {label}", _at(laid, column, label)
            found.append({"table": table, "anchor": anchor, "place": at, "of": entry})
    return {"cells": found} if found else {"missing": of.of}


def _at(laid: Layout, column: str, label: str) -> Entry:
    row = list(laid.rows.values())[place(laid.rows, label, f"the rows, by {laid.corner},")]
    entry = row[place(laid.columns, column, "the columns")]
    if entry is None:
        raise LookupError(f"a cell that the table has; {column} has none at {label}")
    return entry


def _claims(plan: Plan, paper: Paper, made: dict, lines: list, of: Directive) -> dict[str, Any]:
    if not lines:
        return {"missing": of.of}
    ids = [line["id"] for line in lines]
    return {"lines": [lines[place(ids, name, "the claims")] for name in of.of.split()]}


def _selection(plan: Plan, paper: Paper, made: dict, lines: list, of: Directive) -> dict[str, Any]:
    """The first metric at the best-validation epoch minus that at the last, mean over all cells."""
    name = metric(View(plan, paper))
    frame = results.metrics(plan, paper.cells, [name])
    wide = frame.pivot(index=["cell", "seed"], columns="selection", values="value")
    about = {"metric": phrase(name), "unit": METRICS[name].unit}
    if wide.empty:
        return about | {"gap": mean_interval([]), "cells": 0}
    by_seed = (wide.best_val - wide["last"]).unstack("cell").dropna(how="any")
    return about | {"gap": mean_interval(by_seed.mean(axis=1)), "cells": by_seed.shape[1]}


KINDS = {"columns": _columns, "cells": _cells, "claims": _claims, "selection": _selection}
