"""Shake-Shake and ShakeDrop: branches weighed by chance, by other numbers backward than forward.

Every image has numbers of its own in every block. As in google-research/sam, the gradient that
perturbs the weights is the true one, of what the forward pass computed: its passes run within
`true_gradient`. A layer draws as many numbers there as elsewhere, so that with the same seed both
passes of a step have the same ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_true = False


@contextmanager
def true_gradient(on: bool = True) -> Iterator[None]:
    """Context of forward passes that are weighed backward by the numbers they drew for forward.

    Args:
        on: whether anything changes.
    """
    global _true
    before, _true = _true, on or _true
    try:
        yield
    finally:
        _true = before


def _apart(forward: Tensor, backward: Tensor) -> Tensor:
    """What is ``forward`` and has the gradient of ``backward``."""
    return forward if _true else backward + (forward - backward).detach()


def _uniform(x: Tensor, count: int) -> Tensor:
    """Numbers uniform on [0, 1): count tensors [N, 1, 1, 1] in one."""
    return torch.rand(count, len(x), 1, 1, 1, device=x.device).to(x.dtype)


class ShakeShake(nn.Module):
    """alpha a + (1 - alpha) b, alpha uniform on [0, 1); a mean where nothing is trained.

    Gastaldi, arXiv:1705.07485, "Shake-Shake-Image": backward, another number stands for alpha.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """One branch of two, all [N, C, H, W]."""
        if not self.training:
            return (a + b) * 0.5
        alpha, beta = _uniform(a, 2)
        return _apart(alpha * a + (1 - alpha) * b, beta * a + (1 - beta) * b)


class ShakeDrop(nn.Module):
    """(m + alpha - m alpha) x, m 1 with probability ``kept`` and else 0, alpha uniform on [-1, 1).

    Yamada et al., arXiv:1802.02375, equation 6: backward, beta uniform on [0, 1) stands for alpha.
    Where nothing is trained, the expectation: ``kept`` x.

    Args:
        kept: probability that a block is left as it is.
    """

    def __init__(self, kept: float) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        """The branch, weighed, [N, C, H, W]."""
        if not self.training:
            return self.kept * x
        chance, alpha, beta = _uniform(x, 3)
        kept = chance < self.kept
        return _apart(torch.where(kept, x, (2 * alpha - 1) * x), torch.where(kept, x, beta * x))
