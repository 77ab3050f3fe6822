"""Photographs and their classes, read from disk batch by batch: 224 x 224, as ResNets see ImageNet.

In training a random part of each (torchvision's RandomResizedCrop) and a flip; else the shorter
side is made 256 pixels long and the middle taken. Files are decoded by threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

from samscope import data
from samscope.data import imagefolder
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.tasks import Task
from samscope.tasks.samples import Samples, Splits, training_size

READ_LATE = True
"""Samples are files: `prepare` reads those of a batch, see `samscope.train.feed`."""

SIDE, SHORTER = 224, 256
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of a part: its share of the area, its width over its height."""


@dataclass(frozen=True, eq=False)
class Files:
    """Images by their paths, the first axis the sample, as `Samples` takes and slices inputs."""

    paths: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: slice | Tensor) -> "Files":
        """Some of them."""
        return Files(self.paths[index if isinstance(index, slice) else index.cpu().numpy()])

    def to(self, device: torch.device) -> "Files":
        """The same: files are read where they are."""
        return self


def load(task: Task, data_dir: str | Path) -> Splits:
    """The files of a cell's task; validation images come from the training folder, by class.

    Raises:
        InputError: as `samscope.data.imagefolder.folders`, or for more images than there are.
    """
    parts = imagefolder.folders(task.data, Path(data_dir))
    paths, labels = {}, {}
    for part, images in parts.items():
        paths[part] = np.array([path for path, _ in images.samples])
        labels[part] = np.array(images.targets)
    size = training_size(task, len(labels["train"]))
    train, val, _ = stratified_split(labels["train"], size, task.val_size, task.split_seed)
    classes, known = len(parts["train"].classes), data.SOURCES[task.data].facts
    white = {k: torch.tensor(known[k]).reshape(-1, 1, 1) for k in ("mean", "std")}
    return Splits(
        _samples(paths["train"][train], labels["train"][train]),
        _samples(paths["train"][val], labels["train"][val]),
        _samples(paths["val"], labels["val"]),
        sizes=(classes, 3),
        facts=known | white | {"classes": classes},
    )


def draw(splits: Splits, count: int, random: torch.Generator) -> Tensor:
    """A seed for each of ``count`` images, on the CPU."""
    return torch.randint(2**31, (count,), generator=random)


def prepare(splits: Splits, inputs: tuple[Files], draws: Tensor | None) -> tuple[Tensor]:
    """Images as a network sees them: float32 [N, 3, 224, 224], on the splits' device.

    Args:
        splits: the images' own.
        inputs: their files.
        draws: to augment them by, see `draw`; None to take their middles.

    Raises:
        InputError: for a file that is no image.
    """
    (files,) = inputs
    seeds: list[int | None] = [None] * len(files) if draws is None else draws.tolist()
    read: list[Callable[[], Tensor]] = [
        _part(path, seed) for path, seed in zip(files.paths, seeds, strict=True)
    ]
    images = torch.stack(list(_pool().map(lambda one: one(), read))).to(splits.device)
    facts = splits.facts
    return (images.float().div_(facts["scale"]).sub_(facts["mean"]).div_(facts["std"]),)


def _part(path: str, seed: int | None) -> Callable[[], Tensor]:
    """What reads a part of an image, which is chosen at once: the draws are torch's own."""
    try:
        image = Image.open(path)
    except OSError as error:
        raise InputError(path, "image", str(error), "a file that Pillow reads") from None
    if seed is None:
        return lambda: _tensor(F.center_crop(F.resize(image.convert("RGB"), SHORTER), [SIDE, SIDE]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        place = RandomResizedCrop.get_params(image, list(SCALE), list(RATIO))
        flip = bool(torch.rand(()) < 0.5)

    def read() -> Tensor:
        part = F.resized_crop(image.convert("RGB"), *place, [SIDE, SIDE])
        return _tensor(F.hflip(part) if flip else part)

    return read


def _tensor(image: Any) -> Tensor:
    return F.pil_to_tensor(image)


def _samples(paths: np.ndarray, labels: np.ndarray) -> Samples:
    # Files are taken and sliced as a tensor is.
    return Samples((Files(paths),), torch.from_numpy(labels).long())  # type: ignore[arg-type]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpu_count())
