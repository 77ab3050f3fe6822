"""Where the surfaces of a run lie, on which grids. Importable without torch or NumPy."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.spec import Cell
from samscope.stages import trained
from samscope.stages.run import Run
from samscope.store import records

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.measure.inputs import Inputs
    from samscope.measure.objective import BatchNorm
    from samscope.measure.surface import Plane, Segment
    from samscope.tasks.samples import Splits


def surfaces(
    run: Run[Cell], model: "nn.Module", splits: "Splits", loss: Callable, x: "Inputs", y: "Tensor"
) -> "Iterator[tuple[str, Plane | Segment, list, list, BatchNorm, dict[str, Any]]]":
    """Kind, place, coordinates, use of batch normalisation, and facts of each surface."""
    from samscope.measure.landscape import random_plane, trajectory_plane, weights
    from samscope.measure.surface import Plane, Segment

    reach, points = run.settings["reach"], run.settings["points"]
    grid, fine = grid_of(-reach, reach, points), grid_of(-reach, reach, 2 * points - 1)
    plane, seed = random_plane(model, run.seed), {"seed": run.seed}
    yield "line", Plane(plane.origin, plane.directions[:1]), fine, [0.0], "eval", seed
    yield "random", plane, grid, grid, "eval", seed
    vectors, values = _leading(model, loss, x, y, run.seed)
    yield "eigen", Plane(plane.origin, vectors), grid, grid, "eval", {"eigenvalues": values}
    epochs, states = _training(run, splits)
    if len(states) > 2:
        path = trajectory_plane(model, states)
        a, b = (grid_of(*_around(path.coordinates[:, i].tolist()), points) for i in range(2))
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
        line = grid_of(-0.5, 1.5, 2 * points - 1)
        place = Segment(start, weights(model))
        yield "between", place, line, [0.0], "batch", {"reference": run.identity["reference"]}


def convexity(
    run: Run[Cell],
    model: "nn.Module",
    loss: Callable,
    x: "tuple[Tensor, ...]",
    y: "Tensor",
    path: Path,
    about: dict[str, Any],
) -> None:
    """The surface of the ratio of the Hessian's extreme eigenvalues, on the plane of ``random``."""
    from samscope.measure.convexity import measure_convexity
    from samscope.measure.landscape import random_plane
    from samscope.seeding import derive

    reach, points = run.settings["reach"], run.settings["convexity_points"]
    count = run.settings["convexity_images"] or len(y)
    chosen, grid = tuple(tensor[:count] for tensor in x), grid_of(-reach, reach, points)
    plane, drawn = random_plane(model, run.seed), derive(run.seed, "landscape")
    measure_convexity(
        *(model, loss, chosen, y[:count], plane, grid, grid, path, about),
        seed=drawn,
        report=lambda line: None,
    )


def _leading(
    model: "nn.Module", loss: Callable, x: "Inputs", y: "Tensor", seed: int
) -> "tuple[Tensor, list[float]]":
    """The two leading eigenvectors [2, P] and their eigenvalues."""
    from samscope.measure.flatness import TOLERANCE
    from samscope.measure.hessian import Hessian
    from samscope.measure.lanczos import spectrum
    from samscope.measure.objective import MeanLoss
    from samscope.seeding import derive

    hessian = Hessian(MeanLoss(model, loss, (x, y)))
    drawn = derive(seed, "landscape")
    found = spectrum(hessian, 2, TOLERANCE, seed=drawn, eigenvectors=True).largest
    if found.vectors is None:
        raise LookupError("a spectrum without the eigenvectors that it was asked for")
    return found.vectors, list(found.values)


def _training(run: Run[Cell], splits: "Splits") -> "tuple[list[int], list[Mapping[str, Tensor]]]":
    """The epochs of a training whose weights are known, and those: its start, kept ones, its end.

    Kept weights that are of another training are refused with the record, see `records.read_run`.
    """
    from safetensors.torch import load_file

    from samscope import models

    model, nudge = run.spec.model, run.spec.numerics.nudge
    start = models.build(model, *splits.sizes, seed=run.seed, nudge=nudge).state_dict()
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


def grid_of(low: float, high: float, points: int) -> list[float]:
    """Ascending coordinates, one of them exactly 0 and the others evenly spaced on either side."""
    import numpy as np

    values = np.linspace(low, high, points).round(6)
    values[np.abs(values).argmin()] = 0.0
    return sorted(set(values.tolist()))
