"""The records of runs as typed values: what a JSON file holds of what is read here, and no more.

A record may hold more than has a field. Numbers that were not finite are null.
"""

import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from samscope.config.typed import Check, T, read
from samscope.errors import InputError
from samscope.metrics import Metric

REDO = "what samscope writes; delete the file to make it anew"

Number = float | None
"""As recorded: null where it was not finite."""


def _numbers(value: list) -> bool:
    return bool(value) and all(v is None or type(v) in (int, float) for v in value)


def _rows(value: list) -> bool:
    return bool(value) and all(isinstance(row, list) and _numbers(row) for row in value)


# Checked whole: a record has thousands of them.
Numbers = Annotated[list, Check(_numbers, "a list of numbers")]
Rows = Annotated[list, Check(_rows, "lists of numbers")]


@dataclass(frozen=True, slots=True)
class Pair:
    """A number at the epoch of best validation, and at the last."""

    best_val: Number
    last: Number


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run of a spec.

    Attributes:
        seed: of it.
        digest: of spec and seed.
        numbers: of the record, by name.
        diverged: whether its loss or a weight was not finite.
    """

    seed: int
    digest: str
    numbers: Mapping[str, Pair | float | None]
    diverged: bool = False

    def value(self, metric: Metric, name: str, selection: str) -> float:
        """A metric, NaN where it was not finite, and of a diverged run.

        The class that its network names first for all images would count as an accuracy.
        """
        found = self._number(metric.read or name, selection)
        if metric.less:
            found -= self._number(metric.less, selection)
        return 100.0 - found if metric.of_hundred else found

    def _number(self, name: str, selection: str) -> float:
        held = self.numbers[name]
        found = getattr(held, selection) if isinstance(held, Pair) else held
        return math.nan if self.diverged or found is None else float(found)


@dataclass(frozen=True)
class Bounded:
    """A number and a bound of its error."""

    value: Number
    error: Number


@dataclass(frozen=True)
class Trace:
    """An estimate and the ends of its 95 % interval."""

    value: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class Worst:
    """The largest rise that was found."""

    value: Number


@dataclass(frozen=True)
class Average:
    """The mean rise and its standard error."""

    value: Number
    stderr: Number


@dataclass(frozen=True)
class Density:
    """Of eigenvalues, a row for each random vector: nodes, and weights that sum to 1."""

    nodes: Rows
    weights: Rows


@dataclass(frozen=True)
class Asymmetry:
    """|largest over smallest eigenvalue| of each mini-batch: how it scatters, and its errors."""

    median: Number
    low_quartile: Number
    high_quartile: Number
    error: Number
    ratios: Numbers


@dataclass(frozen=True)
class Pooled:
    """Over mini-batches: means of the largest, and of the positive, of their top eigenvalues.

    Records of before it was measured have no ``asymmetry``, and neither have PyHessian's.
    """

    mean_of_largest: Number
    mean_of_positive: Number
    residual: Number = math.nan
    asymmetry: Asymmetry | None = None


@dataclass(frozen=True)
class Prediction:
    """Of regions by one Hessian-vector product: percent the same, by chance, relative error."""

    rho: float
    same: Number
    chance: Number
    error: Number


@dataclass(frozen=True)
class Diagonal:
    """Of region 1 among the largest of the Hessian's diagonal, see `samscope.measure.noise`."""

    above: Number
    chance: Number
    rank_correlation: Number
    reliability: Number


@dataclass(frozen=True)
class Noise:
    """What mini-batches and rounding make of the regions: `samscope.measure.noise`."""

    rho: float
    diagonal: Diagonal
    prediction: tuple[Prediction, ...]
    float64: Numbers | None
    another_batch: Numbers | None
    shares: Numbers | None
    noise_shares: Numbers | None


