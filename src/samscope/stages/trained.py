"""What was trained, made ready to be measured: a run's model, its samples and their targets."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Not from the package: an edit of the engine would then measure every run anew.
import samscope.store.records as records
from samscope import numerics
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages.run import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from samscope.tasks.samples import Splits


def trained_length(run: Path, cell: Cell, seed: int) -> int:
    """How many epochs a finished run has, or steps, as its budget counts.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    try:
        metrics = records.read_run(run, cell, seed)
        if metrics is None:
            raise records.BadRecord("no record of a finished run")
    except records.BadRecord as error:
        allowed = "a whole record; train the cell again"
        raise InputError(run / records.WEIGHTS, "run", str(error), allowed) from error
    return metrics[f"{cell.budget.unit}s"]


def whole_length(run: Run[Cell]) -> int:
    """The same of a run of which every file is checked: before anything is made from it.

    Raises:
        InputError: for a run that is missing, damaged, or no record.
    """
    try:
        records.read_whole(run.folder, run.spec, run.seed)
    except records.BadRecord as error:
        allowed = "a whole record; train the cell again"
        raise InputError(run.folder / records.WEIGHTS, "run", str(error), allowed) from None
    return trained_length(run.folder, run.spec, run.seed)


def model(path: Path, cell: Cell, seed: int, splits: "Splits") -> "nn.Module":
    """The model of a finished run with the weights of one of its files, on the samples' device.

    Raises:
        InputError: where there is no such file, or one of another model.
    """
    from safetensors.torch import load_file

    from samscope import models

    if not path.exists():
        allowed = f"a run with its weights; delete {path.parent} and train the cell again"
        raise InputError(path, "run", "not measured before the weights went", allowed)
    built = models.build(cell.model, *splits.sizes, seed=seed)
    return fill(built, load_file(path), f"{path}: {cell.model}").to(splits.device)


def started(run: Run[Cell], splits: "Splits") -> "dict[str, Tensor] | None":
    """The weights and statistics that a run begins with; None where they are drawn from its seed.

    Those of the run that it needs, and of its own seed what that lacks: the rest of a larger
    network, or the head.

    Raises:
        InputError: where that run has no weights, or those of another model.
    """
    from safetensors.torch import load_file

    from samscope import models

    cell, sizes = run.spec, splits.sizes
    if not cell.needs(run.seed):
        return None
    if not run.needs:
        allowed = "one that needs no other, without a plan: samscope make train"
        raise InputError(run.folder, "cell", cell.id, allowed)
    (needed,) = run.needs
    whole_length(needed)
    path = needed.folder / records.WEIGHTS
    if not path.exists():
        allowed = f"weights to begin with; delete {path.parent} and train it again"
        raise InputError(path, "weights", "gone", allowed)
    own = models.build(cell.model, *sizes, seed=run.seed, nudge=cell.numerics.nudge)
    if cell.origin is None:
        state = own.state_dict()
        models.grow(state, model(path, needed.spec, needed.seed, splits).state_dict())
        return state
    fresh = models.head(cell.model, *sizes)
    own_head = {name: value for name, value in own.state_dict().items() if name in fresh}
    taken = load_file(path)
    whole = {name: value for name, value in taken.items() if name not in fresh} | own_head
    return fill(own, whole, f"{path}: {cell.model}").state_dict()


def fill(model: "nn.Module", state: "dict[str, Tensor]", where: str) -> "nn.Module":
    """The model with these weights and buffers.

    Raises:
        InputError: naming the first tensor that is missing, unknown or of another shape.
    """
    own = model.state_dict()
    for name in sorted({*own, *state}):
        found, expected = (tuple(s[name].shape) if name in s else "none" for s in (state, own))
        if found != expected:
            raise InputError(where, name, str(found), str(expected))
    model.load_state_dict(state)
    return model


def sample(
    cell: Cell, splits: "Splits", count: int, seed: int
) -> "tuple[tuple[Tensor, ...], Tensor]":
    """The first training samples, as the model takes them, and the targets the run was trained on.

    Raises:
        InputError: for more samples than there are.
    """
    from samscope import tasks
    from samscope.tasks.noise import training_targets

    if not 1 <= count <= len(splits.train):
        allowed = f"1 to {len(splits.train)}"
        raise InputError(cell.id, f"{cell.task.name} to measure on", count, allowed)
    targets = training_targets(splits, cell.task.label_noise, seed)
    task, chosen = tasks.module(cell.task.name), splits.train[:count]
    return task.prepare(splits, chosen.inputs, None), targets[:count]


def batches(
    inputs: "tuple[Tensor, ...]", targets: "Tensor"
) -> "Iterator[tuple[tuple[Tensor, ...], Tensor]]":
    """Samples, as `sample` has them, so many at a time as go through a model."""
    from samscope.train.feed import EVALUATION_BATCH

    for start in range(0, len(targets), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        yield tuple(tensor[part] for tensor in inputs), targets[part]


def told(seconds: float, device: "torch.device", code: str) -> dict[str, Any]:
    """What a run's provenance says of its measuring: how long, where, and by what code.

    ``fingerprint`` is that of `samscope.numerics`, None on a GPU.
    """
    fingerprint = numerics.fingerprint() if device.type == "cpu" else None
    return {"seconds": seconds, "device": str(device), "code": code, "fingerprint": fingerprint}
