"""GSAM: SAM that also closes the surrogate gap f(w + e) - f(w).

    u = h - alpha g_perp,    g_perp = g - (g.h / h.h) h

g_perp is the part of g that is perpendicular to h: going up along it, w comes to where f(w) is
nearer to f(w + e), which to first order stays. Zhuang et al. 2022 (arXiv:2203.08065), algorithm 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from samscope.optim.mixes import Mix


def gap_mix(gs: Sequence[Tensor], hs: Sequence[Tensor], alpha: float) -> Mix:
    """The mix of a step of GSAM: one row for all regions, from the products of all gradients.

    >>> gap_mix([torch.tensor([1.0, 1.0])], [torch.tensor([2.0, 0.0])], 0.5).rest
    (1.25, -0.5, 0.0, 0.0)
    """
    pairs = list(zip(gs, hs, strict=True))
    gh = torch.stack([(g * h).sum(dtype=torch.float64) for g, h in pairs]).sum().item()
    hh = torch.stack([(h * h).sum(dtype=torch.float64) for _, h in pairs]).sum().item()
    row = (1 + alpha * gh / hh if hh else 1.0, -alpha, 0.0, 0.0)
    return Mix("gsam", [row] * 4, row)
