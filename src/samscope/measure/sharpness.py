"""How much the loss rises within a distance rho of the weights: at worst, and on average.

The worst case is what Sharpness-Aware Minimization takes the minimum of (P. Foret et al.,
arXiv:2010.01412, section 2): max over |e| <= rho of L(w + e) - L(w). SAM itself approximates it by
one step along the gradient. The average over the sphere of radius rho is its sibling, for a small
rho about rho^2 / 2 times the mean eigenvalue of the Hessian (M. Andriushchenko et al.,
arXiv:2302.07011, compare the two). Over filter-normalised directions (H. Li et al.,
arXiv:1712.09913) it does not change when the scale of weights moves from one layer to another.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.measure.objective import MeanLoss
from samscope.measure.vectors import norm, random_direction

_TINY = 1e-30


@dataclass(frozen=True)
class WorstCase:
    """The largest rise of the loss that was found within the ball: a lower bound of the maximum.

    Attributes:
        value: the rise, at least 0; NaN where the loss is not a number at the weights or after
            SAM's step.
        one_step: the rise after SAM's own step, e = rho g / |g|.
        rho: radius of the ball.
        loss: at the weights.
        gradients: evaluated in all.
    """

    value: float
    one_step: float
    rho: float
    loss: float
    gradients: int


@dataclass(frozen=True)
class AverageCase:
    """The mean rise of the loss over random perturbations of norm rho.

    Attributes:
        value: the mean, negative where the loss bends down more than up.
        stderr: its standard error.
        rho: norm of the perturbations; of filter-normalised ones that of each filter's over the
            filter's own.
        loss: at the weights.
    """

    value: float
    stderr: float
    rho: float
    loss: float


def worst_case(
    mean_loss: MeanLoss, rho: float, steps: int = 20, restarts: int = 1, seed: int = 0
) -> WorstCase:
    """The maximum of L(w + e) - L(w) over ``|e| <= rho``, by projected gradient ascent.

    The first ascent begins with SAM's step, the others at random points of the sphere. An ascent
    never goes down: a step that would is taken back and tried a quarter as long, and each that
    succeeds makes the next twice as long, up to the power iteration that suits a convex loss.

    Args:
        mean_loss: L and w. Neither w nor the model it comes from is changed.
        rho: radius of the ball, in the units of the weights.
        steps: of an ascent, a gradient each.
        restarts: ascents besides the first.
        seed: of the random points.

    Raises:
        InputError: for a radius that is not positive, no steps, or negative restarts.

    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = torch.ones(2, 1), torch.zeros(2, 1)
    >>> rise = worst_case(MeanLoss(model, lambda outputs, _: outputs.mean(), data), rho=0.5)
    >>> round(rise.value, 6), round(rise.one_step, 6)
    (0.5, 0.5)
    """
    _check("worst_case", rho, steps=(steps, 1), restarts=(restarts, 0))
    w = mean_loss.weights
    loss, g = mean_loss.gradient(w)
    length = norm(g)
    e = g.mul_(rho / length) if length > 0 else torch.zeros_like(g)
    one_step, best = _ascend(mean_loss, e, rho, steps)
    for restart in range(restarts):
        e = random_direction(len(w), w, seed, "worst_case", restart).mul_(rho)
        best = max(best, _ascend(mean_loss, e, rho, steps)[1])
    value = max(best, loss) - loss if math.isfinite(loss) else math.nan
    return WorstCase(value, one_step - loss, rho, loss, 1 + (1 + restarts) * steps)


def average_case(
    mean_loss: MeanLoss, rho: float, directions: int = 50, seed: int = 0, filtered: bool = False
) -> AverageCase:
    """The mean of L(w + e) - L(w) over e uniform on the sphere of radius rho.

    Filtered, over e of which each filter (a slice of a parameter along its first dimension) is
    uniform on the sphere of radius rho times the norm of the filter; parameters of one dimension,
    that is biases and normalisation, stay.

    Each direction is taken both ways, so that the slope at w, which has mean zero over the sphere
    but would swamp the rest, cancels. The rise is small: give the mean loss ``dtype=torch.float64``
    where it is not far above 1e-7 of the loss.

    Args:
        mean_loss: L and w. Neither w nor the model it comes from is changed.
        rho: norm of the perturbations, in the units of the weights.
        directions: random directions, two evaluations of the loss each; at least 2.
        seed: of the directions.
        filtered: whether directions are filter-normalised.

    Raises:
        InputError: for a radius that is not positive, or fewer than 2 directions.
    """
    _check("average_case", rho, directions=(directions, 2))
    w = mean_loss.weights
    loss, rises = mean_loss(w), []
    for index in range(directions):
        e = random_direction(len(w), w, seed, "average_case", index)
        e = (_filter_normalised(e, mean_loss) if filtered else e).mul_(rho)
        rises.append((mean_loss(w + e) + mean_loss(w - e)) / 2 - loss)
    found = torch.tensor(rises, dtype=torch.float64)
    stderr = found.std().item() / math.sqrt(directions)
    return AverageCase(found.mean().item(), stderr, rho, loss)


def _filter_normalised(direction: Tensor, mean_loss: MeanLoss) -> Tensor:
    """A direction [size] whose filters have the norms of those of the weights."""
    drawn, own = mean_loss.named(direction), mean_loss.named(mean_loss.weights)
    pieces = []
    for name, piece in drawn.items():
        if piece.ndim < 2:
            pieces.append(torch.zeros_like(piece).reshape(-1))
            continue
        norms = own[name].flatten(1).norm(dim=1) / piece.flatten(1).norm(dim=1)
        pieces.append((piece.flatten(1) * norms[:, None]).reshape(-1))
    return torch.cat(pieces)


def _ascend(mean_loss: MeanLoss, e: Tensor, rho: float, steps: int) -> tuple[float, float]:
    """The loss at w + e, and the largest on the way up from there.

    Args:
        mean_loss: L and w.
        e: the start, [size], in the ball.
        rho: radius of the ball.
        steps: gradients.
    """
    w = mean_loss.weights
    first, g = mean_loss.gradient(w + e)
    best, reach = first, rho
    for _ in range(steps - 1):
        trial = e + g * (reach / max(norm(g), _TINY))
        trial *= min(1.0, rho / max(norm(trial), _TINY))
        value, slope = mean_loss.gradient(w + trial)
        if value > best:
            best, e, g, reach = value, trial, slope, min(2 * reach, 1e6 * rho)
        else:
            reach /= 4
    return first, best


def _check(where: str, rho: float, **counts: tuple[int, int]) -> None:
    """That the radius is positive and finite, and each count at least its minimum."""
    if not 0 < rho < math.inf:
        raise InputError(where, "rho", rho, "a positive number")
    for field, (value, least) in counts.items():
        if value < least:
            raise InputError(where, field, value, f"{least} at least")
