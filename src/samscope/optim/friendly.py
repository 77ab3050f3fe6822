"""Friendly SAM: an ascent without what the batches of many steps have in common.

    m = lambda m + (1 - lambda) g        d = g - sigma m        e = rho d / (||d|| + 1e-12)

m begins at 0 and estimates the gradient of the whole data, d the batch's own noise. Li et al. 2024
(arXiv:2403.12350), with sigma = 1 and lambda = 0.9. Their code begins with m = g and subtracts the
m of the step before, which for sigma = 1 is along the same d. m is kept in the base optimizer's
state, beside momentum and the like, so that a resumed run is exact.
"""

import torch
from torch import Tensor
from torch.optim import Optimizer

_VECTOR = "friendly"


def means(base: Optimizer, params: list[Tensor], gs: list[Tensor], memory: float) -> list[Tensor]:
    """Each parameter's m of this step, which is not kept yet.

    Args:
        base: whose state has those of the step before.
        params: with gradients.
        gs: these.
        memory: lambda.
    """
    states = [base.state.get(p, {}) for p in params]
    pairs = zip(states, gs, strict=True)
    # Of a model that was moved or cast since, the state was not.
    old = [s[_VECTOR].to(g) if _VECTOR in s else torch.zeros_like(g) for s, g in pairs]
    return list(torch._foreach_lerp(old, gs, 1 - memory))


def own(gs: list[Tensor], ms: list[Tensor], sigma: float) -> list[Tensor]:
    """Each d: what is this batch's alone.

    >>> own([torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 0.0])], 1.0)
    [tensor([0., 2.])]
    """
    return list(torch._foreach_sub(gs, ms, alpha=sigma))


def keep(base: Optimizer, params: list[Tensor], ms: list[Tensor]) -> None:
    """Each parameter's m, after the base optimizer has begun the state of those it moves."""
    for p, m in zip(params, ms, strict=True):
        if p.grad is not None:
            base.state[p][_VECTOR] = m
