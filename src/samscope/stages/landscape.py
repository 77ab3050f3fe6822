"""The loss around the last weights of a run: on planes, on a line, and towards another solution.

Of the same sample, targets and loss as `samscope.stages.curvature`. A run's surfaces lie beside its
weights, ``seed=<n>/landscape-<kind>.csv`` and ``.json``, and travel with its records.

Importable without torch or NumPy.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Count, Positive, Whole, between
from samscope.digests import digest
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.measure.objective import BatchNorm
    from samscope.measure.surface import Plane, Segment
    from samscope.stages.bench import Bench
    from samscope.tasks.samples import Splits

RECORD = "landscape.json"

KINDS = {
    "line": "one filter-normalised random direction",
    "random": "two filter-normalised random directions",
    "eigen": "the two leading eigenvectors of the Hessian, unit length",
    "trajectory": "the two principal components of the training, from its initial weights on",
    "between": "from the reference's solution, at 0, to this one, at 1",
}
"""The surfaces of a run. ``between`` needs the solution of a reference, and batch statistics."""


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
    """

    where: dict[str, Any]
    seed: Whole
    images: Count
    points: Annotated[int, between(3, math.inf, "a whole number from 3")]
    reach: Positive

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The one, where it is planned."""
        return tuple(seed for seed in planned if seed == self.seed)

    def used(self) -> dict[str, Any]:
        """What decides the numbers."""
        return {k: v for k, v in asdict(self).items() if k not in ("where", "seed")}


def reference(chosen: Sequence[Cell], cell: Cell) -> Cell | None:
    """The first of the chosen cells with a cell's model and task; None for the first itself."""
    same = (other for other in chosen if (other.model, other.task) == (cell.model, cell.task))
    first = next(same)
    return None if first == cell else first


def make(run: Run, bench: "Bench", report: Report, until: float = math.inf) -> bool:
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
    code = _code(cell)
    make_deterministic(cell.numerics.threads)
    splits = bench.splits(cell.task)
    model = trained.model(run.folder / records.WEIGHTS, cell, run.seed, splits)
    inputs, y = trained.sample(cell, splits, run.settings["images"], run.seed)
    x, of_task = trained.only(cell, inputs), loss(cell.task.loss, cell.task.smoothing)
    about = {"digest": run.identity["digest"], "loss": cell.task.loss, "code": code}
    sums, silent = {}, lambda line: None
    for kind, where, a, b, policy, facts in _surfaces(run, model, splits, of_task, x, y):
        path = run.folder / f"landscape-{kind}.csv"
        settings = {**about, "kind": kind, **facts}
        measure_surface(model, of_task, x, y, where, a, b, policy, path, settings, silent)
        for name in (path.name, path.with_suffix(".json").name):
            sums[name] = _sha256(run.folder / name)
        report(f"{run.name} {kind}: {len(a)} x {len(b)} points")
    held = {"reference": run.identity["reference"], "code": code, "sha256": sums}
    json_record.write(run, RECORD, held)
    seconds = time.perf_counter() - begin
    facts = {"seconds": seconds, "device": str(splits.device), "code": code}
    records.annotate(run.folder, {"landscape": facts})
    return True


def read(run: Run) -> dict[str, Any] | None:
    """A run's record of its surfaces; None without one of this run with these settings."""
    held = json_record.found(run, RECORD)
    if held is None:
        return None
    files = {name: run.folder / name for name in held["sha256"]}
    whole = all(p.exists() and _sha256(p) == held["sha256"][n] for n, p in files.items())
    return held if whole else None


def is_made(run: Run) -> bool:
    """Whether a run's surfaces need not, or can no more, be measured.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    trained.trained_length(run.folder, run.spec, run.seed)
    held = read(run)
    weights = (run.folder / records.WEIGHTS).exists()
    return held is not None and (held["code"] == _code(run.spec) or not weights)


def lacking(run: Run) -> list[Path]:
    """The weights, its own or the reference's, that are gone."""
    paths = (need.folder / records.WEIGHTS for need in run.needs)
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run]) -> None:
    """Write a cell's landscape.json where its run has its surfaces."""
    json_record.put_together(runs, RECORD, read, lambda held: {"sha256": held["sha256"]})


def available(run: Path) -> dict[str, Path]:
    """The finished surfaces in a run's folder, by kind."""
    from samscope.measure.surface import read_surface

    found = {}
    for kind in KINDS:
        path = run / f"landscape-{kind}.csv"
        try:
            read_surface(path)
        except InputError:
            continue
        found[kind] = path
    return found


