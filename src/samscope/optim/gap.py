"""GSAM: SAM that also closes the surrogate gap f(w + e) - f(w).

    u = h - alpha g_perp,    g_perp = g - (g.h / h.h) h

g_perp is the part of g that is perpendicular to h: going up along it, w comes to where f(w) is
nearer to f(w + e), which to first order stays. Zhuang et al. 2022 (arXiv:2203.08065), algorithm 1.
"""

from torch import Tensor

from samscope.optim.lists import inner
from samscope.optim.mixes import Mix


def gap_mix(gs: list[Tensor], hs: list[Tensor], alpha: float) -> Mix:
    """The mix of a step of GSAM: one row for all regions, from the products of all gradients.

    >>> import torch
    >>> gap_mix([torch.tensor([1.0, 1.0])], [torch.tensor([2.0, 0.0])], 0.5).rest
    (1.25, -0.5, 0.0, 0.0)
    """
    gh, hh = inner(gs, hs), inner(hs, hs)
    row = (1 + alpha * gh / hh if hh else 1.0, -alpha, 0.0, 0.0)
    return Mix("gsam", [row] * 4, row)
