"""The errors of a source with their measured consequence, where ``errata.md`` asks for one.

A comment ``<!-- measured: columns T4: A | B -->`` in the text is replaced by the measured columns A
and B beside the numbers printed in A; ``cells T2: A @ 0.6 | S1: B @ 0.1`` by single cells; ``claims
C1 C2`` by verdicts; ``selection`` by what choosing the epoch on validation images makes.
"""

import math
import re
from collections.abc import Iterable
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

_DIRECTIVE = re.compile(r"<!-- measured: *(\w+) *(.*?) *-->")


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
    path = paper.folder / "errata.md"
    if not path.exists():
        return []
    text, found, at = path.read_text(encoding="utf-8"), [], 0
    for match in _DIRECTIVE.finditer(text):
        found.append({"kind": "text", "text": text[at : match.start()]})
        kind, of = match[1], match[2]
        if kind not in KINDS:
            raise InputError(path, "measured", kind, ", ".join(KINDS))
        try:
            found.append({"kind": kind, **KINDS[kind](plan, paper, made, lines, of)})
        except LookupError as error:
            raise InputError(path, f"measured: {kind}", of, error.args[0]) from None
        at = match.end()
    return [*found, {"kind": "text", "text": text[at:]}]


def _columns(plan: Plan, paper: Paper, made: dict, lines: list, of: str) -> dict[str, Any]:
    """Columns of a table beside the numbers printed in the first of them."""
    table, _, names = of.partition(": ")
    if table not in made:
        return {"missing": table}
    columns = [name.strip() for name in names.split("|")]
    laid = made[table]["layout"]
    at = [_among(laid.columns, name, f"the columns of {table}") for name in columns]
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


def _cells(plan: Plan, paper: Paper, made: dict, lines: list, of: str) -> dict[str, Any]:
    """Single cells, each named ``table: column @ row``."""
    found = []
    for name in of.split(" | "):
        table, _, place = name.partition(": ")
        if table in made:
            laid = made[table]["layout"]
            column, _, label = place.partition(" @ ")
            entry = _at(laid, column, label)
            place = f"{column}, {laid.corner} {label}"
            anchor = made[table]["anchor"]
            found.append({"table": table, "anchor": anchor, "place": place, "of": entry})
    return {"cells": found} if found else {"missing": of}


def _at(laid: Layout, column: str, label: str) -> Entry:
    row = list(laid.rows.values())[_among(laid.rows, label, f"the rows, by {laid.corner},")]
    entry = row[_among(laid.columns, column, "the columns")]
    if entry is None:
        raise LookupError(f"a cell that the table has; {column} has none at {label}")
    return entry


def _among(names: Iterable[str], name: str, what: str) -> int:
    """The place of a name; an error that tells which there are."""
    names = list(names)
    if name not in names:
        raise LookupError(f"{what} {', '.join(names)}")
    return names.index(name)


def _claims(plan: Plan, paper: Paper, made: dict, lines: list, of: str) -> dict[str, Any]:
    if not lines:
        return {"missing": of}
    ids = [line["id"] for line in lines]
    return {"lines": [lines[_among(ids, name, "the claims")] for name in of.split()]}


def _selection(plan: Plan, paper: Paper, made: dict, lines: list, of: str) -> dict[str, Any]:
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
