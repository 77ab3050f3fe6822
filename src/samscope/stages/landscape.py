"""The loss around the last weights of a run: on planes, on a line, and towards another solution.

Of the same sample, labels and loss as `samscope.stages.curvature`. A run's surfaces lie
beside its weights, ``seed=<n>/landscape-<kind>.csv`` and ``.json``, and travel with its records.

Importable without torch.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# Not from the package: an edit of the engine would then measure every run anew.
import samscope.store.records as records
from samscope.errors import InputError
from samscope.measure.surface import read_surface
from samscope.spec import Cell
from samscope.stages import trained
from samscope.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.data import Dataset
    from samscope.measure.objective import BatchNorm
    from samscope.measure.surface import Plane, Segment

NAME = "landscape.json"

KINDS = {
    "line": "one filter-normalised random direction",
    "random": "two filter-normalised random directions",
    "eigen": "the two leading eigenvectors of the Hessian, unit length",
    "trajectory": "the two principal components of the training, from its initial weights on",
    "between": "from the reference's solution, at 0, to this one, at 1",
}
"""The surfaces of a run. ``between`` needs the solution of a reference, and batch statistics."""

_SETTINGS = ("images", "points", "reach")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its cell and its seed."""

    folder: Path
    cell: Cell
    seed: int


def measure_cell(
    run: Run,
    reference: Run | None,
    data_dir: str | Path,
    used: Mapping[str, Any],
    report: Report = print,
) -> None:
    """Measure the surfaces of a run and write ``landscape.json`` of its cell.

    What is there is kept; a job that was killed goes on at the first grid row that is missing.

    Args:
        run: in the folder of its cell.
        reference: of the same model and data, whose solution ``between`` starts from; None for
            the reference itself.
        data_dir: folder of the data sets.
        used: see `used_settings`.
        report: called with one line about each surface.

    Raises:
        InputError: for a run that is missing, damaged or without its weights, or settings out of
            range.
    """
    with records.locked(run.folder.parent, report):
        if is_measured(run, reference, used):
            report(f"{run.cell.id}/seed={run.seed} landscape kept")
        else:
            measure_run(run, reference, trained.resident(run.cell, data_dir), used, report)
        assemble(run, reference, used)


def used_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the ``landscape`` of a profile's scale that decide the numbers."""
    return {name: settings[name] for name in _SETTINGS}


