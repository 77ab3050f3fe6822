"""Sharpness of parts of the data: how much the loss of so few samples rises within a radius.

P. Foret et al. (arXiv:2010.01412, section 4.1): SAM's objective with a maximum for each of disjoint
subsets of m samples, m-sharpness. With all samples in one part it is that of `sharpness`.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.batches import Batch
from samscope.measure.objective import Loss, MeanLoss, derivative
from samscope.measure.vectors import norm


def m_sharpness(model: nn.Module, loss: Loss, sample: Batch, m: int, rho: float) -> float:
    """The mean over parts of m samples of L_part(w + rho g_part / |g_part|) - L_part(w).

    That is the rise by SAM's one step, a lower bound of the largest within rho; a part without a
    gradient rises by 0. In eval mode, see `samscope.measure.objective.MeanLoss`.

    Args:
        model: whose trainable parameters are w.
        loss: mean over the samples of a batch.
        sample: inputs and targets; parts are taken in its order.
        m: samples of a part, a divisor of their number.
        rho: radius.

    Raises:
        InputError: for such an m, or a radius that is not positive.

    >>> linear = nn.Linear(1, 1, bias=False)
    >>> data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1)
    >>> [round(m_sharpness(linear, lambda y, _: y.mean(), data, m, 0.5), 6) for m in (1, 2)]
    [0.5, 0.0]
    """
    if not 0 < rho < math.inf:
        raise InputError("m_sharpness", "rho", rho, "a number above 0")
    mean_loss = MeanLoss(model, loss, sample, held=m)
    if mean_loss.samples % m:
        raise InputError("m_sharpness", "m", m, f"a divisor of the {mean_loss.samples} samples")
    w, rises = mean_loss.weights, []
    for part in range(len(mean_loss.chunks)):
        at = w.clone().requires_grad_()
        value, g = mean_loss.of_chunk(part, at, partial(_with_slope, at))
        length = norm(g)
        with torch.no_grad():
            up = w + rho / length * g if length > 0 else w
            rises.append(mean_loss.of_chunk(part, up).item() - value)
    return sum(rises) / len(rises)


def _with_slope(at: Tensor, value: Tensor) -> tuple[float, Tensor]:
    return value.item(), derivative(value, at)


def noised_loss(
    total: Loss, outputs: Tensor, targets: Tensor, classes: int, share: float
) -> Tensor:
    """The expected sum [] of the loss of samples of whose targets a share is another class.

    Each other class as likely: what a run with ``label_noise`` is trained to lower, of samples that
    it was not trained on.

    Args:
        total: sum of the loss over samples.
        outputs: [N, classes].
        targets: true classes, int64 [N].
        classes: their number.
        share: of the targets, 0 to 1.
    """
    true = total(outputs, targets)
    if not share:
        return true
    each = torch.stack([total(outputs, torch.full_like(targets, c)) for c in range(classes)])
    return (1 - share) * true + share * (each.sum() - true) / (classes - 1)
