"""Molecules and their classes: graphs of atoms and bonds, padded to the largest.

Of a graph a model gets its atoms, int16 [N, n] kinds from 0, and its bonds, int16 [N, b, 2] the
places of two atoms, from and to; both padded by -1. Most are far smaller than the largest: a model
leaves the padding out, so that a batch costs what its own atoms do.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samscope import data
from samscope.errors import InputError
from samscope.tasks import Task
from samscope.tasks.samples import Samples, Splits, check_classes, training_size

TRAINING_PERCENT = 70
"""Of all graphs; the rest are the test set (francpp/sharpness-aware_minimization, my_train_GCN.py).
Validation graphs come from the training graphs."""


def load(task: Task, data_dir: str | Path) -> Splits:
    """The graphs of a cell's task, on the CPU, in the order of ``torch.randperm``.

    That is the split of the CS-439 report at its ``split_seed`` of 12345: torch_geometric's
    ``TUDataset(...).shuffle()`` after ``torch.manual_seed``, of which the first graphs train.

    Raises:
        InputError: as `samscope.data.read`, for graphs that are none, a class that is missing in
            a part, or when the task asks for more than there are.
    """
    arrays = data.read(task.data, data_dir)
    where, known = Path(data_dir) / f"{task.data}.npz", data.SOURCES[task.data].facts
    data.check(task.data, arrays, data_dir)
    for name, field in (("atoms", "atoms"), ("y", "classes")):
        if arrays[name].max() >= known[field]:
            raise InputError(where, name, int(arrays[name].max()), f"0 to {known[field] - 1}")
    samples = padded(arrays)
    random = torch.Generator().manual_seed(task.split_seed)
    order = torch.randperm(len(samples), generator=random)
    pool = len(order) * TRAINING_PERCENT // 100
    size = training_size(task, pool)
    parts = order[:size], order[size : size + task.val_size], order[pool:]
    train, val, test = (samples[part] for part in parts)
    found = {"training": train, "test": test}
    check_classes(found, known["classes"], where, f"split_seed {task.split_seed}")
    facts = {"classes": known["classes"]}
    return Splits(train, val, test, (known["classes"], known["atoms"]), facts)


def prepare(splits: Splits, inputs: tuple[Tensor, ...], draws: None) -> tuple[Tensor, ...]:
    """As they are stored."""
    return inputs


def padded(arrays: dict[str, np.ndarray]) -> Samples:
    """The graphs of `samscope.data.mutagenicity.graphs`, each filled up to the largest."""
    graph, bonds = arrays["graph"], arrays["bonds"]
    sizes, of_bond = np.bincount(graph), graph[bonds[:, 0]]
    first = np.cumsum(sizes) - sizes
    atoms = _filled(arrays["atoms"], graph)
    return Samples(
        (
            torch.from_numpy(atoms),
            torch.from_numpy(_filled(bonds - first[of_bond, None], of_bond, len(sizes))),
        ),
        torch.from_numpy(arrays["y"]).long(),
    )


def _filled(values: np.ndarray, graph: np.ndarray, count: int = 0) -> np.ndarray:
    """Values in a row for each graph, in their order, then -1: int16 [G, most, ...]."""
    sizes = np.bincount(graph, minlength=count)
    place = np.arange(len(values)) - (np.cumsum(sizes) - sizes)[graph]
    filled = np.full((len(sizes), sizes.max(initial=0), *values.shape[1:]), -1, dtype=np.int16)
    filled[graph, place] = values
    return filled
