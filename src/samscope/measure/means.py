"""Whether a loss is the mean over the samples of its batch, as the mean over all takes it to be.

With class weights, ``ignore_index`` or ``reduction="sum"`` it is not, and the mean of the losses of
two batches is not the loss of both together.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.batches import Batch, count, parts
from samscope.measure.inputs import Inputs, alike, called, cut, tensors

PLACES, SAMPLES = 4, 16
"""Batches that are looked at, evenly spread, and samples of each."""

TOLERANCE, FLOOR = 1e-4, 1e-5
"""Of the loss, and of the rounding of one that is almost 0."""


def check_mean(mean_loss: Any) -> None:
    """Refuse a loss that differs from the mean of the losses of its parts, by their samples.

    It takes one pass of at most `PLACES` x `SAMPLES` samples through the model, and as many again
    where the loss is the model's own. A loss that draws random numbers is not judged.

    Args:
        mean_loss: a `samscope.measure.objective.MeanLoss`.

    Raises:
        InputError: saying both numbers.
    """
    last = len(mean_loss.chunks) - 1
    for index in sorted({last * place // (PLACES - 1) for place in range(PLACES)}):
        batch = mean_loss.on_device(index)
        size = count(batch)
        few = min(size, SAMPLES)
        if few < 2:
            continue
        places = torch.linspace(0, size - 1, few).round().long().to(mean_loss.device)
        x, y = (alike(held, [t[places] for t in tensors(held)]) for held in batch)
        _check(mean_loss, (x, y), [few // 3 or 1, few - (few // 3 or 1)])


def _check(mean_loss: Any, batch: Batch, sizes: list[int]) -> None:
    """The same of one batch, in two parts of these sizes."""

    def found(model: nn.Module) -> tuple[float, list[float]]:
        outputs = called(model, batch[0])
        held = _parts_of(outputs, sizes)
        if held is None:
            if mean_loss.batchnorm == "batch":  # statistics of parts are others
                return math.nan, []
            held = [called(model, x) for x, _ in parts(batch, sizes)]
        targets = [y for _, y in parts(batch, sizes)]
        each = zip((outputs, *held), (batch[1], *targets), strict=True)
        whole, *rest = (mean_loss.value(o, y).item() for o, y in each)
        return whole, rest

    @torch.no_grad()
    def run(seed: int) -> tuple[float, list[float]]:
        return mean_loss.inside(mean_loss.weights, found, seed)

    whole, rest = run(0)
    mean = sum(size * value for size, value in zip(sizes, rest, strict=False)) / sum(sizes)
    slack = TOLERANCE * max(map(abs, (whole, *rest))) + FLOOR
    if not math.isfinite(whole) or abs(mean - whole) <= slack or abs(run(1)[0] - whole) > slack:
        return
    told = f"{whole:.4g} on {sum(sizes)} samples and {mean:.4g} as the mean of two parts"
    allowed = (
        'a mean over the samples, such as reduction="mean" without class weights; or name the'
        " weight= of a batch, such as the number of its targets that are not ignored"
    )
    raise InputError("MeanLoss", "loss", told, allowed)


def _parts_of(outputs: Any, sizes: list[int]) -> list[Inputs] | None:
    """What a model made of samples, in parts; None where it is not one tensor or more of them."""
    if type(outputs) not in (tuple, list, dict) and not isinstance(outputs, Tensor):
        return None
    held = tensors(outputs)
    whole = held and all(isinstance(t, Tensor) and t.ndim and len(t) == sum(sizes) for t in held)
    return cut(outputs, lambda tensor: tensor.split(sizes)) if whole else None
