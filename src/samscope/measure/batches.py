"""Data as people have it, as pairs of inputs and targets; and pairs in parts."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.measure.inputs import Inputs, cut, sizes, sound, tensors

Batch = tuple[Inputs, Inputs]
"""Inputs and targets, tensors [N, ...] all of them."""

_ALLOWED = (
    "inputs and targets, each one tensor or several in a tuple or mapping;"
    " or one mapping that is both"
)


def pairs(batches: Any) -> list[Batch]:
    """The batches as a list of pairs, checked.

    Args:
        batches: one batch, or an iterable of them. A batch is a pair (inputs, targets); several
            tensors of which the last are the targets; or a mapping of tensors, which is both: the
            model is called with what it holds by name, and the loss is given all of it. One batch
            alone is a tuple or a mapping.

    Raises:
        InputError: for no batches, or one that is not such; for tensors of different lengths.
    """
    try:
        found = [batches] if _single(batches) else list(batches)
    except TypeError:
        if hasattr(batches, "__iter__"):  # of its own making
            raise
        raise InputError("MeanLoss", "batches", type(batches).__name__, _ALLOWED) from None
    if not found:
        raise InputError("MeanLoss", "batches", "none", "one at least")
    return [_pair(f"MeanLoss: batch {index}", batch) for index, batch in enumerate(found)]


def count(batch: Batch) -> int:
    """The number of samples of a batch."""
    return len(tensors(batch[1])[0])


def weighed(
    batches: Sequence[Batch], weight: Callable[[Any], float | Tensor] | None
) -> list[float]:
    """The weight of each batch, given its targets; its number of samples where none is given."""
    if weight is None:
        return [float(count(batch)) for batch in batches]
    found = [torch.as_tensor(weight(targets), dtype=torch.float64) for _, targets in batches]
    if any(w.numel() != 1 for w in found):
        raise InputError("MeanLoss", "weight", list(found[0].shape), "one number for a batch")
    weights = [w.item() for w in found]
    if not all(0 <= w < math.inf for w in weights) or not sum(weights):
        allowed = "a number from 0, more than 0 for one batch at least"
        raise InputError("MeanLoss", "weight", weights[:3], allowed)
    return weights


def parts(batch: Batch, sizes: int | list[int]) -> list[Batch]:
    """A batch in parts: of so many samples each, or of these numbers of samples."""
    x, y = (cut(held, lambda tensor: tensor.split(sizes)) for held in batch)
    return list(zip(x, y, strict=True))


def _single(batches: object) -> bool:
    """Whether it is one batch."""
    if isinstance(batches, Mapping):
        return True
    if not isinstance(batches, tuple | list) or len(batches) < 2:
        return False
    *inputs, targets = batches
    whole = isinstance(targets, Tensor) and all(map(sound, inputs))
    # In a list, a tuple before a tensor is a pair beside something that is none.
    return whole and (isinstance(batches, tuple) or not isinstance(inputs[0], tuple | list))


def _pair(where: str, batch: Any) -> Batch:
    """A batch as a pair of inputs and targets."""
    if isinstance(batch, Mapping):
        batch = batch, batch
    if isinstance(batch, tuple | list) and len(batch) > 2:
        batch = tuple(batch[:-1]), batch[-1]
    two = isinstance(batch, tuple | list) and len(batch) == 2
    if not two or not all(map(sound, batch)):
        raise InputError(where, "pair", type(batch).__name__, _ALLOWED)
    inputs, targets = batch
    held = [len(tensor) for tensor in (*tensors(inputs), *tensors(targets))]
    if len(set(held)) > 1 or held[0] == 0:
        lengths = f"{sizes(inputs)} inputs, {sizes(targets)} targets"
        raise InputError(where, "pair", lengths, "as many of each, one at least")
    return inputs, targets


def chunks(batches: Iterable[Batch], held: int) -> list[Batch]:
    """Batches in batches of at most ``held`` samples."""
    return [part for batch in batches for part in parts(batch, held)]