def is_measured(run: Run, reference: Run | None, used: Mapping[str, Any]) -> bool:
    """Whether a run's surfaces need not, or can no more, be measured.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    trained.trained_epochs(run.folder, run.cell, run.seed)
    record = read(run, reference, used)
    weights = (run.folder / records.WEIGHTS).exists()
    return record is not None and (record["code"] == _code() or not weights)


def read(run: Run, reference: Run | None, used: Mapping[str, Any]) -> dict[str, Any] | None:
    """A run's record of its surfaces; None without one of this run with these settings."""
    try:
        record = json.loads((run.folder / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    wanted = {"digest": run.cell.digest(run.seed), "settings": dict(used)}
    wanted["reference"] = reference and reference.cell.digest(reference.seed)
    if not isinstance(record, dict) or any(record.get(k) != v for k, v in wanted.items()):
        return None
    files = {name: run.folder / name for name in record["sha256"]}
    whole = all(p.exists() and _sha256(p) == record["sha256"][n] for n, p in files.items())
    return record if whole else None


def measure_run(
    run: Run, reference: Run | None, data: "Dataset", used: Mapping[str, Any], report: Report
) -> None:
    """Measure the surfaces of one run and write its record; the caller holds the cell's lock.

    Raises:
        InputError: for a run without its weights, or settings out of range.
    """
    import torch.nn.functional as F

    from samscope.measure.landscape import measure_surface
    from samscope.seeding import make_deterministic

    begin = time.perf_counter()
    make_deterministic(run.cell.threads)
    model = trained.model(run.folder / records.WEIGHTS, run.cell, run.seed, data)
    x, y = trained.sample(run.cell, data, used["images"], run.seed)
    about = {"digest": run.cell.digest(run.seed), "loss": "cross_entropy", "code": _code()}
    sums, silent = {}, lambda line: None
    for kind, where, a, b, policy, facts in _surfaces(run, reference, model, data, x, y, used):
        path = run.folder / f"landscape-{kind}.csv"
        settings = {**about, "kind": kind, **facts}
        measure_surface(model, F.cross_entropy, x, y, where, a, b, policy, path, settings, silent)
        for name in (path.name, path.with_suffix(".json").name):
            sums[name] = _sha256(run.folder / name)
        report(f"{run.cell.id}/seed={run.seed} {kind}: {len(a)} x {len(b)} points")
    record = {
        "digest": about["digest"],
        "reference": reference and reference.cell.digest(reference.seed),
        "settings": dict(used),
        "code": _code(),
        "sha256": sums,
    }
    records.write(run.folder / NAME, records.to_json(record))
    seconds = time.perf_counter() - begin
    facts = {"seconds": seconds, "device": str(data.train_x.device), "code": _code()}
    records.annotate(run.folder, {"landscape": facts})


def assemble(run: Run, reference: Run | None, used: Mapping[str, Any]) -> None:
    """Write a cell's landscape.json where its run has its surfaces."""
    record = read(run, reference, used)
    if record is not None:
        about = {"seed": run.seed, "digest": record["digest"], "sha256": record["sha256"]}
        whole = {"cell": run.cell.id, "settings": dict(used), "runs": [about]}
        records.write(run.folder.parent / NAME, records.to_json(whole))


def available(run: Path) -> dict[str, Path]:
    """The finished surfaces in a run's folder, by kind."""
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
    run: Run,
    reference: Run | None,
    model: "nn.Module",
    data: "Dataset",
    x: "Tensor",
    y: "Tensor",
    used: Mapping[str, Any],
) -> "Iterator[tuple[str, Plane | Segment, list, list, BatchNorm, dict[str, Any]]]":
    """Kind, place, coordinates, use of batch normalisation, and facts of each surface."""
    from samscope.measure.landscape import random_plane, trajectory_plane, weights
    from samscope.measure.surface import Plane, Segment

    grid = _grid(-used["reach"], used["reach"], used["points"])
    fine = _grid(-used["reach"], used["reach"], 2 * used["points"] - 1)
    plane, seed = random_plane(model, run.seed), {"seed": run.seed}
    yield "line", Plane(plane.origin, plane.directions[:1]), fine, [0.0], "eval", seed
    yield "random", plane, grid, grid, "eval", seed
    vectors, values = _leading(model, x, y, run.seed)
    yield "eigen", Plane(plane.origin, vectors), grid, grid, "eval", {"eigenvalues": values}
    epochs, states = _training(run, data)
    if len(states) > 2:
        path = trajectory_plane(model, states)
        a, b = (_grid(*_around(path.coordinates[:, i].tolist()), used["points"]) for i in range(2))
        facts = {
            "epochs": epochs,
            "coordinates": path.coordinates.tolist(),
            "distances": path.distances.tolist(),
            "explained": path.explained.tolist(),
        }
        yield "trajectory", path.plane, a, b, "eval", facts
    if reference is not None:
        other = reference.folder / records.WEIGHTS
        trained.trained_epochs(reference.folder, reference.cell, reference.seed)
        start = weights(trained.model(other, reference.cell, reference.seed, data))
        line = _grid(-0.5, 1.5, 2 * used["points"] - 1)
        facts = {"reference": reference.cell.digest(reference.seed)}
        yield "between", Segment(start, weights(model)), line, [0.0], "batch", facts


def _leading(
    model: "nn.Module", x: "Tensor", y: "Tensor", seed: int
) -> "tuple[Tensor, list[float]]":
    """The two leading eigenvectors [2, P] and their eigenvalues."""
    import torch.nn.functional as F

    from samscope.measure.curvature import TOLERANCE
    from samscope.measure.hessian import Hessian
    from samscope.measure.lanczos import spectrum
    from samscope.measure.objective import MeanLoss
    from samscope.seeding import derive

    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y)))
    drawn = derive(seed, "landscape")
    found = spectrum(hessian, 2, TOLERANCE, seed=drawn, eigenvectors=True).largest
    return found.vectors, list(found.values)


def _training(run: Run, data: "Dataset") -> "tuple[list[int], list[Mapping[str, Tensor]]]":
    """The epochs of a training whose weights are known, and those: its start, kept ones, its end.

    Kept weights that are of another training are refused with the record, see `records.read_run`.
    """
    from safetensors.torch import load_file

    from samscope import models

    start = models.build(run.cell.model, data.num_classes, data.channels, run.seed).state_dict()
    epochs, states = [0], [start]
    for name, epoch in records.snapshots(run.folder).items():
        epochs.append(epoch)
        states.append(load_file(run.folder / name))
    last = trained.trained_epochs(run.folder, run.cell, run.seed)
    return [*epochs, last], [*states, load_file(run.folder / records.WEIGHTS)]


def _around(coordinates: list[float]) -> tuple[float, float]:
    """Limits with a fifth of their range to spare on either side."""
    low, high = min(coordinates), max(coordinates)
    spare = (high - low or 1.0) / 5
    return low - spare, high + spare


def _grid(low: float, high: float, points: int) -> list[float]:
    """Ascending coordinates, one of them exactly 0 and the others evenly spaced on either side."""
    values = np.linspace(low, high, points).round(6)
    values[np.abs(values).argmin()] = 0.0
    return sorted(set(values.tolist()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _code() -> str:
    """Digest of the code that measures."""
    return fingerprint(__name__)
