"""A table as the page sets it: as printed, with its order, its files and what stands behind it."""

import math
from collections.abc import Sequence
from typing import Any

from samscope.analysis import scope, tables
from samscope.analysis.agreement import AGREEMENTS
from samscope.analysis.exports import orders, printed
from samscope.analysis.layout import Entry, Layout, arrange
from samscope.metrics import METRICS
from samscope.plan.types import Paper, Plan, Row

ON_A_PAGE = 1000
"""Cells of a table that a page shows; of a larger one the other rows have pages of their own."""
SHORT = 24
"""Letters of a metric's name that fit beside numbers on a phone."""
KINDS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}


def table(plan: Plan, paper: Paper, table_id: str) -> dict[str, Any]:
    """A table of a paper, from its records, and links to the files that were made of it."""
    source = paper.tables[table_id]
    laid = arrange(plan, paper.name, table_id, tables.build(plan, paper.name, table_id))
    notes = {reason: f"Not compared: {reason}." for reason in laid.notes}
    notes |= scope.thinned(plan, paper.name, source.rows)
    rows = source.rows
    measured = [row for entry in laid.entries if entry.measured for row in entry.rows]
    folder = plan.results / "tables" / paper.name
    return {
        "id": table_id,
        "anchor": f"{paper.name}-{table_id}",
        "paper": paper.name,
        "title": source.about.title,
        "planned": any(f"{paper.name}/{table_id}" in p.tables for p in plan.specs.values()),
        "question": source.about.question,
        "prints": printed(source),
        "layout": laid,
        "titles": titles(laid),
        "wordy": any(len(title) > SHORT for title in titles(laid)),
        "parts": _parts(laid, f"{paper.name}-{table_id}", f"{paper.name}.html"),
        "ranked": any(rank.n > 2 for (label, _), rank in laid.ranks.items() if label),
        "marks": {reason: chr(ord("a") + i) for i, reason in enumerate(notes)},
        "notes": notes,
        "setting": scope.brief(plan, paper.name, rows),
        "level": scope.level(plan, paper.name, measured or rows),
        "replaced": scope.replaced(plan, paper.name, rows),
        "unlike": _unlike(plan, paper, rows),
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


def _parts(laid: Layout, name: str, first: str) -> list[dict[str, Any]]:
    """The rows, as many to a part as a page shows, each with its page and which rows they are."""
    rows = [
        {
            "label": label,
            "cells": row,
            "measured": any(e and e.measured for e in row),
            "ranks": {m: laid.ranks[label, m] for m in laid.metrics},
        }
        for label, row in laid.rows.items()
    ]
    size = max(1, ON_A_PAGE // max(1, len(laid.columns)))
    return [
        {"rows": (part := rows[at : at + size]), "told": f"{at + 1} to {at + len(part)}",
         "page": f"{name}-{at // size + 1}.html" if at else first}
        for at in range(0, max(1, len(rows)), size)
    ]  # fmt: skip


def titles(laid: Layout) -> list[str]:
    """Of each metric, where they are measured and too many to stand in brackets: more than two."""
    found = [METRICS[m] for m in laid.metrics]
    told = [f"{m.symbol or m.title}{', %' if m.unit == 'points' else ''}" for m in found]
    return told if len(told) > 2 and any(entry.measured for entry in laid.entries) else []


def counts(laid: Layout) -> dict[str, int]:
    """How many printed cells agree, are unclear, differ; by the first metric of each."""
    firsts = [entry.numbers[0].agreement for entry in laid.entries]
    return {name: firsts.count(name) for name in AGREEMENTS if name in firsts}


def shown(papers: list[dict[str, Any]]) -> dict[str, Any]:
    """What the tables of a page hold: their metrics in words, and how they are compared.

    Args:
        papers: with their ``tables``, from `table`.
    """
    made = [table for paper in papers for table in paper["tables"]]
    laid = [table["layout"] for table in made]
    first, more = ([METRICS[m].title for at in laid for m in at.metrics[part]] for part in _PARTS)
    return {
        "prints": list(dict.fromkeys(table["prints"] for table in made)),
        "first": _either(first, "the first number"),
        "more": _either(more, "the others"),
        "spread": any(at.spread for at in laid),
        "factors": any(at.factors for at in laid),
        "many": any(map(titles, laid)),
        "chosen": any(at.chosen for at in laid),
    }


def _either(titles: list[str], several: str) -> str:
    """``accuracy or error``; other words for more than two, "" for none."""
    names = list(dict.fromkeys(titles))
    return " or ".join(names) if len(names) < 3 else several


_PARTS = (slice(0, 1), slice(1, None))


def _unlike(plan: Plan, paper: Paper, rows: Sequence[Row]) -> str:
    """Why no level of a table is compared; "" where one is."""
    reasons = dict.fromkeys(scope.unlike(plan, paper.name, row) for row in rows)
    return "" if "" in reasons else "; ".join(reasons)


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
        "paper": made["paper"],
        "corner": corner,
        "row": label,
        "column": entry.rows[0].column,
        "printed": entry.printed,
        "metrics": [row.metric for row in entry.rows],
        "new": entry.new,
        "reason": entry.reason,
        "verdicts": [line for n in entry.numbers if (line := _verdict(n.lines["best_val"]))],
        "differences": [
            {"metric": n.title, "factors": n.factors, "shown": n.difference("best_val"),
             "against": line.against, "p": line.p_difference}
            for n in entry.numbers
            if n.difference("best_val") and (line := n.lines["best_val"])
        ],
        "notes": list(dict.fromkeys(r.reported.note for r in entry.rows if r.reported.note)),
    }  # fmt: skip


def _verdict(line: Any) -> dict[str, Any] | None:
    """The gap between printed and measured beside the tolerance, where they are compared."""
    if not line.agreement:
        return None
    metric = METRICS[line.metric]
    return {
        "metric": metric.title, "agreement": line.agreement,
        "gap": metric.unscaled(metric.scaled(line.reported) - metric.scaled(line.measured)),
        "tolerance": line.tolerance, "factors": metric.factors,
        "p": line.p_agreement if math.isfinite(line.p_agreement) else math.nan,
        "digits": metric.digits,
    }  # fmt: skip
