"""Reading a table as a paper printed it: a tidy CSV, one row a number."""

import csv
import math
from pathlib import Path

from samscope.errors import InputError

COLUMNS = (
    "model", "data", "column", "variant", "rho", "condition",
    "metric", "reported", "uncertainty", "excluded", "note",
)  # fmt: skip
SETTINGS = ("precision", "batch_size", "lr")
"""Columns a table may add after these: fields of a cell in which its rows depart from the paper's
protocol. Empty where a row does not."""
KEY = (*COLUMNS[:7], *SETTINGS)
MOST = {"test_acc_percent": 100.0, "test_loss": math.inf}
"""The metrics, and how much a reported number can be at most; none is below 0."""
METRICS = tuple(MOST)


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of a reported CSV, each with the number of its line.

    Raises:
        InputError: for an unreadable file, a missing or unknown column, a row of another length,
            two rows with the same key, a number that its metric cannot have.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "file", str(error), "a readable UTF-8 CSV") from None
    reader = csv.DictReader(text.splitlines())
    header = reader.fieldnames or []
    if len(header) == 1:
        raise InputError(path, "header", header[0], f"separated by commas: {','.join(COLUMNS)}")
    for name in [c for c in COLUMNS if c not in header]:
        raise InputError(path, "column", f"{name} (missing)", ",".join(COLUMNS))
    for name in [c for c in header if c not in (*COLUMNS, *SETTINGS)]:
        raise InputError(path, "column", name, ",".join((*COLUMNS, *SETTINGS)))
    seen: dict[tuple, tuple[int, str]] = {}
    rows = []
    for raw in reader:
        line = reader.line_num
        if None in raw or None in raw.values():
            raise InputError(path, f"line {line}", "another number of fields", f"{len(header)}")
        key = tuple(raw[k] for k in KEY if raw.get(k) is not None)
        if key in seen:
            first, value = seen[key]
            same = "repeats" if value == raw["reported"] else "disagrees with"
            shown = f"{raw['reported'] or '(empty)'}, which {same} line {first}"
            raise InputError(path, f"line {line} reported", shown, f"one row for {'/'.join(key)}")
        seen[key] = (line, raw["reported"])
        most_of = {"reported": MOST.get(raw["metric"]), "uncertainty": math.inf}
        for field in ("rho", "condition", *most_of):
            value, most = number(raw[field], f"{path} line {line}", field), most_of.get(field)
            if None not in (value, most) and not 0 <= value <= most:
                allowed = "0 or more" if most == math.inf else f"0 to {most:g}"
                raise InputError(path, f"line {line} {field}", raw[field], allowed)
        rows.append((line, raw))
    return rows


def number(text: str, where: str, field: str) -> float | None:
    """A finite number, or None for an empty field.

    Raises:
        InputError: for anything else, naming ``where`` and ``field``.
    """
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(where, field, text, "a finite number, or empty")
    return value
