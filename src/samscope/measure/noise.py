"""How much of a parameter's region is noise, and how much is curvature.

The regions of r = h/g are compared with those that something else gives at the same weights:
another mini-batch, float64, and the linear picture h = g + rho H g/||g||, one Hessian-vector
product. Each agreement stands beside its chance level, that of independent memberships with the
same shares.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from samscope.measure.batches import Batch
from samscope.measure.hessian import Hessian
from samscope.measure.objective import Loss, MeanLoss
from samscope.measure.products import ROWS, Operator
from samscope.optim.ascent import climb, global_norm
from samscope.optim.ratio import count, regions
from samscope.seeding import stream

BATCHES = 4
"""Mini-batches that are compared, where there are as many."""

RHOS = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8)
"""At which the linear picture is compared with h."""

PRODUCTS = 32
"""For the diagonal of the Hessian, an even number."""


def noise_floor(
    model: nn.Module,
    loss: Loss,
    batches: Iterable[Batch],
    sample: Batch,
    rho: float,
    seed: int = 0,
) -> dict[str, Any]:
    """The regions of h/g beside those of noise, mean over mini-batches.

    Gradients are of one mini-batch, normalised with its own statistics, as in training, in float32.

    Args:
        model: its weights stay.
        loss: mean over the batch.
        batches: mini-batches, of which the first `BATCHES` are taken.
        sample: what the diagonal of the Hessian is of, in eval mode.
        rho: of h.
        seed: of the random vectors for the diagonal.

    Returns:
        ``shares`` of regions 1 to 4 for h/g in percent of all elements, ``noise_shares`` for g'/g
        of one mini-batch and the next; agreements [percent of elements in the same region, chance]
        of h/g with the next mini-batch (``another_batch``), of float32 with float64 (``float64``);
        ``prediction``, by rho, the agreement with the region of g + rho H g/||g|| and the median of
        |r - r_pred| / |r - 1|; ``diagonal``, see `diagonal_ranks`. Null where one batch is all.
    """
    reached = sorted({*RHOS, rho})
    sharp = Hessian(MeanLoss(model, loss, sample))
    half, other_half = (diagonal(sharp, PRODUCTS // 2, seed, part) for part in range(2))
    del sharp  # and the graph that it keeps
    found, pairs = defaultdict(list), []
    for batch in islice(batches, BATCHES):
        mean_loss = MeanLoss(model, loss, batch, batchnorm="batch")
        g = mean_loss.gradient(mean_loss.weights)[1]
        slope = Hessian(mean_loss).matvec(g / (global_norm([g]) + 1e-12))
        looks = []
        for at in reached:
            h = perturbed(mean_loss, g, at)
            looks.append(predicted(g, h, slope, at))
            if at == rho:
                codes = regions(g, h)
        exact = MeanLoss(model, loss, batch, dtype=torch.float64, batchnorm="batch")
        g64 = exact.gradient(exact.weights)[1]
        found["shares"].append(shares(codes))
        found["float64"].append(agreement(codes, regions(g64, perturbed(exact, g64, rho))))
        found["prediction"].append(torch.stack(looks))
        found["diagonal"].append(diagonal_ranks(half, other_half, g, codes == 0))
        pairs.append((g, codes))
    for (g, codes), (other, next_codes) in pairwise(pairs):
        found["noise_shares"].append(shares(regions(g, other)))
        found["another_batch"].append(agreement(codes, next_codes))
    means = {name: torch.stack(values).mean(0).tolist() for name, values in found.items()}
    linear = zip(reached, means["prediction"], strict=True)
    names = ("rank_correlation", "reliability", "above", "chance")
    return {
        "rho": rho,
        "batches": len(pairs),
        "shares": means["shares"],
        "noise_shares": means.get("noise_shares"),
        "another_batch": means.get("another_batch"),
        "float64": means["float64"],
        "prediction": [{"rho": at, "same": a, "chance": b, "error": c} for at, (a, b, c) in linear],
        "diagonal": dict(zip(names, means["diagonal"], strict=True)),
    }


def perturbed(mean_loss: MeanLoss, g: Tensor, rho: float) -> Tensor:
    """The gradient h at w + rho g/||g||."""
    w = mean_loss.weights.clone()
    climb(w, g, rho / (global_norm([g]) + 1e-12))
    return mean_loss.gradient(w)[1]


def predicted(g: Tensor, h: Tensor, slope: Tensor, rho: float) -> Tensor:
    """How well h is g + rho times the slope: float64 [3].

    Agreement of the regions with its chance, in percent, and the median of |r - r_pred| / |r - 1|,
    over the elements where h - g is not 0.

    >>> g = torch.tensor([1.0, 1.0])
    >>> predicted(g, h=torch.tensor([3.0, 0.5]), slope=torch.tensor([10.0, 5.0]), rho=0.1).tolist()
    [50.0, 50.0, 0.5]
    """
    linear = g.add(slope, alpha=rho)
    # Not h != g: where numbers below full precision count as 0, their difference may be 0.
    moved = h - g != 0
    errors = ((h - linear).abs() / (h - g).abs())[moved].double()
    error = errors.median() if len(errors) else errors.new_tensor(torch.nan)
    return torch.cat([agreement(regions(g, h), regions(g, linear)), error.cpu()[None]])


def shares(codes: Tensor) -> Tensor:
    """Of regions 1 to 4, in percent of all elements: float64 [4]."""
    return 100 * count(codes)[:4].double().cpu() / codes.numel()


def agreement(codes: Tensor, others: Tensor) -> Tensor:
    """Percent of elements with one code in both, and what chance gives: float64 [2].

    Chance: the sum over all codes, ties and zeros too, of the products of their shares.

    >>> agreement(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1])).tolist()
    [75.0, 50.0]
    """
    same = (codes == others).double().mean()
    chance = (count(codes).double() @ count(others).double()) / codes.numel() ** 2
    return 100 * torch.stack([same, chance]).cpu()


def diagonal(operator: Operator, products: int, seed: int, part: int = 0) -> Tensor:
    """Hutchinson's estimate [size] of the diagonal: the mean of v * (A v) over random signs v.

    C. Bekas, E. Kokiopoulou, Y. Saad, "An estimator for the diagonal of a matrix", Applied
    Numerical Mathematics 57, 2007. Exact for a diagonal matrix; otherwise the variance of an entry
    is the sum of squares of its row's others, over ``products``.

    Args:
        operator: for instance a `samscope.measure.hessian.Hessian`.
        products: with it.
        seed: of the random signs, which differ by ``part``.
        part: which of several independent estimates.
    """
    draws = stream(seed, "diagonal", part)
    total = torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
    for start in range(0, products, ROWS):
        shape = min(ROWS, products - start), operator.size
        signs = torch.randint(2, shape, generator=draws).mul_(2).sub_(1)
        signs = signs.to(operator.device, operator.dtype)
        total = total + operator.matmat(signs).mul_(signs).sum(0)
    return total / products


def diagonal_ranks(half: Tensor, other: Tensor, g: Tensor, inside: Tensor) -> Tensor:
    """How the diagonal of the Hessian ranks with the gradient: float64 [4].

    Args:
        half: an estimate of the diagonal [size].
        other: another, independent of it.
        g: gradient [size].
        inside: bool [size], the n1 members of region 1.

    Returns:
        Spearman's correlation of |diagonal|, the mean of the two, with |g|; of the two estimates
        with each other, which limits it; percent of the members whose |diagonal| is above entry n1
        (from 0) in decreasing order; the share of the members in percent, which chance would give.
    """
    sizes, n1 = (half + other).abs() / 2, int(inside.sum())
    threshold = sizes.topk(min(n1 + 1, len(sizes)), sorted=False).values.min()
    above = 100.0 * int((inside & (sizes > threshold)).sum()) / (n1 or 1)
    found = spearman(sizes, g.abs()), spearman(half.abs(), other.abs())
    return torch.tensor([*found, above, 100.0 * n1 / len(g)], dtype=torch.float64)


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two vectors; equal values share their mean rank.

    >>> round(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 9.0, 4.0])), 6)
    0.5
    """
    return torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1].item()


def _ranks(values: Tensor) -> Tensor:
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[place]
