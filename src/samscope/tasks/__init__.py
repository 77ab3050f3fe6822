"""What is learned: samples, targets, augmentation, scores. Importable without torch.

A task is one file of this folder with ``load``, ``draw`` and ``prepare`` (see
`samscope.tasks.images`), and one entry of `TASKS`.
"""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from samscope import data as datasets
from samscope import losses
from samscope.digests import Registry
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.tasks.samples import Splits


@dataclass(frozen=True)
class Kind:
    """What the plan knows of a task.

    Attributes:
        module: its file, as a dotted name.
        inputs: what its models take, see `samscope.models.Model.takes`.
        data: the data sets it reads.
        augmentations: of its training samples.
        splits: how its samples fall into those that train and those that test; ``coded`` is that
            of the source whose task it is.
        scores: what is measured beside the loss, see `samscope.tasks.samples.SCORES`. By the first
            the best epoch is chosen; without one, by the loss.
        by_percent: whether ``train_percent`` says how many samples train, in place of sizes.
    """

    module: str
    inputs: str
    data: tuple[str, ...]
    augmentations: tuple[str, ...] = ("none",)
    splits: tuple[str, ...] = ("coded",)
    scores: tuple[str, ...] = ("acc_percent",)
    by_percent: bool = False


TASKS: Registry[str, Kind] = {
    "images": Kind(
        "samscope.tasks.images",
        inputs="images",
        data=("digits", "cifar10", "cifar100", "mnist", *datasets.HALVES),
        augmentations=(
            "none",
            "crop_flip_cutout",
            "basic",
            "cutout",
            "cutout_batch",
            "autoaugment",
        ),
    ),
    "photos": Kind(
        "samscope.tasks.photos",
        inputs="images",
        data=("imagenet",),
        augmentations=("none", "resized_crop"),
        scores=("acc_percent", "top5_acc_percent"),
    ),
    "beats": Kind(
        "samscope.tasks.beats",
        inputs="signals",
        data=("mitbih", "digit_signals"),
        splits=("coded", "downsampled", "stratified", "by_record"),
    ),
    "molecules": Kind(
        "samscope.tasks.molecules", inputs="molecules", data=("mutagenicity", "digit_graphs")
    ),
    "arithmetic": Kind(
        "samscope.tasks.arithmetic",
        inputs="equations",
        data=("division_97", "addition_97", "s5", "division_23"),
        by_percent=True,
    ),
}

VALIDATION_TOO = ("crop_flip_cutout",)
"""Augmentations of validation samples as well, as the geometry-SAM code has it."""


@dataclass(frozen=True)
class Task:
    """What is learned, from which samples, by which loss.

    Attributes:
        data: name of a data set, see `samscope.data.SOURCES`.
        augment: of the training samples, one of the task's `Kind.augmentations`.
        label_noise: share of training labels replaced by a random other class, 0 to 1.
        train_size: training samples; None: all that the validation set leaves.
        val_size: validation samples, taken from the training set.
        split_seed: of what the split draws, the same for every run.
        name: of the task, one of `TASKS`.
        loss: one of `samscope.losses.LOSSES`.
        smoothing: of the labels, 0 to 1, where the loss has one.
        split: what trains and what tests, one of the task's `Kind.splits`.
        train_percent: of the samples that train, the others being tested, where the task is split
            so: more than 0, less than 100.
    """

    data: str
    augment: str
    label_noise: float
    train_size: int | None
    val_size: int
    split_seed: int
    name: str = field(default="images", metadata={"leaf": "task"})
    loss: str = "cross_entropy"
    smoothing: float = 0.0
    split: str = "coded"
    train_percent: float | None = None

    def __post_init__(self) -> None:
        if self.name not in TASKS:
            raise InputError("task", "task", self.name, ", ".join(TASKS))
        if self.data not in datasets.SOURCES:
            raise InputError("task", "data", self.data, ", ".join(datasets.SOURCES))
        kind = TASKS[self.name]
        named = {"data": kind.data, "augment": kind.augmentations, "split": kind.splits}
        for name, allowed in named.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"task {self.name}", name, value, ", ".join(allowed))
        losses.loss(self.loss, self.smoothing)
        self._check_share()

    def _check_share(self) -> None:
        """Refuse a share of the samples, or numbers of them, where the task is split by the other.

        Raises:
            InputError: for it.
        """
        share, where = self.train_percent, f"task {self.name}"
        if not self.kind.by_percent:
            if share is not None:
                raise InputError(where, "train_percent", share, "none")
            return
        if share is None or not 0 < share < 100:
            raise InputError(where, "train_percent", share, "more than 0, less than 100")
        for name, none in (("train_size", None), ("val_size", 0)):
            if getattr(self, name) != none:
                allowed = f"{'none' if none is None else none}; train_percent says how many"
                raise InputError(where, name, getattr(self, name), allowed)

    @property
    def kind(self) -> Kind:
        """What the plan knows of the task."""
        return TASKS[self.name]


def module(name: str) -> ModuleType:
    """The file of a task; torch is imported with it."""
    return importlib.import_module(TASKS[name].module)


def load(task: Task, data_dir: str | Path) -> "Splits":
    """The samples of a task, on the CPU.

    Raises:
        InputError: for data that are absent or damaged, or fewer than it asks for.
    """
    return module(task.name).load(task, data_dir)
