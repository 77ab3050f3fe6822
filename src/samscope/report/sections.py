"""What each section of the page says, as plain values for the templates."""

import math
from collections import Counter
from typing import Any

import pandas as pd

from samscope.analysis import claims, figures, results, scope, tables
from samscope.analysis.figures.canvas import NAMES
from samscope.analysis.layout import Entry, arrange
from samscope.analysis.spectra import spectra
from samscope.papers import Paper, Plan
from samscope.report import svg


def completeness(plan: Plan, runs: pd.DataFrame) -> dict[str, Any]:
    """How much of the grid has been run.

    Args:
        plan: of the profile.
        runs: from `samscope.analysis.results.provenance`.
    """
    planned = sum(len(p.seeds) for p in plan.cells.values())
    measured = plan.measured()
    spectra_done = results.curvature(plan, measured).cell.nunique()
    return {
        "runs": planned, "done": len(runs), "cells": len(plan.cells),
        "cells_done": runs.cell.nunique(), "spectra": len(measured), "spectra_done": spectra_done,
        "diverged": sum(run["diverged"] for cell in plan.cells for run in results.runs(plan, cell)),
    }  # fmt: skip


def verdicts(plan: Plan, paper: Paper) -> dict[str, Any]:
    """The claims with their verdicts, and how many of each."""
    lines = claims.evaluate(plan, paper.name).to_dict("records")
    counts = Counter(line["verdict"] for line in lines)
    return {"lines": lines, "counts": {verdict: counts[verdict] for verdict in claims.VERDICTS}}


def drawn(plan: Plan) -> list[dict[str, Any]]:
    """Every figure, ready to be set into the page."""
    made = []
    for name, figure in figures.FIGURES.items():
        picture = figures.draw(plan, name)
        image = svg.inline(picture.svg(), name, figure.title)
        made.append({"name": name, "title": figure.title, "svg": image, "caption": picture.caption})
    return made


def table(plan: Plan, paper: Paper, table_id: str) -> dict[str, Any]:
    """A table as printed, and behind every cell its seeds."""
    source = paper.tables[table_id]
    frame = tables.build(plan, paper.name, table_id)
    laid = arrange(plan, paper.name, table_id, frame)
    seeds = _seeds(plan, source.cells)
    last = {
        (line.cell, line.metric): (line.metric, line.measured, line.ci_high - line.measured)
        for line in frame[frame.selection == "last"].itertuples()
    }
    rows = [
        {"label": label, "cells": [e and _cell(plan, table_id, label, e, seeds, last) for e in row]}
        for label, row in laid.rows.items()
    ]
    marks = {reason: chr(ord("a") + i) for i, reason in enumerate(laid.notes)}
    return {
        "id": table_id, "title": source.title, "question": source.question, "layout": laid,
        "rows": rows, "marks": marks, "thinned": scope.thinned(source.rows),
        "setting": scope.brief(plan, paper.name, source.rows),
    }  # fmt: skip


def _cell(
    plan: Plan,
    table: str,
    label: str,
    entry: Entry,
    seeds: dict[str, dict],
    last: dict[tuple, tuple],
) -> dict[str, Any]:
    """What stands behind an entry: its seeds, the last epoch, notes, and where its records are."""
    first = entry.rows[0]
    metrics = [row.metric for row in entry.rows]
    anchor = f"{table}-{label}-{first.column}"
    return {
        "entry": entry,
        "anchor": "".join(c if c.isalnum() or c in ".=-" else "_" for c in anchor),
        "column": first.column,
        "id": first.cell,
        "folder": f"results/{plan.profile}/runs/{first.cell}",
        "seeds": [
            (seed, [found[s, metric] for s in results.SELECTIONS for metric in metrics])
            for seed, found in seeds.get(first.cell, {}).items()
        ],
        "last": [last[first.cell, metric] for metric in metrics] if entry.seeds else [],
        "notes": list(dict.fromkeys(row.note for row in entry.rows if row.note)),
    }


def _seeds(plan: Plan, cells: tuple[str, ...]) -> dict[str, dict[int, dict[tuple, float]]]:
    """Values by cell, seed, and (selection, metric)."""
    found: dict[str, dict[int, dict[tuple, float]]] = {}
    for line in results.metrics(plan, cells).itertuples():
        seeds = found.setdefault(line.cell, {})
        seeds.setdefault(line.seed, {})[line.selection, line.metric] = line.value
    return found


def sharpness(plan: Plan) -> dict[str, Any]:
    """The measured spectra, each beside that of SGD, and what was trained."""
    cells = figures.selection.measured_cells(plan)
    frame = spectra(plan, cells).set_index("cell")
    flat = next((frame.loc[c, "mean"] for c in frame.index if "/sgd/" in c), math.nan)
    lines = []
    for cell in cells:
        spec = plan.cells[cell].cell
        known = frame.loc[cell].to_dict() if cell in frame.index else {}
        ratio = known.get("mean", math.nan) / flat
        name = NAMES.get(spec.variant, spec.variant)
        lines.append({"variant": name, "rho": spec.rho, "cell": cell, "ratio": ratio, **known})
    rows = figures.selection.variant_rows(plan)
    setting = scope.brief(plan, figures.selection.STUDY, rows) if lines else ""
    return {"lines": lines, "setting": setting}


def environments(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """One line for every environment that trained runs: versions, device, how many, how long."""
    keys = ["torch", "python", "cpu", "device", "threads", "commit", "dirty"]
    known = runs.assign(seconds=pd.to_numeric(runs.seconds))
    groups = known.groupby(keys, dropna=False, sort=False)
    lines = [
        {**dict(zip(keys, map(_plain, key), strict=True)), "runs": len(group),
         "seconds": float(group.seconds.sum())}
        for key, group in groups
    ]  # fmt: skip
    return sorted(lines, key=lambda line: (-line["runs"], str(line)))


def _plain(value: Any) -> Any:
    """None for what a record does not say."""
    return None if pd.isna(value) else value
