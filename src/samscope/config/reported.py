"""Reading a table as a paper printed it: a tidy CSV, one row a number."""

import csv
import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from samscope.config.paper import SPREADS
from samscope.config.reading import text_of
from samscope.errors import InputError
from samscope.metrics import METRICS

NUMBER = ("column", "metric", "reported", "uncertainty", "excluded", "note")
"""Columns that every table has. All others are keys: a column that ``paper.yaml`` has under
``keys``, or a leaf of the spec that its rows name. Two more may stand beside the uncertainty:
``spread``, its kind, and ``runs``, how many are behind the number, where a row has its own. And one
says of a number that nothing here can make why it is ``not_run``, whatever the profile."""

NOT_RUN = "not_run"
OPTIONAL = ("spread", "runs", NOT_RUN)


@dataclass(frozen=True)
class Reported:
    """A number as it was printed.

    Attributes:
        value: NaN where the paper left the cell open.
        printed: its text, "" where there is none.
        spread: the ± beside it, NaN where there is none.
        spread_kind: one of `samscope.config.paper.SPREADS`.
        runs: behind it.
        excluded: why it must not be compared, or "".
        note: where it comes from.
    """

    value: float
    printed: str
    spread: float
    spread_kind: str
    runs: int
    excluded: str
    note: str

    @property
    def deviation(self) -> float:
        """The standard deviation of one run that the spread tells; NaN where it tells none."""
        if math.isnan(self.spread):
            return math.nan
        if self.spread_kind == "sd":
            return self.spread
        error = self.spread
        if self.spread_kind == "ci95":
            from scipy import stats

            quantile = stats.t.ppf(0.975, self.runs - 1) if self.runs > 1 else math.inf
            error = self.spread / float(quantile)
        return error * math.sqrt(self.runs) if self.spread_kind else math.nan


def read_rows(path: Path, keys: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a reported CSV, each with the number of its line.

    Args:
        path: of the file.
        keys: the columns that may stand beside `NUMBER`.

    Raises:
        InputError: for an unreadable file, a missing or unknown column, a row of another length, an
            unknown metric, two rows with the same key, a number that its metric cannot have.
    """
    try:
        text = text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "file", str(error), "a readable UTF-8 CSV") from None
    reader = csv.DictReader(text.splitlines())
    header = reader.fieldnames or []
    if len(header) == 1:
        raise InputError(path, "header", header[0], f"separated by commas: {','.join(NUMBER)}")
    for name in [c for c in NUMBER if c not in header]:
        raise InputError(path, "column", f"{name} (missing)", ",".join(NUMBER))
    for name in [c for c in header if c not in (*NUMBER, *OPTIONAL, *keys)]:
        allowed = f"{','.join(NUMBER)}, a key of paper.yaml, or a field of a run"
        raise InputError(path, "column", name, allowed)
    own = [c for c in header if c in keys or c in ("column", "metric")]
    seen: dict[tuple, tuple[int, str]] = {}
    rows = []
    for raw in reader:
        line = reader.line_num
        if None in raw or None in raw.values():
            raise InputError(path, f"line {line}", "another number of fields", f"{len(header)}")
        key = tuple(raw[k] for k in own)
        if key in seen:
            first, value = seen[key]
            same = "repeats" if value == raw["reported"] else "disagrees with"
            shown = f"{raw['reported'] or '(empty)'}, which {same} line {first}"
            raise InputError(path, f"line {line} reported", shown, f"one row for {'/'.join(key)}")
        seen[key] = (line, raw["reported"])
        rows.append((line, raw))
    return rows


def reported(raw: Mapping[str, str], where: str, spread: str, runs: int) -> Reported:
    """The number of a row.

    Args:
        raw: the row.
        where: file and line.
        spread: kind of its uncertainty, where the row does not say.
        runs: behind it, likewise.

    Raises:
        InputError: for an unknown metric, or a number that it cannot have.
    """
    if raw["metric"] not in METRICS:
        near = ", ".join(difflib.get_close_matches(raw["metric"], METRICS, 8, 0))
        allowed = f"{near}, ... ({len(METRICS)} in samscope/metrics.py)"
        raise InputError(where, "metric", raw["metric"], allowed)
    metric = METRICS[raw["metric"]]
    value = _within(raw["reported"], where, "reported", metric.low, metric.high)
    beside = _within(raw["uncertainty"], where, "uncertainty", 0.0, math.inf)
    kind = raw.get("spread") or spread
    if kind not in SPREADS:
        raise InputError(where, "spread", kind, ", ".join(filter(None, SPREADS)))
    behind = _within(raw.get("runs", ""), where, "runs", 1, math.inf)
    count = runs if math.isnan(behind) else int(behind)
    return Reported(value, raw["reported"], beside, kind, count, raw["excluded"], raw["note"])


def _within(text: str, where: str, field: str, low: float, high: float) -> float:
    value = number(text, where, field)
    if value is None:
        return math.nan
    if not low <= value <= high:
        allowed = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
        raise InputError(where, field, text, allowed)
    return value


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
