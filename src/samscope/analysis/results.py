"""Reading the records of a plan: metrics, histories, curvature, provenance.

A cell without its file has not been run. A run counts only where the digest in its record is that
of the plan's cell and seed: numbers of other settings are never shown under this plan's names.
"""

import csv
import json
import math
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from samscope.errors import InputError
from samscope.plan.papers import Plan
from samscope.spec import Cell
from samscope.store.records import COLUMNS, write

SELECTIONS = ("best_val", "last")
METRICS = (
    "test_acc_percent", "test_loss", "val_acc_percent", "val_loss",
    "train_acc_percent", "train_loss",
)  # fmt: skip
REGIONS = ("region1", "region2", "region3", "region4")
PROVENANCE = ("commit", "dirty", "torch", "python", "cpu", "device", "threads", "seconds")


def metrics(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """Scalar results: columns cell, seed, metric, selection (best_val or last), value.

    A value that was not finite is NaN, and so is every value of a diverged run: the class that its
    network names first for all images would count as an accuracy.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    rows = [
        (cell, run["seed"], metric, selection, _value(run, metric, selection))
        for cell in dict.fromkeys(cells)
        for run in runs(plan, cell)
        for metric in METRICS
        for selection in SELECTIONS
    ]
    return pd.DataFrame(rows, columns=["cell", "seed", "metric", "selection", "value"])


def _value(run: dict[str, Any], metric: str, selection: str) -> float:
    return math.nan if run["diverged"] else _float(run[metric][selection])


def runs(plan: Plan, cell: str) -> list[dict[str, Any]]:
    """The records in a cell's ``metrics.json`` that are the plan's, by seed; none if not run."""
    planned = plan.find(cell)
    digests = {seed: _digest(planned.cell, seed) for seed in planned.seeds}
    path = plan.run_dir(cell) / "metrics.json"
    return [
        run for run in _runs(path, _METRICS_FIELDS) if digests.get(run["seed"]) == run["digest"]
    ]


def histories(plan: Plan, cells: Iterable[str]) -> pd.DataFrame:
    """Per-epoch curves: column cell, then `samscope.store.records.COLUMNS`; no shares for SGD.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    frames = []
    for cell in dict.fromkeys(cells):
        seeds = [run["seed"] for run in runs(plan, cell)]
        if seeds:
            frame = _history(plan.run_dir(cell) / "history.csv")
            frames.append(frame[frame.seed.isin(seeds)].assign(cell=cell))
    columns = ["cell", *COLUMNS]
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns]


def spectra(plan: Plan, cells: Iterable[str]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Cell, seed and the spectra of every measured run, by epoch, as they are recorded.

    Only spectra of runs that count (see `runs`), measured with the profile's settings.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    rows = []
    for cell in dict.fromkeys(cells):
        digests = {run["seed"]: run["digest"] for run in runs(plan, cell)}
        path = plan.run_dir(cell) / "curvature.json"
        for run in _runs(path, _CURVATURE_FIELDS, plan.curvature(cell)):
            if digests.get(run["seed"]) == run["digest"]:
                rows.append((cell, run["seed"], run["spectra"]))
    return rows


def provenance(plan: Plan) -> pd.DataFrame:
    """Where each run that counts comes from: cell, seed, digest, and `PROVENANCE`."""
    rows = []
    for cell in plan.cells:
        for run in runs(plan, cell):
            path = plan.run_dir(cell) / f"seed={run['seed']}" / "provenance.json"
            known = _json(path) or {}
            rows.append((cell, run["seed"], run["digest"], *(known.get(k) for k in PROVENANCE)))
    return pd.DataFrame(rows, columns=["cell", "seed", "digest", *PROVENANCE])


def _runs(
    path: Path, fields: dict[str, Callable[[Any], bool]], settings: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The checked ``runs`` of a record, by seed; none without a file, or of other settings."""
    record = _json(path)
    if record is None:
        return []
    used = record.get("settings", {})
    if not isinstance(used, dict):
        raise InputError(path, "settings", used, REDO)
    if any((settings or {}).get(name) != value for name, value in used.items()):
        return []
    found = record.get("runs", "(missing)")
    if not isinstance(found, list) or not all(isinstance(run, dict) for run in found):
        raise InputError(path, "runs", found, REDO)
    for run in found:
        for name, fits in fields.items():
            value = run.get(name, "(missing)")
            if not fits(value):
                raise InputError(path, f"seed {run.get('seed')} {name}", value, REDO)
    return sorted(found, key=lambda run: run["seed"])


REDO = "what samscope writes; delete the file to make it anew"


def _number(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_number, value))


def _rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_numbers, value))


def _fits(fields: dict[str, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    """Whether a value is an object with these fields."""
    return lambda value: (
        isinstance(value, dict) and all(fits(value.get(k, "")) for k, fits in fields.items())
    )


def _selections(value: Any) -> bool:
    return isinstance(value, dict) and all(_number(value.get(s, "")) for s in SELECTIONS)


_METRICS_FIELDS = {
    "seed": lambda value: type(value) is int,
    "digest": lambda value: isinstance(value, str),
    "diverged": lambda value: isinstance(value, bool),
    **dict.fromkeys(METRICS, _selections),
}
_PAIR = {"value": _number, "error": _number}
_SPECTRUM_FIELDS = {
    "epoch": lambda value: type(value) is int,
    "loss": _number,
    "converged": lambda value: isinstance(value, bool),
    "largest": _numbers,
    "largest_residuals": _numbers,
    "dominant": _numbers,
    "lambda_min": _fits(_PAIR),
    "leading_ratio": _fits(_PAIR),
    "asymmetry": _fits(_PAIR),
    "trace": _fits(dict.fromkeys(("value", "low", "high"), _number)),
    "worst_case": _fits({"value": _number}),
    "average_case": _fits(dict.fromkeys(("value", "stderr"), _number)),
    "density": _fits(dict.fromkeys(("nodes", "weights"), _rows)),
}
_CURVATURE_FIELDS = {
    "seed": lambda value: type(value) is int,
    "digest": lambda value: isinstance(value, str),
    "spectra": lambda value: (
        isinstance(value, list) and value and all(map(_fits(_SPECTRUM_FIELDS), value))
    ),
}
_digest = cache(Cell.digest)


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(path, "file", f"not JSON ({error})", REDO) from None
    if not isinstance(value, dict):
        raise InputError(path, "file", value, REDO)
    return value


def _history(path: Path) -> pd.DataFrame:
    """A history file as floats; a cut line would otherwise read as missing values."""
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines())
        if tuple(header) != COLUMNS or not text.endswith("\n"):
            raise ValueError("the header or the last line is cut")
        if any(len(line) != len(COLUMNS) for line in lines):
            raise ValueError("a line is cut")
        values = [[float(x) if x else math.nan for x in line] for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(path, "file", str(error), REDO) from None
    return pd.DataFrame(values, columns=list(COLUMNS)).astype({"seed": int, "epoch": int})


def put(path: Path, content: str | bytes) -> None:
    """Write a file at once or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content)


def _float(value: float | None) -> float:
    """A recorded number; null, written where it was not finite, is NaN."""
    return math.nan if value is None else float(value)
