"""Images and their classes: raw pixels resident on the device, normalised and augmented there."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samscope import data
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.tasks import Task, augment
from samscope.tasks.samples import Samples, Splits, training_size


def load(task: Task, data_dir: str | Path) -> Splits:
    """The images of a cell's task, uint8 [N, C, H, W], split by its ``split_seed``, on the CPU.

    The split is stratified by class. Where the source has a test set, training and validation
    images come from its training set; else (digits) the test set is what the two leave.

    Raises:
        InputError: as `samscope.data.read`, or when the task asks for more images than there are.
    """
    arrays = data.read(task.data, data_dir)
    own_test = "x_test" in arrays
    x, y = (arrays["x_train"], arrays["y_train"]) if own_test else (arrays["x"], arrays["y"])
    train_size = _train_size(task, len(y), own_test)
    train, val, rest = stratified_split(y, train_size, task.val_size, task.split_seed)
    test = (arrays["x_test"], arrays["y_test"]) if own_test else (x[rest], y[rest])
    facts = constants(task.data)
    classes, highest = facts["classes"], max(y.max(), test[1].max(initial=0))
    if highest >= classes:
        where = Path(data_dir) / f"{task.data}.npz"
        raise InputError(where, "labels", int(highest), f"0 to {classes - 1}")
    if task.augment != "none" and x.shape[1:3] != (32, 32):
        allowed = "none, for images other than 32 x 32"
        raise InputError(f"task {task.name}", "augment", task.augment, allowed)
    return Splits(
        _samples(x[train], y[train]),
        _samples(x[val], y[val]),
        _samples(*test),
        sizes=(classes, x.shape[3]),
        facts=facts | {"augment": task.augment},
    )


def constants(name: str) -> dict[str, Any]:
    """What `prepare` needs to know of a data set's images: mean and std are float32 [C, 1, 1]."""
    known = data.SOURCES[name].facts
    return known | {k: torch.tensor(known[k]).reshape(-1, 1, 1) for k in ("mean", "std")}


def draw(splits: Splits, count: int, random: torch.Generator) -> Tensor:
    """What augments ``count`` images, one row each, on the CPU, see `samscope.tasks.augment`."""
    known = augment.AUGMENTATIONS[splits.facts["augment"]]
    return known.draw(count, splits.train.inputs[0].shape[-1], random)


def prepare(splits: Splits, inputs: tuple[Tensor], draws: Tensor | None) -> tuple[Tensor]:
    """Images as a network sees them: float32 ``(images / scale - mean) / std``.

    Args:
        splits: the images' own.
        inputs: raw, uint8 [N, C, H, W].
        draws: to augment them by, see `draw`; None to leave them as they are.
    """

    def normalise(images: Tensor) -> Tensor:
        facts = splits.facts
        return images.float().div_(facts["scale"]).sub_(facts["mean"]).div_(facts["std"])

    (images,) = inputs
    if draws is None:
        return (normalise(images),)
    return (augment.AUGMENTATIONS[splits.facts["augment"]].apply(images, draws, normalise),)


def _train_size(task: Task, available: int, own_test: bool) -> int:
    """The number of training images, checked against what there is."""
    if task.train_size is None and not own_test:
        allowed = f"a number: {task.data} has no test images of its own, what is left tests"
        raise InputError(f"task {task.name}", "train_size", "all", allowed)
    return training_size(task, available, spare=int(not own_test))


def _samples(images: np.ndarray, labels: np.ndarray) -> Samples:
    """Images as [N, C, H, W] and labels as int64."""
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return Samples((torch.from_numpy(channels_first),), torch.from_numpy(labels).long())
