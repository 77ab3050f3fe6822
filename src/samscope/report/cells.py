"""What stands behind a measured number: the cell's setting, its seeds, histories and commands."""

import re
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import results
from samscope.analysis.figures.canvas import NAMES
from samscope.plan.papers import Plan

CURVES = {"val_acc_percent": "validation accuracy, %", "train_loss": "training loss"}
POINTS = 40
"""Of a curve, as many as a hundred pixels show."""
WIDTH, HEIGHT = 120, 30


def anchor(cell: str) -> str:
    """Id of a cell on the page."""
    return "cell-" + re.sub(r"[^A-Za-z0-9.=-]+", "_", cell)


def behind(plan: Plan, mentions: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The cells that tables name, in the order of the grid.

    Args:
        plan: of the profile.
        mentions: by cell, what each table says of it (`samscope.report.tables.mentions`).
    """
    histories = {cell: frame for cell, frame in results.histories(plan, plan.cells).groupby("cell")}
    return [_cell(plan, cell, mentions[cell], histories) for cell in plan.cells if cell in mentions]


def _cell(
    plan: Plan, cell: str, mentions: list[dict], histories: dict[str, pd.DataFrame]
) -> dict[str, Any]:
    spec = plan.cells[cell].cell
    settings = [f"{k} {getattr(spec, k):g}" for k in ("rho", "condition") if getattr(spec, k)]
    settings += [f"{k} {getattr(spec, k)}" for k in filter(None, spec.varied.split(","))]
    folder = f"results/{plan.profile}/runs/{cell}"
    return {
        "anchor": anchor(cell),
        "id": cell,
        "title": ", ".join([NAMES.get(spec.variant, spec.variant), *settings]),
        "place": f"{spec.model} on {spec.data}",
        "planned": len(plan.cells[cell].seeds),
        "runs": results.runs(plan, cell),
        "mentions": _merged(mentions),
        "curves": [
            curve
            for column, name in CURVES.items()
            if cell in histories and (curve := sparkline(histories[cell], column, name))
        ],
        "spec": {k: v for k, v in spec.to_dict().items() if v not in (None, "")},
        "commands": [f"rm -rf {folder}", f"{folder}/metrics.json"],
    }


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


def sparkline(history: pd.DataFrame, column: str, name: str) -> dict[str, Any] | None:
    """The curve of each seed as points of a polyline, and the mean at the first and last epoch.

    Args:
        history: of a cell, all its seeds.
        column: of `samscope.store.records.COLUMNS`.
        name: as shown.
    """
    known = history[["seed", "epoch", column]].dropna()
    if known.empty:
        return None
    seed, epoch, value = (known[k].to_numpy() for k in ("seed", "epoch", column))
    first, last, top = epoch.min(), epoch.max(), value.max()
    x = (epoch - first) / max(last - first, 1) * WIDTH
    y = (top - value) / ((top - value.min()) or 1.0) * HEIGHT
    lines = []
    for run in np.unique(seed):
        at = np.flatnonzero(seed == run)
        kept = dict.fromkeys([*at[:: -(-len(at) // POINTS)], at[-1]])
        lines.append(" ".join(f"{x[i]:.0f},{y[i]:.0f}" for i in kept))
    ends = [float(value[epoch == e].mean()) for e in (first, last)]
    return {"name": name, "lines": lines, "first": ends[0], "last": ends[1], "epochs": int(last)}
