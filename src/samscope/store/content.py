"""What the records of a training hold, value by value: one check for reading, import and resume.

A checksum says that a file is what was written; this says that what was written is a record.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from samscope.metrics import METRICS
from samscope.optim.bins import PERSISTENCE, RATIOS
from samscope.optim.mixes import REGIONS
from samscope.spec import Cell

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_WORDS = ("batch", "kind")
"""Columns of ratios.csv that hold words."""

_HUNDRED = 100 + 1e-3
"""What rounding may bring a percentage to."""


class Wrong(ValueError):
    """What is no record of a run; the message says where and why, in one line."""


def check(
    cell: Cell, seed: int, columns: Sequence[str], metrics: object, texts: Mapping[str, str]
) -> None:
    """Refuse what no training of a cell by a seed writes.

    Args:
        cell: of the run.
        seed: of the run.
        columns: of its history.
        metrics: of metrics.json.
        texts: of history.csv, ratios.csv and persistence.csv, by name.

    Raises:
        Wrong: naming the file.
    """
    done, unit = check_metrics(cell, metrics), cell.budget.unit
    lines = _lines("history.csv", texts["history.csv"], tuple(columns), seed)
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines]
    check_history(cell, seed, [{k: float(v) if v else None for k, v in r.items()} for r in rows])
    if not rows or int(rows[-1][unit]) != done:
        raise Wrong(f"history.csv does not end at the {unit} of metrics.json, {done}")
    ratios = tuple(unit if name == "epoch" else name for name in RATIOS)
    for name, known in (("ratios.csv", ratios), ("persistence.csv", PERSISTENCE)):
        _lines(name, texts[name], known, seed)


def check_metrics(cell: Cell, metrics: object) -> int:
    """The epoch, or step, at which a run ended, by its metrics.

    Raises:
        Wrong: for metrics that are missing, of another type, or beyond what they can be.
    """
    if not isinstance(metrics, Mapping):
        raise Wrong("metrics.json holds no numbers by name")
    unit, names = cell.budget.unit, ("loss", *cell.task.kind.scores)
    needed = [f"{split}_{name}" for split in ("train", "val", "test") for name in names]
    for name in (*needed, f"{unit}s", f"best_{unit}", "diverged"):
        if name not in metrics:
            raise Wrong(f"metrics.json has no {name}")
    done, best = metrics[f"{unit}s"], metrics[f"best_{unit}"]
    whole = type(done) is int and type(best) is int and 1 <= best <= done <= cell.budget.length
    short = whole and done < cell.budget.length and not metrics["diverged"]
    if type(metrics["diverged"]) is not bool or not whole or short:
        said = f"{unit}s {done}, best_{unit} {best}, diverged {metrics['diverged']}"
        raise Wrong(f"metrics.json says {said} of a run of {cell.budget.length}")
    for name, held in metrics.items():
        pair = isinstance(held, Mapping)
        if (name in needed) > pair or (pair and set(held) != {"best_val", "last"}):
            raise Wrong(f"metrics.json: {name} is no pair of best_val and last")
        for value in held.values() if pair else [held]:
            _check_number(f"metrics.json: {name}", name, value)
    return done


def check_history(cell: Cell, seed: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rows that are not those of a run so far: their numbers, seed and order.

    Raises:
        Wrong: for the first of them.
    """
    unit, ends = cell.budget.unit, cell.budget.ends
    if len(rows) > len(ends):
        raise Wrong(f"history.csv has {len(rows)} rows, of {len(ends)}")
    for row, end in zip(rows, ends, strict=False):
        where = f"history.csv: {unit} {end}"
        if row.get("seed") != seed or row.get(unit) != end:
            found = ", ".join(f"{name} {row.get(name) or 0:g}" for name in ("seed", unit))
            raise Wrong(f"{where} is of {found}")
        for name, value in row.items():
            if not isinstance(value, float) or math.isfinite(value):
                _check_number(f"{where}: {name}", name, value)
            elif name == "lr":
                raise Wrong(f"{where}: lr is {value}")


def _check_number(where: str, name: str, value: object) -> None:
    """Refuse what is no number, or none that the metric of this name can be."""
    if value is None or (name == "diverged" and type(value) is bool):
        return
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise Wrong(f"{where} is {str(value)[:40]!r}, not a finite number")
    metric = METRICS.get(name)
    percent = name.endswith("_percent") or name in REGIONS
    low, high = (metric.low, metric.high) if metric else (-math.inf, math.inf)
    low, high = (0.0, _HUNDRED) if percent else (low, high)
    if not low <= value <= high:  # type: ignore[operator]
        raise Wrong(f"{where} is {value}, not {low:g} to {high:g}")


def _lines(name: str, text: str, columns: tuple[str, ...], seed: int) -> list[str]:
    """The rows of a table of a run, without its header.

    Raises:
        Wrong: for other columns, a line that is cut, or what is neither a number nor empty.
    """
    header, _, body = text.partition("\n")
    if tuple(header.split(",")) != columns:
        raise Wrong(f"{name} has other columns: {header[:60]!r}")
    lines = body.splitlines()
    own = all(line.startswith(f"{seed},") for line in lines)
    if not (own and _table(columns).fullmatch(body)):
        raise Wrong(f"{name} holds something else than numbers of seed {seed}, or a line is cut")
    return lines


@cache
def _table(columns: tuple[str, ...]) -> re.Pattern[str]:
    """What the rows of such a table look like, the seed first."""
    fields = [r"\w+" if name in _WORDS else f"(?:{_NUMBER})?" for name in columns[1:]]
    return re.compile(rf"(?:{','.join(['[0-9]+', *fields])}\n)*", re.A)
