"""The batches of a run: which samples, in which order, augmented how, from (seed, epoch) alone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from samscope import tasks
from samscope.errors import InputError
from samscope.seeding import stream
from samscope.spec import Cell
from samscope.tasks.noise import training_targets
from samscope.tasks.samples import Samples, Splits

Batches = Iterator[tuple[tuple[Tensor, ...], Tensor]]
"""Inputs as a model takes them, and targets."""

EVALUATION_BATCH = 1000
"""Samples per batch of validation and test, as in the geometry-SAM code. Moves no result but by
rounding."""


class Feed:
    """Batches of inputs as a model takes them, and of their targets.

    Args:
        cell: the setting; its ``augment`` holds for training samples, some for validation samples
            too, see `samscope.tasks.VALIDATION_TOO`, none for test samples.
        seed: of the run.
        splits: the cell's samples, on the device to train on.

    Attributes:
        targets: those trained on, see `samscope.tasks.noise`.
        steps: batches of an epoch.
        even: rows and steps of each, were all alike; on a grid of logarithms, rows of one step.

    Raises:
        InputError: for fewer samples than a batch, where only whole ones are taken, and a last
            batch that micro-batches do not divide.
    """

    def __init__(self, cell: Cell, seed: int, splits: Splits) -> None:
        self.cell, self.seed, self.splits = cell, seed, splits
        self._task = tasks.module(cell.task.name)
        self.targets = training_targets(splits, cell.task.label_noise, seed)
        # Without augmentation an input is the same in every epoch: prepare it once.
        self._augmented = cell.task.augment != "none"
        # Files are read where a batch of them is prepared.
        self._late = getattr(self._task, "READ_LATE", False)
        self._augments_val = cell.task.augment in tasks.VALIDATION_TOO
        self._train = self._ready(Samples(splits.train.inputs, self.targets), self._augmented)
        self._val = self._ready(splits.val, self._augments_val)
        self.steps = self._count(cell.budget.batch_size, cell.budget.drop_last)
        if not self.steps:
            allowed = f"{len(self.targets)} at most, with drop_last"
            raise InputError(cell.id, "batch_size", cell.budget.batch_size, allowed)
        cell.check_parts(len(self.targets))
        budget = cell.budget
        self.even = budget.rows, budget.report_every or self.steps
        if budget.report_per_decade:
            self.even = budget.steps, 1

    def start(self, row: int) -> int:
        """The step (from 0) that a row of the history begins with; after the last, their number."""
        done = self.cell.budget.ends[row - 1] if row else 0
        return done if self.cell.budget.steps else done * self.steps

    def training(self, row: int) -> Batches:
        """The batches of a row of the history (from 0): each epoch has an order of its own."""
        step, stop, size = self.start(row), self.start(row + 1), self.cell.budget.batch_size
        while step < stop:
            epoch, first = divmod(step, self.steps)
            last = min(self.steps, first + stop - step)
            yield from self._epoch(epoch, size, self.steps, slice(first * size, last * size))
            step += last - first

    def last_whole(self, row: int) -> int:
        """Of a row's batches, the number (from 1) of the last that is whole."""
        stop = self.start(row + 1)
        ends_epoch = stop % self.steps == 0
        short = ends_epoch and len(self.targets) < self.steps * self.cell.budget.batch_size
        return max(1, stop - self.start(row) - short)

    def unseen(self, batch_size: int | None = None) -> Batches:
        """The batches of an epoch that training never saw; all samples, where a size is given."""
        budget = self.cell.budget
        epoch = budget.epochs or -(-budget.steps // self.steps)
        if batch_size is None:
            return self._epoch(epoch, budget.batch_size, self.steps)
        return self._epoch(epoch, batch_size, self._count(batch_size, drop_last=False))

    def validation(self, row: int) -> Batches:
        """The validation samples, with the augmentation of a row of the history."""
        draws = None
        if self._augments_val:
            draws = self._draws(len(self._val), "augment_val", row)
        return self._batches(self._val, draws, EVALUATION_BATCH)

    def test(self) -> Batches:
        """The test samples."""
        for start in range(0, len(self.splits.test), EVALUATION_BATCH):
            part = self.splits.test[start : start + EVALUATION_BATCH]
            yield self._task.prepare(self.splits, part.inputs, None), part.targets

    def _count(self, size: int, drop_last: bool) -> int:
        """How many batches of a size an epoch has."""
        whole, rest = divmod(len(self.targets), size)
        return whole + bool(rest and not drop_last)

    def _ready(self, samples: Samples, augmented: bool) -> Samples:
        if augmented or self._late:
            return samples
        inputs = self._task.prepare(self.splits, samples.inputs, None)
        return Samples(inputs, samples.targets)

    def _epoch(self, epoch: int, size: int, count: int, part: slice = slice(None)) -> Batches:
        """An epoch of ``count`` batches of a size, or a part of its samples."""
        order = torch.randperm(len(self.targets), generator=stream(self.seed, "order", epoch))
        order = order[: count * size]
        draws = self._draws(len(order), "augment", epoch) if self._augmented else None
        samples = self._train[order[part].to(self.targets.device)]
        return self._batches(samples, None if draws is None else draws[part], size)

    def _draws(self, count: int, *purpose: str | int) -> Tensor:
        """What augments so many samples."""
        draws = self._task.draw(self.splits, count, stream(self.seed, *purpose))
        return draws.to(self.targets.device)

    def _batches(self, samples: Samples, draws: Tensor | None, size: int) -> Batches:
        """Samples in slices, augmented by the draws."""
        for start in range(0, len(samples), size):
            part = samples[start : start + size]
            inputs = part.inputs
            if draws is not None or self._late:
                own = None if draws is None else draws[start : start + size]
                inputs = self._task.prepare(self.splits, inputs, own)
            yield inputs, part.targets
