"""What a data set has, held against what is asked of it: before it is fetched, where that is known.

A file of one's own may hold fewer samples than the set has; that shows when it is read.
"""

from dataclasses import dataclass

from samscope import models
from samscope.errors import InputError
from samscope.spec import Cell, Spec
from samscope.tasks import Task


@dataclass(frozen=True)
class Known:
    """Samples of a data set that train and, without test samples of its own, test; its side."""

    samples: int
    side: int
    own_test: bool = True


# Not beside the sources of `samscope.data`, whose code decides what is measured anew.
KNOWN = {
    "digits": Known(1797, 8, own_test=False),
    "digits_0_4": Known(901, 8, own_test=False),
    "digits_5_9": Known(896, 8, own_test=False),
    "cifar10": Known(50_000, 32),
    "cifar100": Known(50_000, 32),
    "mnist": Known(60_000, 28),
    "imagenet": Known(1_281_167, 224),
    "cifar10_0_4": Known(25_000, 32),
    "cifar10_5_9": Known(25_000, 32),
}


def check(spec: Spec) -> None:
    """Refuse more samples than there are, a larger batch, images or a network of another side.

    Raises:
        InputError: naming the leaf.
    """
    task = getattr(spec, "task", None)
    if not isinstance(task, Task):
        return
    source, where = KNOWN.get(task.data), f"task {task.name}"
    if task.name == "images" and source and source.side != 32 and task.augment != "none":
        allowed = f"none, for the images of {task.data}, which are not 32 x 32"
        raise InputError(where, "augment", task.augment, allowed)
    side = models.MODELS[spec.model].settings.get("side") if isinstance(spec, Cell) else None
    if source and isinstance(spec, Cell) and side not in (None, source.side):
        allowed = f"one for the images of {task.data}, {source.side} x {source.side}"
        raise InputError(where, "model", spec.model, allowed)
    if source:
        most = source.samples - (not source.own_test)
        if task.val_size >= most:
            allowed = f"less than the {source.samples} samples of {task.data}"
            raise InputError(where, "val_size", task.val_size, allowed)
        most -= task.val_size
        if task.train_size is not None and task.train_size > most:
            beside = f" beside {task.val_size} for validation" if task.val_size else ""
            raise InputError(where, "train_size", task.train_size, f"1 to {most}{beside}")
    trained = training(spec)
    if isinstance(spec, Cell) and trained and spec.budget.batch_size > trained:
        allowed = f"at most the {trained} training samples, which are a full batch"
        raise InputError("budget", "batch_size", spec.budget.batch_size, allowed)


def training(spec: Spec) -> int | None:
    """How many samples a spec trains on; None where only its data set says."""
    task = getattr(spec, "task", None)
    if not isinstance(task, Task) or task.train_size is not None:
        return getattr(task, "train_size", None)
    source = KNOWN.get(task.data)
    return source.samples - task.val_size if source and source.own_test else None
