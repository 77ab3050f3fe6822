"""SGD at the size of SAM's step: how far the effective learning rate alone explains SAM.

SAM's step is longer than SGD's, and longer in some regions than in others. The control scales g at
each step to the norm of h, as a whole or region by region, and keeps its direction.
"""

import torch
from torch import Tensor

from samscope.optim.mixes import G


def norm_table(g: Tensor, h: Tensor, norms: str) -> Tensor:
    """The table, see `samscope.optim.Mix`, of a step with g at the norm of h.

    Args:
        g: gradient at w, a vector.
        h: gradient at w + e.
        norms: ``all``: u = g ||h||/||g||; ``regions``: u = g ||h_k||/||g_k|| in region k, where
            norms are over its elements, and g in no region.

    Returns:
        float32 [5, 4]: the regions 1 to 4 and the rest.

    >>> g, h = torch.tensor([3.0, 4.0, 1.0]), torch.tensor([6.0, 8.0, -2.0])
    >>> norm_table(g, h, "regions")[:, 1].tolist()
    [2.0, 1.0, 2.0, 1.0, 1.0]
    """
    if norms == "all":
        ratios = [_ratio(g, h, None)] * 5
    else:
        alike, farther = g.sign() * h.sign(), h.abs() - g.abs()
        ratios = [
            _ratio(g, h, (alike * sign > 0) & (farther * side > 0))
            for sign in (1, -1)
            for side in (1, -1)
        ]
        ratios.append(torch.ones_like(ratios[0]))
    # Of numbers on the device alone, so that a CUDA graph can hold it.
    column = torch.stack(ratios).float()
    return torch.stack([column * coefficient for coefficient in G], 1)


def _ratio(g: Tensor, h: Tensor, inside: Tensor | None) -> Tensor:
    """||h|| / ||g|| over some elements, 1 where g has none but zeros."""
    squares = [v * v if inside is None else torch.where(inside, v * v, 0.0) for v in (h, g)]
    above, below = (s.sum(dtype=torch.float64) for s in squares)
    return torch.where(below > 0, (above / below).sqrt(), 1.0)
