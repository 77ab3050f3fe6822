"""Equations and their right sides: what an operation makes of two elements, by those it has seen.

A sample is one equation, ``<end> a o b = c <end>``. A model sees all its tokens but the last, and
answers with what comes after ``=``: c, and the end. Loss and accuracy are of those two alone, and
an equation is right where both are (openai/grok@3d64b1d, grok/training.py).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samscope import data
from samscope.data.equations import EQUALS
from samscope.errors import InputError
from samscope.tasks import Task
from samscope.tasks.samples import Samples, Splits


def load(task: Task, data_dir: str | Path) -> Splits:
    """The equations of a cell's task, on the CPU, ``train_percent`` of them to train on.

    All others are the test set, which the source calls validation; it chooses nothing by it. At a
    ``split_seed`` of 0 the parts are the source's.

    Raises:
        InputError: as `samscope.data.read`, for other equations than the set's, or a share that
            leaves none to train on or none to test.
    """
    arrays = data.read(task.data, data_dir)
    data.check(task.data, arrays, data_dir)
    tokens = arrays["tokens"]
    order = np.random.RandomState(task.split_seed).permutation(len(tokens))
    share = task.train_percent or 0.0
    size = round(len(tokens) * share / 100)
    if not 0 < size < len(tokens):
        allowed = f"one that leaves some of the {len(tokens)} equations for each part"
        raise InputError(f"task {task.name}", "train_percent", f"{share:g}", allowed)
    train, test = (_samples(tokens[part]) for part in (order[:size], order[size:]))
    return Splits(train, train[:0], test, (data.SOURCES[task.data].facts["tokens"],))


def prepare(splits: Splits, inputs: tuple[Tensor, ...], draws: None) -> tuple[Tensor, ...]:
    """As they are stored."""
    return inputs


def _samples(tokens: np.ndarray) -> Samples:
    """Inputs int64 [N, 6] and targets int64 [N, 2]: what follows the sign of equality."""
    rows = torch.from_numpy(tokens.astype(np.int64))
    right = 1 + int((rows[0] == EQUALS).nonzero()[0])
    return Samples((rows[:, :-1].contiguous(),), rows[:, right:].contiguous())
