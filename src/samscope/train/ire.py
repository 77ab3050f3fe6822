"""Implicit regularization enhancement (IRE): longer steps where the curvature is small.

Wang et al. 2024 (arXiv:2405.20763). With D the diagonal of the Hessian as it is estimated, and w'
where the optimizer's step from w ends,

    w <- w' + kappa m (w' - w),   m = 1 for that share of the elements with the smallest |D|, or 0

so that a step is 1 + kappa times as long there, with its momentum and weight decay; the momentum
that the optimizer keeps is that of its own step. D is the estimate of Sophia-G (Liu et al.,
arXiv:2305.14342): the squared mean gradient of a mini-batch whose labels are drawn from the model's
outputs. Each estimate stands alone, without a mean over those before it.

This is the form of the authors' code (wmz9/IRE-algorithm-framework, commit aa6a599), but for this:

- theirs begins late (for images by default after epoch 70 of 200), ours with the first step;
- for CIFAR theirs estimates on one batch throughout, ours, as theirs of language models, on that
  of the step;
- ours leaves the running statistics of batch normalisation alone, theirs moves them;
- theirs for CIFAR takes one element more. Both take all that are equal to the last.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samscope import losses
from samscope.train.flat import copy_all, views

MASK = "ire_mask"
"""Name among a run's slots of where its steps are longer: bool [P]."""


def new_slots(kappa: float, w: Tensor) -> dict[str, Tensor]:
    """What a run keeps from step to step; nothing where kappa is 0."""
    return {MASK: torch.zeros_like(w, dtype=torch.bool)} if kappa else {}


def fisher_gradient(
    outputs: Tensor, parameters: Sequence[nn.Parameter], random: torch.Generator
) -> Tensor:
    """The mean gradient of cross-entropy, with labels drawn from the outputs: [P].

    Its square, times the number of labels, is the estimate of the diagonal.

    Args:
        outputs: of the model, logits [N, K], or [N, T, K] of T tokens a sample.
        parameters: of the model, P elements in all.
        random: on the CPU, where the labels are drawn.
    """
    cumulated = outputs.detach().cpu().double().softmax(-1).cumsum(-1)
    draws = torch.rand(*outputs.shape[:-1], 1, generator=random, dtype=torch.float64)
    # Of a run that diverges, whose outputs are not numbers, label 0.
    labels = (cumulated <= draws).sum(-1).clamp(max=outputs.shape[-1] - 1)
    loss = losses.cross_entropy(outputs, labels.to(outputs.device))
    found = parameters[0].detach().new_empty(sum(p.numel() for p in parameters))
    copy_all(views(found, parameters), torch.autograd.grad(loss, parameters))
    return found


def smallest(values: Tensor, share: float) -> Tensor:
    """Which elements are the smallest in magnitude: bool [P].

    Args:
        values: [P]. One that is not a number counts as large.
        share: of the elements, rounded down, but one at least; all equal to the last belong.

    >>> smallest(torch.tensor([3.0, 0.0, -1.0, 0.5]), 0.5)
    tensor([False,  True, False,  True])
    >>> smallest(torch.tensor([2.0, 0.0, 0.0, 0.0]), 0.25)
    tensor([False,  True,  True,  True])
    """
    inside, sizes = max(1, int(share * len(values))), values.abs()
    # As torch.kthvalue, which is not deterministic on a GPU.
    return sizes <= sizes.topk(len(sizes) - inside + 1).values[-1]


def lengthen(w: Tensor, before: Tensor, mask: Tensor, kappa: float) -> None:
    """Make the step from ``before`` to w, in place, 1 + kappa times as long where the mask is."""
    w.add_(torch.where(mask, w - before, 0.0), alpha=kappa)
