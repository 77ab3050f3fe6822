"""A loss surface: where it lies, what was found there, and its files. Importable without torch.

``<name>.csv`` holds a line for each grid point, those of one ``a`` together; ``<name>.json`` holds
the settings. A job that was killed leaves whole lines and perhaps a damaged last one; the next job
of the same settings goes on at the first row that is not whole. The caller sees to it that two
jobs never write the same file (`samscope.store.records.locked`).
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samscope.errors import InputError
from samscope.store.records import to_json, write

if TYPE_CHECKING:
    from torch import Tensor

LOSS = ("loss", "accuracy")
"""What is known of a grid point where the settings name no other ``columns``."""

CONVEXITY = ("ratio", "error", "lambda_max", "lambda_min")
"""The columns of `samscope.measure.convexity`."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The weights ``w + a d1 + b d2``; with one direction, the line ``w + a d1``.

    Attributes:
        origin: w, [P], in the order of ``model.parameters()``.
        directions: d1 and d2, [2, P], or d1 alone, [1, P]; on the device of ``origin``.

    Raises:
        InputError: for vectors that do not match or are not finite.
    """

    origin: "Tensor"
    directions: "Tensor"

    def __post_init__(self) -> None:
        if self.directions.ndim != 2 or len(self.directions) not in (1, 2):
            raise InputError("Plane", "directions", tuple(self.directions.shape), "[1 or 2, P]")
        check_vectors("Plane", self.origin, *self.directions)

    def at(self, a: float, b: float) -> "Tensor":
        """The weights at a grid point, float64 [P]."""
        point = self.origin
        for step, direction in zip((a, b), self.directions, strict=False):
            point = point + step * direction.double()
        return point


@dataclass(frozen=True, eq=False)
class Segment:
    """The weights ``w1 + a (w2 - w1)``: one solution at a = 0, the other at a = 1.

    Attributes:
        start: w1, [P], in the order of ``model.parameters()``.
        end: w2, likewise.

    Raises:
        InputError: for vectors that do not match or are not finite.
    """

    start: "Tensor"
    end: "Tensor"

    def __post_init__(self) -> None:
        check_vectors("Segment", self.start, self.end)

    def at(self, a: float, b: float) -> "Tensor":
        """The weights at a point of the line, float64 [P]; there is no second coordinate."""
        # Not w1 + a (w2 - w1), which misses w2 by rounding.
        return (1 - a) * self.start.double() + a * self.end.double()


@dataclass(frozen=True, eq=False)
class Surface:
    """Numbers on a grid; on a line the grid has one column.

    Attributes:
        a: coordinates of the rows, float64 [A].
        b: coordinates of the columns, float64 [B].
        values: by name, float64 [A, B] each, `LOSS` or `CONVEXITY`; NaN where one is not finite.
        settings: what the JSON file says, by name.
    """

    a: np.ndarray
    b: np.ndarray
    values: dict[str, np.ndarray]
    settings: dict[str, Any]

    @property
    def loss(self) -> np.ndarray:
        """The mean over the data."""
        return self.values["loss"]

    @property
    def accuracy(self) -> np.ndarray:
        """In percent; NaN where the targets are not classes."""
        return self.values["accuracy"]


def read_surface(path: str | Path) -> Surface:
    """The finished surface of a CSV file and the JSON file beside it.

    Raises:
        InputError: for files that are missing or damaged, or a surface that is not finished.
    """
    path = Path(path)
    settings = _settings(path)
    if settings is None:
        allowed = "the settings of a surface"
        raise InputError(path.with_suffix(".json"), "file", "missing or damaged", allowed)
    lines = _whole_rows(path, settings)
    a, b = np.array(settings["a"]), np.array(settings["b"])
    if len(lines) < len(a) * len(b):
        found = f"{len(lines) // len(b)} whole ones"
        raise InputError(path, "grid rows", found, f"{len(a)}; measure it again, it goes on there")
    columns = _columns(settings)
    values = np.array([_values(line) for line in lines]).reshape(len(a), len(b), len(columns))
    by_name = {name: values[..., place] for place, name in enumerate(columns)}
    return Surface(a, b, by_name, settings)


def shared_scale(*values: np.ndarray) -> tuple[float, float]:
    """Limits that hold every finite value of several surfaces, to draw them on one scale.

    Raises:
        InputError: when no value is finite.
    """
    finite = [array[np.isfinite(array)] for array in map(np.asarray, values)]
    together = np.concatenate([np.empty(0), *finite])
    if not len(together):
        raise InputError("shared_scale", "values", "none finite", "a finite one at least")
    return float(together.min()), float(together.max())


def check_vectors(where: str, *vectors: "Tensor") -> None:
    """Refuse vectors of different lengths, of another shape than [P], or not finite."""
    for vector in vectors:
        if vector.ndim != 1 or vector.shape != vectors[0].shape:
            shapes = [tuple(v.shape) for v in vectors]
            raise InputError(where, "vectors", shapes, "vectors of one length")
        if not vector.isfinite().all():
            raise InputError(where, "vectors", "not finite", "finite numbers")


def fill(
    path: Path,
    settings: Mapping[str, Any],
    point: Callable[[float, float], tuple[float, ...]],
    report: Callable[[str], None],
) -> Surface:
    """Measure what is missing of a surface, a grid row at a time.

    Args:
        path: of the CSV file. A file of other settings is named, and written anew.
        settings: with the grid's coordinates, ``a`` and ``b``; ``columns``, where they are not
            `LOSS`.
        point: those at a grid point.
        report: called with one line about each grid row, and about a file that was found.

    Raises:
        InputError: for another suffix, or coordinates that do not ascend.
    """
    a, b = settings["a"], settings["b"]
    if path.suffix != ".csv":
        raise InputError("landscape", "path", path, "a name that ends in .csv")
    for name, values in (("a", a), ("b", b)):
        ascending = all(low < high for low, high in pairwise(values))
        if not (values and ascending and all(map(math.isfinite, values))):
            raise InputError("landscape", name, values, "finite numbers in ascending order")
    lines = _kept_lines(path, settings, report)
    # What settings cannot tell, such as another loss of the same name, the numbers do.
    if lines and lines[0] != _line(a[0], b[0], *point(a[0], b[0])):
        report(f"{path}: its first point is another today, measured anew")
        lines = []
    if not lines:
        # A job killed here must not leave the rows of one surface with the settings of another.
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path.with_suffix(".json"), to_json(settings))
    done = len(lines) // len(b)
    if done:
        report(f"{path}: goes on after row {done} of {len(a)}")
    write(path, _header(settings) + "".join(lines))
    with path.open("a") as file:
        for row in range(done, len(a)):
            values = [point(a[row], column) for column in b]
            pairs = zip(b, values, strict=True)
            file.write("".join(_line(a[row], column, *value) for column, value in pairs))
            file.flush()
            finite = [first for first, *_ in values if math.isfinite(first)] or [math.nan]
            name = _columns(settings)[0]
            shown = f"a {a[row]:.3g}, {name} {min(finite):.4g} to {max(finite):.4g}"
            report(f"{path}: row {row + 1} of {len(a)}, {shown}")
    return read_surface(path)


def _kept_lines(
    path: Path, settings: Mapping[str, Any], report: Callable[[str], None]
) -> list[str]:
    """The lines of the whole grid rows that an earlier job of the same settings left."""
    if not path.exists():
        return []
    found, wanted = _settings(path), json.loads(to_json(settings))
    if found is None:
        report(f"{path}: without its settings, measured anew")
        return []
    if found != wanted:
        names = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
        report(f"{path}: of other settings ({', '.join(names)}), measured anew")
        return []
    return _whole_rows(path, found)


def _settings(path: Path) -> dict[str, Any] | None:
    """The settings beside a CSV file; None when they are missing or damaged."""
    try:
        settings = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(settings, dict) and {"a", "b"} <= settings.keys()
    return settings if whole else None


def _whole_rows(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """The lines of the grid rows from the first on that are whole."""
    text = path.read_text(errors="replace") if path.exists() else ""
    header, *lines = text.splitlines(keepends=True) or [""]
    whole = list(_leading(lines, settings)) if header == _header(settings) else []
    columns = len(settings["b"])
    return whole[: len(whole) // columns * columns]


def _leading(lines: list[str], settings: Mapping[str, Any]) -> Iterator[str]:
    """The lines up to the first that is not what `_line` wrote for its point of the grid."""
    grid = ((a, b) for a in settings["a"] for b in settings["b"])
    for (a, b), line in zip(grid, lines, strict=False):
        try:
            found = _values(line)
        except ValueError:
            return
        if len(found) != len(_columns(settings)) or line != _line(a, b, *found):
            return
        yield line


def _columns(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What is known of a grid point."""
    return tuple(settings.get("columns", LOSS))


def _header(settings: Mapping[str, Any]) -> str:
    return ",".join(("a", "b", *_columns(settings))) + "\n"


def _line(a: float, b: float, *found: float) -> str:
    """A grid point as a line of the CSV: floats by ``repr``, empty for a value not finite."""
    values = ("" if not math.isfinite(value) else repr(value) for value in found)
    return ",".join((repr(a), repr(b), *values)) + "\n"


def _values(line: str) -> tuple[float, ...]:
    """The values of a line; NaN where it is empty."""
    _, _, *found = line.rstrip("\n").split(",")
    return tuple(float(value or "nan") for value in found)
