"""LookSAM: an ascent in one of several steps, whose gain over g the steps between use again.

    with an ascent    u = h,                               v = h - (h.g / g.g) g
    without           u = g + alpha (||g|| / ||v||) v

v is the part of h that is perpendicular to g, and changes more slowly than both. Liu et al. 2022
(arXiv:2203.02714), algorithm 1. It is kept in the base optimizer's state, beside momentum and the
like, so that a resumed run is exact.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from samscope.optim.lists import inner, norm_of

_VECTOR, _SINCE = "look", "steps_since_look"


def due(base: Optimizer, every: int) -> bool:
    """Whether this step has an ascent: one in every so many, and the next if one was left out."""
    since = base.param_groups[0].get(_SINCE)
    return every == 1 or since is None or since >= every - 1


def perpendicular(gs: list[Tensor], hs: list[Tensor]) -> list[Tensor]:
    """Of h to g, all of them together.

    >>> perpendicular([torch.tensor([2.0, 0.0])], [torch.tensor([1.0, 3.0])])
    [tensor([0., 3.])]
    """
    gg = inner(gs, gs)
    return list(torch._foreach_add(hs, gs, alpha=-inner(gs, hs) / gg if gg else 0.0))


def keep(base: Optimizer, params: list[Tensor], vs: list[Tensor]) -> None:
    """Each parameter's v, from a step with an ascent."""
    for p, v in zip(params, vs, strict=True):
        base.state[p][_VECTOR] = v
    base.param_groups[0][_SINCE] = 0


def lean(base: Optimizer, params: list[Tensor], alpha: float) -> None:
    """Make each gradient g the u of a step without an ascent; one without a v stays."""
    states: list[dict[str, Any]] = [base.state.get(p, {}) for p in params]
    pairs = [(p.grad, s[_VECTOR]) for p, s in zip(params, states, strict=True) if _VECTOR in s]
    base.param_groups[0][_SINCE] += 1
    if pairs:
        gs, vs = (list(some) for some in zip(*pairs, strict=True))
        ratio = (norm_of(gs) / (norm_of(vs) + 1e-12)).item()
        torch._foreach_add_(gs, vs, alpha=alpha * ratio)
