"""Mode connectivity: a path between the last weights of two runs, trained and evaluated.

One pair is one run. Its record ``seed=<n>/curve.json`` holds the numbers of the path by ``t``
(``path``), those of the whole of it by the names of metrics, and the loss of each epoch of its
training (``history``), and where it is asked for the loss over a plane (``plane``) and how far the
bend is from the line of the ends, over their distance (``bend``). Statistics of batch normalisation
are computed anew at every t. Importable without torch.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.spec import Cell, Curve
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records
from samscope.store.recorded import Number, Numbers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.stages.bench import Bench
    from samscope.tasks.samples import Splits
    from samscope.train.feed import Batches, Feed

RECORD = "curve.json"


def make(run: Run[Any], bench: "Bench", report: Report, until: float = math.inf) -> bool:
    """Train and evaluate the path of a pair and write its record; the caller holds the lock.

    A job that was killed goes on from its last state, to the same bits.

    Args:
        run: whose ends are trained and have their weights.
        bench: where.
        report: called with one line about the pair, and about each state used or passed over.
        until: see `samscope.train.bends.train`.

    Returns:
        Whether it came to its end in time.

    Raises:
        InputError: for an end that is missing, damaged, without its weights, or of another model.
    """
    import torch

    from samscope.measure import paths
    from samscope.seeding import make_deterministic
    from samscope.store import state
    from samscope.store.provenance import collect
    from samscope.train import bends
    from samscope.train.feed import Feed
    from samscope.train.flat import flatten

    begin, curve, threads = time.perf_counter(), run.spec, run.spec.numerics.threads
    make_deterministic(threads)
    splits, provenance = bench.splits(curve.task), collect(bench.device_name, threads)
    run.folder.mkdir(exist_ok=True)
    ends = [_solution(end, splits) for end in run.needs]
    model = ends[1]
    start, end, *third = (flatten(list(m.parameters())) for m in ends)
    points = paths.straight(start, end, curve.bends)
    longer = curve.cell.but(epochs=curve.cell.budget.epochs + curve.curve_epochs)
    feed = Feed(longer, run.needs[0].seed, splits)
    history: list[dict[str, Any]] | None = []
    if curve.path != "line":
        pair = (model, end, points, feed)
        history = bends.train(curve, run.seed, *pair, run.folder, report, until)
        if history is None:
            return False
    n = curve.bends + 1
    ts = torch.linspace(0, 1, curve.points, dtype=torch.float64).tolist()
    along = [paths.at(points, paths.PATHS[curve.path](t, n)) for t in ts]
    found = [_evaluated(curve, model, end, phi, feed) for phi in along]
    path = {name: [of[name] for of in found] for name in found[0]}
    numbers = summary(ts, path, paths.steps(along), paths.steps([along[0], along[-1]])[0])
    held = {**numbers, "path": {"t": ts, **path}, "history": history}
    if curve.plane:
        beside = third[0] if third else points[1]
        plane = held["plane"] = _plane(curve, model, end, points, beside, along, feed)
        if not third:
            _, (apart, _), (_, away) = plane["points"]
            held["bend"] = away / apart
    json_record.write(run, RECORD, held)
    about = {**provenance, "seconds": time.perf_counter() - begin}
    records.write(run.folder / "provenance.json", records.to_json(about))
    state.remove(run.folder)
    told = f"loss to {numbers['max_train_loss']:.4g} ({path['train_loss'][0]:.4g} and"
    ends_told = f"{path['train_loss'][-1]:.4g} at its ends), {about['seconds']:.1f} s"
    report(f"{run.name} {told} {ends_told}")
    return True


def summary(
    ts: Sequence[float],
    path: Mapping[str, Sequence[float]],
    steps: Sequence[float],
    distance: float,
) -> dict[str, float]:
    """The numbers of a whole path, by the names of metrics.

    Args:
        ts: where it is evaluated, from 0 to 1.
        path: by quantity, its value at each.
        steps: distance of the weights from each t to the next.
        distance: of the ends.
    """
    from samscope.measure import paths

    found = {"distance": distance, "stretch": sum(steps) / distance if distance else math.nan}
    for name, values in path.items():
        means = sum(values) / len(values), paths.over_length(values, steps)
        found |= {f"min_{name}": min(values), f"max_{name}": max(values)}
        found |= {f"mean_{name}": means[0], f"along_{name}": means[1]}
        found[f"barrier_{name}"] = paths.barrier(ts, values)
    return found


def _solution(end: Run[Cell], splits: "Splits") -> "nn.Module":
    """The model of a finished run at its last weights."""
    trained.whole_length(end)
    return trained.model(end.folder / records.WEIGHTS, end.spec, end.seed, splits)


def _plane(
    curve: Curve,
    model: "nn.Module",
    w: "Tensor",
    points: "Tensor",
    third: "Tensor",
    along: Sequence["Tensor"],
    feed: "Feed",
) -> dict[str, Any]:
    """The training loss, and with decay, over the plane of the ends and a third point.

    Returns:
        ``x`` and ``y``, in distances between weights, from a fifth of the extent before the points
        to a fifth beyond; ``train_loss`` and ``objective``, a row for each y; ``points``, where the
        ends and the third are; ``path``, where it is at each t.
    """
    import torch

    from samscope.measure import paths

    first = points[0].double()
    axes, places = paths.plane(points[0], points[-1], third)
    spans = (places[1][0], places[2][1])
    x, y = (torch.linspace(-0.2, 1.2, curve.plane, dtype=first.dtype) * span for span in spans)
    found: dict[str, Any] = {"train_loss": [], "objective": []}
    for b in y.tolist():
        phis = ((first + a * axes[0] + b * axes[1]).to(w.dtype) for a in x.tolist())
        row = [_evaluated(curve, model, w, phi, feed, ("train",)) for phi in phis]
        for name, rows in found.items():
            rows.append([at[name] for at in row])
    walked = [(axes @ (phi.double() - first)).tolist() for phi in along]
    return {"x": x.tolist(), "y": y.tolist(), **found, "points": places, "path": walked}


def _evaluated(
    curve: Curve,
    model: "nn.Module",
    w: "Tensor",
    phi: "Tensor",
    feed: "Feed",
    parts: Sequence[str] = ("train", "test"),
) -> dict[str, float]:
    """Loss and error of training and test samples, as they are, and the objective, at phi."""
    from samscope.optim.batchnorm import refresh
    from samscope.train.engine import evaluate

    w.copy_(phi)
    # With augmentation where there is one, as in the source; the same batches at every t.
    refresh(model, (inputs for inputs, _ in feed.training(0)))
    splits = {"train": lambda: _training(curve, feed), "test": feed.test}
    found = {name: evaluate(model, splits[name](), curve.task) for name in parts}
    told = {f"{split}_loss": of["loss"] for split, of in found.items()}
    scored = {split: of for split, of in found.items() if "acc_percent" in of}
    told |= {f"{split}_error_percent": 100 - of["acc_percent"] for split, of in scored.items()}
    decay = 0.5 * curve.curve_decay * phi.double().square().sum().item()
    return told | {"objective": told["train_loss"] + decay}


def _training(curve: Curve, feed: "Feed") -> "Batches":
    """The training samples as they are, in order, with the targets that the first end had."""
    from samscope import tasks
    from samscope.train.feed import EVALUATION_BATCH

    samples, task = feed.splits.train, tasks.module(curve.task.name)
    for start in range(0, len(samples), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        inputs = tuple(tensor[part] for tensor in samples.inputs)
        yield task.prepare(feed.splits, inputs, None), feed.targets[part]


def read(run: Run[Any]) -> dict[str, Any] | None:
    """A pair's record; None without one."""
    return json_record.found(run, RECORD, Recorded)


def is_made(run: Run[Any]) -> bool:
    """Whether a pair has its record."""
    return read(run) is not None


def lacking(run: Run[Any]) -> list[Path]:
    """The weights of its ends that are gone."""
    paths = [end.folder / records.WEIGHTS for end in run.needs]
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run[Any]]) -> None:
    """Write the record of all pairs that have one."""
    json_record.put_together(runs, RECORD, read, lambda held: held)


@dataclass(frozen=True)
class Recorded:
    """What the record of a pair holds: the numbers of `summary`, and of what they are."""

    distance: Number
    stretch: Number
    path: dict[str, Numbers]
    history: tuple[dict[str, Any], ...]
    plane: dict[str, list] | None = None


_FILES = (RECORD, "provenance.json")

STAGE = Stage(
    *("curve", Curve, RECORD, _FILES, Recorded, make, read, is_made, assemble),
    lacking=lacking,
)
