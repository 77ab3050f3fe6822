"""The loss around the last weights of a run: on planes, on a line, and towards another solution.

Of the same sample, targets and loss as `samscope.stages.curvature`. A run's surfaces lie beside its
weights, ``seed=<n>/landscape-<kind>.csv`` and ``.json``, and travel with its records.

Importable without torch or NumPy.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Check, Count, Whole, among, between
from samscope.digests import digest
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import json_record, planes, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records

if TYPE_CHECKING:
    from samscope.stages.bench import Bench

RECORD = "landscape.json"

KINDS = {
    "line": "one filter-normalised random direction",
    "random": "two filter-normalised random directions",
    "eigen": "the two leading eigenvectors of the Hessian, unit length",
    "trajectory": "the two principal components of the training, from its initial weights on",
    "between": "from the reference's solution, at 0, to this one, at 1",
}
"""The surfaces of loss and accuracy of a run. ``between`` needs the solution of a reference, and
batch statistics."""

CONVEXITY = "convexity"
"""One more: on the plane of ``random`` the ratio of the Hessian's extreme eigenvalues, where the
settings ask for it. See `samscope.measure.convexity`."""

_CONVEXITY = ("convexity_points", "convexity_images")


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured. Lines to the others of a model begin from the
            first, in the order of the values listed.
        seed: the run of a cell that is measured.
        images: training inputs of the fixed sample.
        points: of a grid, on a side.
        reach: how far from the weights, in lengths of the directions.
        convexity_points: of the grid of `CONVEXITY`, on a side; 0: it is not measured.
        convexity_images: the first of the sample, of which it is; None: all of them.

    Raises:
        InputError: for more of these than the sample has.
    """

    where: dict[str, Any]
    seed: Whole
    images: Count
    points: Annotated[int, between(3, 1001, "a whole number from 3 to 1001")]
    reach: Annotated[float, Check(lambda r: 0 < r <= 1e6, "a number above 0, to 1e6")]
    convexity_points: Annotated[int, Check(lambda n: n == 0 or n >= 3, "0, or from 3")] = 0
    convexity_images: Count | None = None

    def __post_init__(self) -> None:
        if (self.convexity_images or 0) > self.images:
            allowed = f"{self.images} at most, the images"
            raise InputError("stages.landscape", "convexity_images", self.convexity_images, allowed)

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The one, where it is planned."""
        return tuple(seed for seed in planned if seed == self.seed)

    def used(self) -> dict[str, Any]:
        """What decides the numbers; of what is not measured, nothing."""
        without = {"where", "seed", *(() if self.convexity_points else _CONVEXITY)}
        return {k: v for k, v in asdict(self).items() if k not in without}


def reference(chosen: Sequence[Cell], cell: Cell) -> Cell | None:
    """The first of the chosen cells with a cell's model and task; None for the first itself."""
    same = (other for other in chosen if (other.model, other.task) == (cell.model, cell.task))
    first = next(same)
    return None if first == cell else first


def make(run: Run[Cell], bench: "Bench", report: Report, until: float = math.inf) -> bool:
    """Measure the surfaces of one run and write its record; the caller holds the cell's lock.

    What is there is kept; a job that was killed goes on at the first grid row that is missing.

    Args:
        run: whose training has a whole record, as its reference's has.
        bench: where.
        report: called with one line about each surface.
        until: not heeded.

    Raises:
        InputError: for a run without its weights, or settings out of range.
    """
    from samscope.losses import loss
    from samscope.measure.landscape import measure_surface
    from samscope.seeding import make_deterministic

    begin, cell = time.perf_counter(), run.spec
    if cell.start != "seed":
        raise InputError(cell.id, "landscape of start", cell.start, "seed, where a training begins")
    code = _code(cell)
    make_deterministic(cell.numerics.threads)
    splits = bench.splits(cell.task)
    model = trained.model(run.folder / records.WEIGHTS, cell, run.seed, splits)
    x, y = trained.sample(cell, splits, run.settings["images"], run.seed)
    of_task = loss(cell.task.loss, cell.task.smoothing)
    about = {"digest": run.identity["digest"], "loss": cell.task.loss, "code": code}
    silent, made = (lambda line: None), []
    for kind, where, a, b, policy, facts in planes.surfaces(run, model, splits, of_task, x, y):
        path = run.folder / f"landscape-{kind}.csv"
        settings = {**about, "kind": kind, **facts}
        measure_surface(model, of_task, x, y, where, a, b, policy, path, settings, silent)
        made.append(path)
        report(f"{run.name} {kind}: {len(a)} x {len(b)} points")
    if run.settings.get("convexity_points"):
        made.append(run.folder / f"landscape-{CONVEXITY}.csv")
        settings = {**about, "kind": CONVEXITY}
        planes.convexity(run, model, of_task, x, y, made[-1], settings)
        report(f"{run.name} {CONVEXITY}")
    files = [file for path in made for file in (path, path.with_suffix(".json"))]
    sums = {file.name: _sha256(file) for file in files}
    held = {"reference": run.identity["reference"], "code": code, "sha256": sums}
    json_record.write(run, RECORD, held)
    seconds = time.perf_counter() - begin
    records.annotate(run.folder, {"landscape": trained.told(seconds, splits.device, code)})
    return True


