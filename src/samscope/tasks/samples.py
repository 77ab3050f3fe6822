"""Samples and their splits, as a task loads them, and the scores of outputs against targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from samscope.digests import Registry
from samscope.errors import InputError
from samscope.tasks import Task


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and targets, the first axis of each the sample.

    Attributes:
        inputs: what a model is called with, one tensor [N, ...] for each of its arguments. Graphs
            are padded to one size, with a mask among the inputs.
        targets: [N] classes, [N, T] tokens, [N, K] numbers.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: slice | Tensor) -> "Samples":
        """Some of the samples."""
        return Samples(tuple(tensor[index] for tensor in self.inputs), self.targets[index])

    def to(self, device: torch.device) -> "Samples":
        """The same samples on ``device``."""
        return Samples(tuple(tensor.to(device) for tensor in self.inputs), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Splits:
    """The samples of a cell, as they are stored, on one device.

    Attributes:
        train: to train on, with their true targets; see `samscope.tasks.noise`.
        val: to choose the best epoch by; may be none.
        test: to report.
        sizes: arguments that a model is built with: of images the numbers of classes and channels.
        facts: what the task's ``prepare`` needs to know, by name. ``classes``, their number, where
            targets are classes.
    """

    train: Samples
    val: Samples
    test: Samples
    sizes: tuple[int, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the samples are."""
        return self.train.targets.device

    def to(self, device: torch.device) -> "Splits":
        """The same splits on ``device``."""
        moved = {name: getattr(self, name).to(device) for name in ("train", "val", "test")}
        facts = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.facts.items()}
        return replace(self, **moved, facts=facts)


def training_size(task: Task, available: int, spare: int = 0) -> int:
    """How many samples train: what a task asks for, or all that its validation samples leave.

    Args:
        task: that asks.
        available: how many there are.
        spare: of them, how many are left for the test at least.

    Raises:
        InputError: for more samples than are available, or none.
    """
    most, of = available - spare - task.val_size, f", of {available}"
    if most < 1:
        allowed = f"at most {available - spare - 1}{of}"
        raise InputError(f"task {task.name}", "val_size", task.val_size, allowed)
    size = most if task.train_size is None else task.train_size
    if not 1 <= size <= most:
        beside = f" beside {task.val_size} for validation" if task.val_size else ""
        raise InputError(f"task {task.name}", "train_size", size, f"1 to {most}{beside}{of}")
    return size


def check_classes(parts: Mapping[str, Samples], classes: int, where: object, by: str) -> None:
    """Refuse a data set of which a part lacks a class.

    Args:
        parts: by what they are called.
        classes: how many there are.
        where: the data set.
        by: how it is divided.

    Raises:
        InputError: naming the part and the class.
    """
    for part, samples in parts.items():
        counts = torch.bincount(samples.targets, minlength=classes).tolist()
        if 0 in counts:
            found = f"no {part} sample of class {counts.index(0)} among {len(samples)}"
            raise InputError(where, "y", found, f"one of each class, by {by}")


def acc_percent(outputs: Tensor, targets: Tensor) -> Tensor:
    """How often the largest output is the target's, in percent; of several tokens, of all of them.

    Args:
        outputs: [N, K], or [N, T, K] of tokens.
        targets: classes, int64 [N] or [N, T]; or numbers of which a class has the largest.

    >>> acc_percent(torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]]), torch.tensor([0, 1, 1]))
    tensor(200.)
    """
    classes = targets.argmax(-1) if targets.is_floating_point() else targets
    right = outputs.argmax(-1) == classes
    return 100.0 * (right.all(1) if right.ndim > 1 else right).sum()


def top5_acc_percent(outputs: Tensor, targets: Tensor) -> Tensor:
    """How often the target's class is among the five of the largest outputs, in percent.

    Args:
        outputs: [N, K].
        targets: classes, int64 [N].

    >>> top5_acc_percent(torch.arange(7.0).repeat(2, 1), torch.tensor([2, 1]))
    tensor(100.)
    """
    five = outputs.topk(min(5, outputs.shape[-1])).indices
    return 100.0 * (five == targets[:, None]).any(1).sum()


SCORES: Registry[str, Callable[[Tensor, Tensor], Tensor]] = {
    "acc_percent": acc_percent,
    "top5_acc_percent": top5_acc_percent,
}
"""Of a model's outputs and the targets: a number of each sample, summed over them. What is reported
is the mean over samples."""