@dataclass(frozen=True)
class Spectrum:
    """Of the Hessian of a run at an epoch, as `samscope.stages.curvature` measures it."""

    epoch: int
    loss: Number
    converged: bool
    largest: Numbers
    largest_residuals: Numbers
    lambda_min: Bounded
    leading_ratio: Bounded
    asymmetry: Bounded
    trace: Trace
    worst_case: Worst
    average_case: Average
    density: Density
    filtered_case: Average | None = None
    norm: Number = None
    pooled: Pooled | None = None
    noise: Noise | None = None

    @property
    def numbers(self) -> dict[str, Number]:
        """The metrics of the stage by name, without those that are not measured."""
        pooled = self.pooled
        spread = pooled and pooled.asymmetry
        return {
            "lambda_max": self.largest[0],
            "leading_ratio": self.leading_ratio.value,
            "trace": self.trace.value,
            "lambda_min": self.lambda_min.value,
            "asymmetry": self.asymmetry.value,
            "worst_case": self.worst_case.value,
            "average_case": self.average_case.value,
            "pooled_max": pooled and pooled.mean_of_largest,
            "pooled_mean": pooled and pooled.mean_of_positive,
            **({"scale_free": self._scaled(self.largest[0])} if self.norm else {}),
            **({"filtered_case": self.filtered_case.value} if self.filtered_case else {}),
            **({"batch_asymmetry": spread.median} if spread else {}),
        }

    def _scaled(self, value: Number) -> Number:
        """Times the squared norm of the weights."""
        return None if value is None or self.norm is None else value * self.norm**2


@dataclass(frozen=True)
class Measured:
    """The spectra of a run, by epoch; the last is of its last weights."""

    seed: int
    digest: str
    spectra: Annotated[tuple[Spectrum, ...], Check(bool, "spectra")]


@dataclass(frozen=True)
class Along:
    """The numbers of a run, by epoch, as `samscope.stages.of_weights` has them."""

    seed: int
    digest: str
    along: Annotated[tuple[dict[str, Number], ...], Check(bool, "numbers")]


def runs_of(path: Path, settings: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The ``runs`` of a record, by seed; none without a file, or of other settings.

    Args:
        path: of the record.
        settings: those that the record's own are to be of; None where it has none.

    Raises:
        InputError: for a truncated or malformed record, naming the file.
    """
    record = json_of(path)
    if record is None:
        return []
    found = typed(_Record, record, path, "")
    if any((settings or {}).get(name) != value for name, value in found.settings.items()):
        return []
    return sorted(found.runs, key=lambda raw: str(raw.get("seed")))


@dataclass(frozen=True)
class _Record:
    runs: tuple[dict[str, Any], ...]
    settings: dict[str, Any] = field(default_factory=dict)


def typed(kind: type[T], value: Mapping[str, Any], path: Path, at: str) -> T:
    """A value of a dataclass from a part of a record.

    Args:
        kind: of the value.
        value: as JSON gives it.
        path: of the record.
        at: where in it the part is, for messages.

    Raises:
        InputError: naming file, field and value.
    """
    try:
        return read(kind, _known(kind, value), path, at)
    except InputError as error:
        raise InputError(path, error.field.replace(".", " ", 1), error.value, REDO) from None


def _known(hint: Any, value: Any) -> Any:
    """Of a piece of a record, what a type has a field for."""
    inner = get_args(hint)
    if get_origin(hint) is Annotated:
        return _known(inner[0], value)
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in inner if is_dataclass(kind)]
        return _known(kinds[0], value) if kinds and isinstance(value, Mapping) else value
    if get_origin(hint) is tuple and isinstance(value, list):
        return [_known(inner[0], item) for item in value]
    if not (isinstance(hint, type) and is_dataclass(hint)) or not isinstance(value, Mapping):
        return value
    hints = _hints(hint)
    names = [f.name for f in fields(hint) if f.name in value]
    return {name: _known(hints[name], value[name]) for name in names}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def json_of(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(path, "file", f"not JSON ({error})", REDO) from None
    if not isinstance(value, dict):
        raise InputError(path, "file", value, REDO)
    return value
