"""Heartbeats and their classes: signals of one length, most of the normal ones left out.

Beats that learn and beats that test, by a task's ``split``:

``coded``
    The data set's own parts, of class N 641 and 161 beats, drawn; all others. So many the CS-439
    report's code keeps (francpp/sharpness-aware_minimization, DatasetClass/mitbih.py): it reads the
    rows of Kaggle's CSVs from a fixed one on, which, sorted by class as they are, are all beats but
    those of class N, of which the last remain.
``downsampled``
    The report's words: "the Normal Beat class [...] is down-sampled to achieve fair training". By
    our interpretation class N shrinks, drawn, to the size of the largest other class of its part.
    That are more beats than the 19,659 of the next half of the sentence, those of ``coded``.
``stratified``
    The beats of ``coded``, put together and divided anew at random, each class in the proportion of
    the two sizes. Kaggle's own parts were made so too: what this moves is chance.
``by_record``
    No patient in both: `TRAINING` and `TEST` records. Of class N so many in all as ``coded`` has,
    drawn, in proportion to the other beats of the two.

In all but the last a patient's beats stand in both parts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from samscope import data
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.tasks import Task
from samscope.tasks.samples import Samples, Splits, check_classes, training_size

NORMAL = {"train": 641, "test": 161}
"""Beats of class N that are kept for training and for test."""

TRAINING = (
    *(101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208),
    *(209, 215, 220, 223, 230, 202, 102, 107),
)
TEST = (
    *(100, 103, 105, 111, 113, 117, 121, 123, 200, 210, 212, 213, 214, 219, 221, 222, 228, 231),
    *(232, 233, 234, 104, 217),
)
"""Records of the two parts: DS1 and DS2 of de Chazal, O'Dwyer and Reilly 2004 (IEEE Trans. Biomed.
Eng. 51, 1196), but for two things. Record 202 is of DS2 there; it is of the patient of 201 and goes
with that. And the four paced records, left out there, are dealt out, one of each part from the two
without the lead of the others (102 and 104): without them class Q would have 15 beats in place of
8,039, and what the report's models learn, of which it is 41 %, would be another task."""


def load(task: Task, data_dir: str | Path) -> Splits:
    """The beats of a cell's task, float32 [N, samples], on the CPU.

    What is drawn is drawn by the task's ``split_seed``, and so is a stratified part of the training
    beats where it asks for fewer, or for validation beats, which are of the patients that train.

    Raises:
        InputError: as `samscope.data.read`, for beats that are none, fewer than it asks for, a
            class that is missing in a part, or records that do not tell the patients apart.
    """
    arrays = data.read(task.data, data_dir)
    data.check(task.data, arrays, data_dir)
    where, classes = Path(data_dir) / f"{task.data}.npz", data.SOURCES[task.data].facts["classes"]
    y = arrays["y"]
    if y.max(initial=0) >= classes:
        raise InputError(where, "y", int(y.max()), f"0 to {classes - 1}")
    pool, test = _parts(task, arrays, where)
    size = training_size(task, len(pool))
    train, val, _ = stratified_split(y[pool], size, task.val_size, task.split_seed)
    training, validation, testing = (
        Samples((torch.from_numpy(arrays["x"][index]),), torch.from_numpy(y[index]).long())
        for index in (pool[train], pool[val], test)
    )
    parts = {"training": training, "test": testing}
    check_classes(parts, classes, where, f"split {task.split}")
    sizes, facts = (classes,), {"classes": classes}
    return Splits(training, validation, testing, sizes=sizes, facts=facts)


def prepare(splits: Splits, inputs: tuple[Tensor, ...], draws: None) -> tuple[Tensor, ...]:
    """As they are stored."""
    return inputs


def _parts(task: Task, arrays: dict[str, np.ndarray], where: Path) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the beats of training and of test, by the task's ``split``."""
    random = np.random.RandomState(task.split_seed)
    y, is_test = arrays["y"], arrays["is_test"]
    if task.split == "by_record":
        is_test = _of_test_patients(arrays["record"], where)
    normal: Sequence[int] = list(NORMAL.values())
    if task.split == "downsampled":
        others = (np.bincount(y[part & (y != 0)]) for part in (~is_test, is_test))
        normal = [counts.max(initial=0) for counts in others]
    elif task.split == "by_record":
        normal = _shared(sum(normal), [(part & (y != 0)).sum() for part in (~is_test, is_test)])
    pool, test = (
        _kept(y, part, n, random) for part, n in zip((~is_test, is_test), normal, strict=True)
    )
    if task.split == "stratified":
        both = np.sort(np.concatenate([pool, test]))
        pool, test, _ = stratified_split(y[both], len(pool), len(test), task.split_seed)
        pool, test = np.sort(both[pool]), np.sort(both[test])
    return pool, test


def _of_test_patients(record: np.ndarray, where: Path) -> np.ndarray:
    """Which beats are of `TEST`.

    Raises:
        InputError: where records are not told, or are of no known patient.
    """
    if not record.any():
        allowed = "the record of each beat, which Kaggle's CSVs do not tell; without them and this"
        raise InputError(where, "record", "0 of all beats", f"{allowed} file it is made with them")
    unknown = ~np.isin(record, (*TRAINING, *TEST))
    if unknown.any():
        found = int(record[np.argmax(unknown)])
        raise InputError(where, "record", found, "the 48 records of MIT-BIH, 100 to 234")
    return np.isin(record, TEST)


def _shared(total: int, others: list[int]) -> tuple[int, int]:
    """A number of beats in two, in the proportion of the others."""
    first = round(total * int(others[0]) / max(int(sum(others)), 1))
    return first, total - first


def _kept(
    y: np.ndarray, chosen: np.ndarray, normal: int, random: np.random.RandomState
) -> np.ndarray:
    """Indices, ascending, of all chosen beats but the normal ones, and so many of those."""
    normals = np.flatnonzero(chosen & (y == 0))
    drawn = random.permutation(normals)[:normal]
    return np.sort(np.concatenate([np.flatnonzero(chosen & (y != 0)), drawn]))
