"""Losses by name: what a mini-batch costs, a mean over its samples. Names need no torch.

Outputs are [N, K], or [N, T, K] of T tokens a sample, over all of which the mean is then taken.
Targets are classes, int64 [N] or [N, T]; of `squared` also numbers, in the shape of the outputs.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from samscope.digests import Registry
from samscope.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(
    outputs: "Tensor", targets: "Tensor", smoothing: float = 0.0, reduction: str = "mean"
) -> "Tensor":
    """-log p of the target's class; smoothed, torch's: smoothing/K of the target goes to each."""
    import torch.nn.functional as F

    if targets.ndim > 1:
        outputs, targets = outputs.flatten(0, 1), targets.flatten()
    return F.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction=reduction)


def smoothed_kl(
    outputs: "Tensor", targets: "Tensor", smoothing: float = 0.0, reduction: str = "mean"
) -> "Tensor":
    """KL(target || p), where the target is 1 - smoothing at its class, smoothing/(K-1) elsewhere.

    Of davda54/sam (example/model/smooth_cross_entropy.py) and what descends from it: the smoothed
    cross-entropy less the entropy of the target, so that its minimum is 0.
    """
    import torch
    import torch.nn.functional as F

    smooth = torch.full_like(outputs, smoothing / (outputs.shape[-1] - 1))
    smooth = smooth.scatter(-1, targets.unsqueeze(-1), 1.0 - smoothing)
    divergence = F.kl_div(outputs.log_softmax(-1), smooth, reduction="none")
    return getattr(divergence.sum(-1), reduction)()


def squared(
    outputs: "Tensor", targets: "Tensor", smoothing: float = 0.0, reduction: str = "mean"
) -> "Tensor":
    """||outputs - target||^2, the target one-hot where it is a class; ``smoothing`` must be 0."""
    import torch

    if not targets.is_floating_point():  # one-hot, without reading a number of a mapped batch
        targets = torch.eye(outputs.shape[-1], dtype=outputs.dtype, device=outputs.device)[targets]
    return getattr((outputs - targets).square().sum(-1), reduction)()


LOSSES: Registry[str, Callable[..., "Tensor"]] = {
    "cross_entropy": cross_entropy,
    "smoothed_kl": smoothed_kl,
    "squared": squared,
}

SMOOTHED = ("cross_entropy", "smoothed_kl")
"""Losses with smoothed targets."""


def loss(
    name: str, smoothing: float = 0.0, reduction: str = "mean"
) -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """The loss of this name as a function of outputs and targets.

    Args:
        name: one of `LOSSES`.
        smoothing: of the target, 0 or more and less than 1.
        reduction: ``mean`` over samples (and their tokens), or ``sum``.

    Raises:
        InputError: for another name, or a smoothing that it does not have.

    >>> import torch
    >>> loss("squared")(torch.tensor([[1.0, 0.5]]), torch.tensor([0]))
    tensor(0.2500)
    >>> loss("hinge")
    Traceback (most recent call last):
    samscope.errors.InputError: loss: loss: hinge is not allowed; allowed: cross_entropy, ...
    """
    if name not in LOSSES:
        raise InputError("loss", "loss", name, ", ".join(LOSSES))
    if not 0 <= smoothing < 1 or (smoothing and name not in SMOOTHED):
        allowed = "0 or more, less than 1" if name in SMOOTHED else "0"
        raise InputError(f"loss {name}", "smoothing", smoothing, allowed)
    if not smoothing and reduction == "mean":
        return LOSSES[name]
    return partial(LOSSES[name], smoothing=smoothing, reduction=reduction)
