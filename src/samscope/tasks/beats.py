"""Heartbeats and their classes: 187 samples each, most of the normal ones left out.

As the CS-439 report's code has it (francpp/sharpness-aware_minimization, DatasetClass/mitbih.py):
it reads the rows of Kaggle's CSVs from a fixed one on, which, sorted by class as they are, are all
beats but those of class N, of which 641 of the training and 161 of the test set remain.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samscope import data
from samscope.data import mitbih
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.tasks import Task
from samscope.tasks.samples import Samples, Splits

NORMAL = {"train": 641, "test": 161}
"""Beats of class N that are kept; the code takes the last, here they are drawn."""


def load(task: Task, data_dir: str | Path) -> Splits:
    """The beats of a cell's task, float32 [N, 187], on the CPU.

    The normal beats are drawn by the task's ``split_seed``, and so is a stratified part of the
    training beats where it asks for fewer, or for validation beats.

    Raises:
        InputError: as `samscope.data.read`, for beats that are none, or fewer than it asks for.
    """
    arrays = data.read(task.data, data_dir)
    mitbih.check(arrays, Path(data_dir) / f"{task.data}.npz")
    random = np.random.RandomState(task.split_seed)
    is_test, y = arrays["is_test"], arrays["y"]
    pool, test = (_kept(y, chosen, n, random) for chosen, n in zip(
        (~is_test, is_test), NORMAL.values(), strict=True))  # fmt: skip
    most = len(pool) - task.val_size
    size = most if task.train_size is None else task.train_size
    if not 1 <= size <= most:
        beside = f" beside {task.val_size} for validation" if task.val_size else ""
        allowed = f"1 to {most}{beside}, of {len(pool)}"
        raise InputError(f"task {task.name}", "train_size", task.train_size, allowed)
    train, val, _ = stratified_split(y[pool], size, task.val_size, task.split_seed)
    parts = (
        Samples((torch.from_numpy(arrays["x"][index]),), torch.from_numpy(y[index]).long())
        for index in (pool[train], pool[val], test)
    )
    classes = len(mitbih.CLASSES)
    return Splits(*parts, sizes=(classes,), facts={"classes": classes})


def prepare(splits: Splits, inputs: tuple[Tensor, ...], draws: None) -> tuple[Tensor, ...]:
    """As they are stored."""
    return inputs


def _kept(
    y: np.ndarray, chosen: np.ndarray, normal: int, random: np.random.RandomState
) -> np.ndarray:
    """Indices, ascending, of all chosen beats but the normal ones, and so many of those."""
    normals = np.flatnonzero(chosen & (y == 0))
    drawn = random.permutation(normals)[:normal]
    return np.sort(np.concatenate([np.flatnonzero(chosen & (y != 0)), drawn]))