def read(run: Run[Cell]) -> dict[str, Any] | None:
    """A run's record of its surfaces; None without one of this run with these settings."""
    held = json_record.found(run, RECORD, Recorded)
    if held is None:
        return None
    files = {name: run.folder / name for name in held["sha256"]}
    whole = all(p.exists() and _sha256(p) == held["sha256"][n] for n, p in files.items())
    return held if whole else None


def is_made(run: Run[Cell]) -> bool:
    """Whether a run's surfaces need not, or can no more, be measured.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    trained.whole_length(run)
    held = read(run)
    weights = (run.folder / records.WEIGHTS).exists()
    return held is not None and (held["code"] == _code(run.spec) or not weights)


def lacking(run: Run[Cell]) -> list[Path]:
    """The weights, its own or the reference's, that are gone."""
    paths = (need.folder / records.WEIGHTS for need in run.needs)
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run[Cell]]) -> None:
    """Write a cell's landscape.json where its run has its surfaces."""
    json_record.put_together(runs, RECORD, read, lambda held: {"sha256": held["sha256"]})


def available(run: Path) -> dict[str, Path]:
    """The finished surfaces in a run's folder, by kind."""
    found = {}
    for kind in (*KINDS, CONVEXITY):
        try:
            found[kind] = _whole(run, kind)
        except records.BadRecord:
            continue
    return found


def check(run: Path) -> None:
    """Refuse a surface in a run's folder that no measurement has written.

    Raises:
        BadRecord: for it.
    """
    present = {path.stem for path in run.glob("landscape-*.*")}
    for kind in (k for k in (*KINDS, CONVEXITY) if f"landscape-{k}" in present):
        _whole(run, kind)


def _whole(run: Path, kind: str) -> Path:
    """The file of a run's surface of a kind, which is one.

    Raises:
        BadRecord: where it is none, or not finished.
    """
    from samscope.measure.surface import read_surface

    path = run / f"landscape-{kind}.csv"
    try:
        found = read_surface(path)
        told, lines = found.settings["about"].get("kind", kind), path.read_text().count("\n")
        percent = found.values.get("accuracy", ())
        fits = (
            told == kind
            and lines == 1 + len(found.a) * len(found.b) > 1
            and all(math.isnan(v) or 0 <= v <= 100.001 for row in percent for v in row)
        )
    except (InputError, OSError) as error:
        raise records.BadRecord(f"{path.name}: {error}") from None
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise records.BadRecord(f"{path.name} is no surface ({error!r})") from None
    except AttributeError:
        raise records.BadRecord(f"{path.name[:-4]}.json says nothing about it") from None
    if not fits:
        raise records.BadRecord(f"{path.name} is no surface of the kind {kind}")
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _code(cell: Cell) -> str:
    """Digest of the code that measures the runs of a cell."""
    task, loss = f"{cell.task.kind.module}:prepare", f"samscope.losses:{cell.task.loss}"
    own = (f"samscope.stages.planes:{name}" for name in ("surfaces", "convexity"))
    also = ("samscope.measure.landscape:measure_surface", "samscope.stages.trained:sample")
    return digest(*own, *also, task, loss)


_SURFACES = tuple(
    f"landscape-{kind}.{ending}" for kind in (*KINDS, CONVEXITY) for ending in ("csv", "json")
)


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds: of which code, and the checksums of its files."""

    code: str
    sha256: dict[Annotated[str, among(_SURFACES)], str]


STAGE = Stage(
    *("landscape", Cell, RECORD, (RECORD, *_SURFACES), Recorded, make, read, is_made, assemble),
    settings=Settings,
    lacking=lacking,
    reference=reference,
    check=check,
    holds_weights=True,
    code=_code,
)
