"""SAM's step over SGD with momentum, for parameters that live in one vector.

`samscope.optim.SAM` wraps any optimizer; training needs only this one, so here everything after the
second pass is one function of the elements: region, mix, weight decay, momentum, step and counts.
Eager, it goes through the vector in blocks that fit a cache and its numbers are those of SAM around
torch.optim.SGD to the bit; compiled, it is a single pass over memory. Compiled code takes the
settings as tensors and serves every variant, rho and learning rate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from samscope.optim.ascent import climb, global_norm
from samscope.optim.mixes import REGIONS, Mix
from samscope.optim.ratio import blocks, combine_kinds, count_kinds, kinds

Number = float | Tensor


@dataclass(frozen=True, eq=False)
class Settings:
    """The numbers of an update: floats and a Mix, or scalar tensors and its table, float32 [5, 4].

    Momentum is without dampening and Nesterov; weight decay is coupled, outside mask and mix.
    """

    lr: Number
    rho: Number
    momentum: Number
    weight_decay: Number
    mix: Mix | Tensor


def ascend(w: Tensor, start: Tensor, g: Tensor, settings: Settings) -> Tensor:
    """Keep w in ``start`` and move it in place to w + rho g / (||g|| + 1e-12); returns ||g||.

    Equation 2 of Foret et al. 2021 (arXiv:2010.01412) at p = 2. All are vectors of one length.
    """
    norm = global_norm([g])
    start.copy_(w)
    climb(w, g, settings.rho / (norm + 1e-12))
    return norm


def descend(
    w: Tensor, start: Tensor, g: Tensor, h: Tensor, buffer: Tensor, settings: Settings
) -> Tensor:
    """Set w to the step from ``start`` along the mix of g and h; returns the counts, int64 [7].

    Args:
        w: overwritten.
        start: where g was taken.
        g: gradient at ``start``.
        h: gradient at w + e.
        buffer: momentum, updated in place; zeros before the first step.
        settings: of the step.
    """
    counts = torch.zeros(len(REGIONS), dtype=torch.int64, device=w.device)
    for parts in blocks(w, start, g, h, buffer):
        counts += descend_block(*parts, settings)
    return counts


def descend_block(
    w: Tensor, start: Tensor, g: Tensor, h: Tensor, buffer: Tensor, settings: Settings
) -> Tensor:
    """`descend` in one piece: what is compiled."""
    kind = kinds(g, h)
    _step(w, start, combine_kinds(g, h, settings.mix, kind), buffer, settings)
    return count_kinds(kind)


def descend_plain(w: Tensor, g: Tensor, buffer: Tensor, settings: Settings) -> None:
    """SGD with momentum: move w in place along g, update ``buffer``."""
    for w_part, g_part, buffer_part in blocks(w, g, buffer):
        _step(w_part, w_part, g_part, buffer_part, settings)


def _step(w: Tensor, start: Tensor, u: Tensor, buffer: Tensor, settings: Settings) -> None:
    gradient = _add(u, settings.weight_decay, start)
    buffer.copy_(buffer.mul(settings.momentum).add_(gradient))
    w.copy_(_add(start, -settings.lr, buffer))


def _add(y: Tensor, a: Number, x: Tensor) -> Tensor:
    """The sum y + a x, rounded once where a is a number, as in torch.optim."""
    return y + a * x if isinstance(a, Tensor) else torch.add(y, x, alpha=a)
