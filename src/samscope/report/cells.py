"""What stands behind a measured number: the cell's setting, its seeds, histories and commands."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from samscope import stages
from samscope.analysis import canvas, results
from samscope.analysis.exports import MARKS
from samscope.analysis.selection import NAMES
from samscope.metrics import METRICS, Metric, of_stage
from samscope.plan.types import Plan
from samscope.report.text import number, pvalue, tidy
from samscope.spec import Cell, Spec

POINTS = 40
"""Of a curve, as many as a hundred pixels show."""
WIDTH, HEIGHT = 120, 30
IN_A_FILE = 500
"""Cells in a file beside the page, about a megabyte, which is loaded when one of them is opened."""


def parted(ids: Collection[str]) -> list[list[str]]:
    """The cells file by file. In which one is, follows from its id, as the page's script has it."""
    count = max(1, -(-len(ids) // IN_A_FILE))
    parts: list[list[str]] = [[] for _ in range(count)]
    for id_ in ids:
        parts[sum(map(ord, id_)) % count].append(id_)
    return parts


def behind(plan: Plan, cell: str, mentions: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page's script shows of a cell of tables.

    Args:
        plan: of the profile.
        cell: id of it.
        mentions: what each table says of it (`samscope.report.tables.mentions`).
    """
    spec, flat = plan.specs[cell].cell, plan.specs[cell].cell.to_dict()
    folder, made = f"results/{plan.profile}/runs/{cell}", stages.maker(spec)
    runs = results.runs(plan, cell)
    # A table may name a number that a stand-in does not record.
    metrics = {
        name: metric
        for name, metric in _metrics(spec, mentions).items()
        if all(read in run.numbers for run in runs for read in metric.reads or (name,))
    }
    selections, planned = _selections(spec), len(plan.specs[cell].seeds)
    unit = spec.budget.unit if isinstance(spec, Cell) else ""
    drawn = _curves(spec)
    history = results.curves(plan, cell, drawn)
    return {
        "title": _title(cell, spec),
        "place": " on ".join(str(flat[leaf]) for leaf in ("model", "data") if flat.get(leaf)),
        "planned": f"{planned} seed{'s' if planned > 1 else ''} planned",
        "metrics": [metric.title for metric in metrics.values()],
        "selections": list(selections.values()),
        "runs": [
            [str(run.seed), run.digest[:10]]
            + [
                number(run.value(m, n, at), m.digits)
                for at in selections
                for n, m in metrics.items()
            ]
            for run in runs
        ],
        "mentions": [_told(at, len(plan.papers) > 1) for at in _merged(mentions)],
        "curves": [
            curve
            for column, name in drawn.items()
            if column in history and (curve := sparkline(history, column, name, unit))
        ],
        "spec": {k: str(v) for k, v in flat.items() if v not in (None, "")},
        "command": f"rm -rf {folder}\n"
        f"snakemake {folder}/{made.record} --config profile={plan.profile}",
    }


def _told(at: dict[str, Any], several: bool) -> list[Any]:
    """The table, what it prints, and lines: each a mark's name, or "", and a sentence."""
    name = f"{at['paper']} {at['table']}" if several else at["table"]
    where = f"{at['corner']} {', '.join(at['rows'])}, {at['column']}"
    printed = f": printed {at['printed']}" if at["printed"] else ""
    lines = [[v["agreement"], _compared(v)] for v in at["verdicts"]]
    for d in at["differences"]:
        by = "over" if d["factors"] else "minus"
        than, shown = f"{d['metric'].capitalize()} {by} {d['against']}’s", tidy(d["shown"])
        lines.append(["", f"{than}: {shown}, Holm p {pvalue(d['p'])}."])
    lines += [["", f"{at['reason']}."]] if at["reason"] else []
    lines += [["", f"Printed number: {note}."] for note in at["notes"]]
    opened = " (open in the paper)" if printed and at["new"] else ""
    return [name, f"{where}{printed}{opened}.", lines]


def _compared(v: dict[str, Any]) -> str:
    """A printed number beside the measured one."""
    gap, tolerance = number(v["gap"], v["digits"], True), number(v["tolerance"], v["digits"])
    told = f"{MARKS[v['agreement']]} {v['agreement']} in {v['metric']}: printed "
    holm = "" if v["agreement"] == "agrees" else f", Holm p {pvalue(v['p'])}"
    if v["factors"]:
        gap, tolerance = number(v["gap"], 2), number(v["tolerance"], 2)
        return f"{told}over measured ×{gap}, tolerance ×{tolerance} either way{holm}."
    return f"{told}minus measured {gap}, tolerance ±{tolerance}{holm}."


def _title(id_: str, spec: Spec) -> str:
    """What a cell is, in words: its variant, and what an id shows of it."""
    if not isinstance(spec, Cell):
        return id_
    flat = spec.to_dict()
    settings = [f"{k} {flat[k]:g}" for k in ("rho", "condition") if flat[k]]
    settings += [f"{k} {flat[k]}" for k in spec.shown]
    return ", ".join([NAMES.get(flat["variant"], flat["variant"]), *settings])


def _metrics(spec: Spec, mentions: list[dict]) -> dict[str, Metric]:
    """What is shown of a run: of a training what is tested or printed, of another stage all."""
    found = of_stage(stages.maker(spec).name)
    if not isinstance(spec, Cell):
        return found
    shown = {f"test_{name}" for name in ("loss", *spec.task.kind.scores)}
    shown |= {name for mention in mentions for name in mention["metrics"]}
    return {name: metric for name, metric in found.items() if name in shown}


def _selections(spec: Spec) -> dict[str, str]:
    """The weights that are shown, and what they are called."""
    if not isinstance(spec, Cell):
        return {"last": "result"}
    last = {"last": f"last {spec.budget.unit}"}
    return {"best_val": "best validation"} | last if spec.task.val_size else last


def _curves(spec: Spec) -> dict[str, str]:
    """Columns of a history that are drawn, and how they are called."""
    if not isinstance(spec, Cell):
        return {}
    scores = spec.task.kind.scores
    names = [f"val_{scores[0]}" if scores else "val_loss", "train_loss"]
    return {name: METRICS[name].title + canvas.unit(name) for name in names}


def _merged(mentions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Once what a table says in several rows, as of SGD."""
    merged: list[dict[str, Any]] = []
    for mention in mentions:
        same = {key: value for key, value in mention.items() if key != "row"}
        for other in merged:
            if all(other[key] == value for key, value in same.items()):
                other["rows"].append(mention["row"])
                break
        else:
            merged.append({**same, "rows": [mention["row"]]})
    return merged


def sparkline(
    history: Mapping[str, np.ndarray], column: str, name: str, unit: str = "epoch"
) -> dict[str, Any] | None:
    """The curve of each seed as points of a polyline, and in words its mean at both ends.

    Args:
        history: of a cell, all its seeds: see `samscope.analysis.results.curves`.
        column: of `samscope.store.records.columns`.
        name: as shown.
        unit: of the training's length.
    """
    known = ~np.isnan(history[column])
    if not known.any():
        return None
    seed, epoch, value = (history[name][known] for name in ("seed", "epoch", column))
    first, last, top = epoch.min(), epoch.max(), value.max()
    x = (epoch - first) / max(last - first, 1) * WIDTH
    y = (top - value) / ((top - value.min()) or 1.0) * HEIGHT
    lines = []
    for run in np.unique(seed):
        at = np.flatnonzero(seed == run)
        kept = dict.fromkeys([*at[:: -(-len(at) // POINTS)], at[-1]])
        lines.append(" ".join(f"{x[i]:.0f},{y[i]:.0f}" for i in kept))
    ends = [float(value[epoch == e].mean()) for e in (first, last)]
    told = f"{name}: {number(ends[0])} → {number(ends[1])} in {int(last)} {unit}s"
    return {"told": told, "lines": lines}
