"""A table as the page sets it: as printed, with its order, its files and what stands behind it."""

import math
from typing import Any

from samscope.analysis import scope, tables
from samscope.analysis.agreement import AGREEMENTS
from samscope.analysis.exports import METRIC_NAMES, orders
from samscope.analysis.layout import Entry, Layout, arrange
from samscope.plan.papers import Paper, Plan

KINDS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}


def table(plan: Plan, paper: Paper, table_id: str) -> dict[str, Any]:
    """A table of a paper, from its records, and links to the files that were made of it."""
    source = paper.tables[table_id]
    laid = arrange(plan, paper.name, table_id, tables.build(plan, paper.name, table_id))
    notes = {reason: f"Not compared: {reason}." for reason in laid.notes}
    notes |= scope.thinned(source.rows)
    folder = plan.results / "tables" / paper.name
    return {
        "id": table_id,
        "paper": paper.name,
        "title": source.title,
        "planned": any(f"{paper.name}/{table_id}" in p.tables for p in plan.cells.values()),
        "question": source.question,
        "layout": laid,
        "rows": [
            {"label": label, "cells": row, "ranks": {m: laid.ranks[label, m] for m in laid.metrics}}
            for label, row in laid.rows.items()
        ],
        "ranked": any(rank.n > 2 for (label, _), rank in laid.ranks.items() if label),
        "marks": {reason: chr(ord("a") + i) for i, reason in enumerate(notes)},
        "notes": notes,
        "setting": scope.brief(plan, paper.name, source.rows),
        "unlike": scope.unlike(plan, paper.name, source.rows[0]),
        "single": all(entry.seeds < 2 for entry in laid.entries) and any(map(_open, laid.entries)),
        "orders": orders(laid),
        "counts": counts(laid),
        "usual": _usual(laid),
        "mixed": len({entry.seeds for entry in laid.entries if entry.seeds}) > 1,
        "files": {
            label: f"../tables/{paper.name}/{table_id}.{kind}"
            for kind, label in KINDS.items()
            if (folder / f"{table_id}.{kind}").exists()
        },
        "command": f"results/{plan.profile}/tables/{paper.name}/{table_id}.csv",
    }


def counts(laid: Layout) -> dict[str, int]:
    """How many printed cells agree, are unclear, differ; by accuracy, or the metric there is."""
    firsts = [entry.numbers[0].agreement for entry in laid.entries]
    return {name: firsts.count(name) for name in AGREEMENTS if name in firsts}


def _open(entry: Entry) -> bool:
    """Whether it has a printed and a measured number that could be compared."""
    return bool(entry.seeds) and entry.status == "measured" and not entry.new


def _usual(laid: Layout) -> int:
    """The number of seeds that most of the measured cells have; 0 where none is measured."""
    seeds = [entry.seeds for entry in laid.entries if entry.seeds]
    return max(set(seeds), key=lambda n: (seeds.count(n), n), default=0)


def mentions(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """For every measured entry of a table: its cell, and what the table says of it."""
    laid = made["layout"]
    return [
        (entry.rows[0].cell, _mention(made, laid.corner, label, entry))
        for label, row in laid.rows.items()
        for entry in row
        if entry and entry.rows[0].cell
    ]


def _mention(made: dict[str, Any], corner: str, label: str, entry: Entry) -> dict[str, Any]:
    return {
        "table": made["id"],
        "corner": corner,
        "row": label,
        "column": entry.rows[0].column,
        "printed": entry.printed,
        "new": entry.new,
        "reason": entry.reason,
        "verdicts": [line for n in entry.numbers if (line := _verdict(n.lines["best_val"]))],
        "differences": [
            {"metric": METRIC_NAMES[n.row.metric], "shown": n.difference("best_val"),
             "against": line.against, "p": line.p_difference}
            for n in entry.numbers
            if n.difference("best_val") and (line := n.lines["best_val"])
        ],
        "notes": list(dict.fromkeys(row.note for row in entry.rows if row.note)),
    }  # fmt: skip


def _verdict(line: Any) -> dict[str, Any] | None:
    """The gap between printed and measured beside the tolerance, where they are compared."""
    if not line.agreement:
        return None
    return {
        "metric": METRIC_NAMES[line.metric], "agreement": line.agreement,
        "gap": line.reported - line.measured, "tolerance": line.tolerance,
        "p": line.p_agreement if math.isfinite(line.p_agreement) else math.nan,
        "digits": 2 if line.metric == "test_acc_percent" else 3,
    }  # fmt: skip
