"""The batches of a run: which images, in which order, augmented how, from (seed, epoch) alone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from samscope.data import Dataset, training_labels
from samscope.seeding import stream
from samscope.spec import Cell
from samscope.tasks.augment import crop_flip_cutout, draw

Batches = Iterator[tuple[Tensor, Tensor]]

EVALUATION_BATCH = 1000
"""Images per batch of validation and test, as in the geometry-SAM code. Moves no result but by
rounding."""


class Feed:
    """Batches of normalised images, float32 [N, C, H, W], and their classes, int64 [N].

    Args:
        cell: the setting; its ``augment`` holds for training and, as in the geometry-SAM code, for
            validation images, never for test images.
        seed: of the run.
        data: the cell's data set, on the device to train on.
    """

    def __init__(self, cell: Cell, seed: int, data: Dataset) -> None:
        self.cell, self.seed, self.data = cell, seed, data
        self.augmented = cell.augment != "none"
        self.labels = training_labels(data, cell.label_noise, seed)
        # Without augmentation an image is the same in every epoch: normalise it once.
        ready = (lambda images: images) if self.augmented else data.normalise
        self.train_x, self.val_x = ready(data.train_x), ready(data.val_x)

    @property
    def steps(self) -> int:
        """Batches of an epoch of training."""
        whole, rest = divmod(len(self.labels), self.cell.batch_size)
        return whole + bool(rest and not self.cell.drop_last)

    def training(self, epoch: int) -> Batches:
        """The batches of an epoch, in an order of its own."""
        order = torch.randperm(len(self.labels), generator=stream(self.seed, "order", epoch))
        order = order.to(self.labels.device)
        images, labels = self.train_x[order], self.labels[order]
        if self.cell.drop_last:
            whole = len(labels) // self.cell.batch_size * self.cell.batch_size
            images, labels = images[:whole], labels[:whole]
        return self._batches(images, labels, self.cell.batch_size, ("augment", epoch))

    def validation(self, epoch: int) -> Batches:
        """The validation images, with the augmentation of an epoch."""
        return self._batches(self.val_x, self.data.val_y, EVALUATION_BATCH, ("augment_val", epoch))

    def test(self) -> Batches:
        """The test images."""
        for images, labels in _slices(EVALUATION_BATCH, self.data.test_x, self.data.test_y):
            yield self.data.normalise(images), labels

    def _batches(
        self, images: Tensor, labels: Tensor, size: int, purpose: tuple[str, int]
    ) -> Batches:
        if not self.augmented:
            yield from _slices(size, images, labels)
            return
        draws = draw(len(labels), images.shape[-1], stream(self.seed, *purpose)).to(images.device)
        for raw, classes, rows in _slices(size, images, labels, draws):
            yield crop_flip_cutout(raw, rows, self.data.normalise), classes


def _slices(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Consecutive slices of tensors of one length; none of empty tensors."""
    if len(tensors[0]):
        yield from zip(*(tensor.split(size) for tensor in tensors), strict=True)