def _surfaces(
    run: Run, model: "nn.Module", splits: "Splits", loss: Callable, x: "Tensor", y: "Tensor"
) -> "Iterator[tuple[str, Plane | Segment, list, list, BatchNorm, dict[str, Any]]]":
    """Kind, place, coordinates, use of batch normalisation, and facts of each surface."""
    from samscope.measure.landscape import random_plane, trajectory_plane, weights
    from samscope.measure.surface import Plane, Segment

    reach, points = run.settings["reach"], run.settings["points"]
    grid, fine = _grid(-reach, reach, points), _grid(-reach, reach, 2 * points - 1)
    plane, seed = random_plane(model, run.seed), {"seed": run.seed}
    yield "line", Plane(plane.origin, plane.directions[:1]), fine, [0.0], "eval", seed
    yield "random", plane, grid, grid, "eval", seed
    vectors, values = _leading(model, loss, x, y, run.seed)
    yield "eigen", Plane(plane.origin, vectors), grid, grid, "eval", {"eigenvalues": values}
    epochs, states = _training(run, splits)
    if len(states) > 2:
        path = trajectory_plane(model, states)
        a, b = (_grid(*_around(path.coordinates[:, i].tolist()), points) for i in range(2))
        facts = {
            "epochs": epochs,
            "coordinates": path.coordinates.tolist(),
            "distances": path.distances.tolist(),
            "explained": path.explained.tolist(),
        }
        yield "trajectory", path.plane, a, b, "eval", facts
    other = run.reference
    if other is not None:
        trained.trained_length(other.folder, other.spec, other.seed)
        file = other.folder / records.WEIGHTS
        start = weights(trained.model(file, other.spec, other.seed, splits))
        line = _grid(-0.5, 1.5, 2 * points - 1)
        facts = {"reference": run.identity["reference"]}
        yield "between", Segment(start, weights(model)), line, [0.0], "batch", facts


def _leading(
    model: "nn.Module", loss: Callable, x: "Tensor", y: "Tensor", seed: int
) -> "tuple[Tensor, list[float]]":
    """The two leading eigenvectors [2, P] and their eigenvalues."""
    from samscope.measure.curvature import TOLERANCE
    from samscope.measure.hessian import Hessian
    from samscope.measure.lanczos import spectrum
    from samscope.measure.objective import MeanLoss
    from samscope.seeding import derive

    hessian = Hessian(MeanLoss(model, loss, (x, y)))
    drawn = derive(seed, "landscape")
    found = spectrum(hessian, 2, TOLERANCE, seed=drawn, eigenvectors=True).largest
    return found.vectors, list(found.values)


def _training(run: Run, splits: "Splits") -> "tuple[list[int], list[Mapping[str, Tensor]]]":
    """The epochs of a training whose weights are known, and those: its start, kept ones, its end.

    Kept weights that are of another training are refused with the record, see `records.read_run`.
    """
    from safetensors.torch import load_file

    from samscope import models

    start = models.build(run.spec.model, *splits.sizes, seed=run.seed).state_dict()
    epochs, states = [0], [start]
    for name, epoch in records.snapshots(run.folder).items():
        epochs.append(epoch)
        states.append(load_file(run.folder / name))
    last = trained.trained_length(run.folder, run.spec, run.seed)
    return [*epochs, last], [*states, load_file(run.folder / records.WEIGHTS)]


def _around(coordinates: list[float]) -> tuple[float, float]:
    """Limits with a fifth of their range to spare on either side."""
    low, high = min(coordinates), max(coordinates)
    spare = (high - low or 1.0) / 5
    return low - spare, high + spare


def _grid(low: float, high: float, points: int) -> list[float]:
    """Ascending coordinates, one of them exactly 0 and the others evenly spaced on either side."""
    import numpy as np

    values = np.linspace(low, high, points).round(6)
    values[np.abs(values).argmin()] = 0.0
    return sorted(set(values.tolist()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _code(cell: Cell) -> str:
    """Digest of the code that measures the runs of a cell."""
    task, loss = f"{cell.task.kind.module}:prepare", f"samscope.losses:{cell.task.loss}"
    own = (f"{__name__}:_surfaces", "samscope.measure.landscape:measure_surface")
    return digest(*own, "samscope.stages.trained:sample", task, loss)


STAGE = Stage(
    *("landscape", Cell, RECORD, make, read, is_made, assemble),
    settings=Settings,
    lacking=lacking,
    reference=reference,
    holds_weights=True,
    code=_code,
)
