"""Adam and AdamW, as in torch.optim.

    m <- beta1 m + (1 - beta1) u        s <- beta2 s + (1 - beta2) u^2
    w <- w - lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + 1e-8)

after t steps, this one included; beta1 is the momentum. Kingma and Ba 2015 (arXiv:1412.6980);
weight decay apart from the gradient: Loshchilov and Hutter 2019 (arXiv:1711.05101).
"""

from collections.abc import Sequence

from torch import Tensor

from samscope.optim.settings import Settings, plus

EPSILON = 1e-8
"""Of torch's default, and of both sources that train with Adam (openai/grok, the CS-439 report)."""


def adam(w: Tensor, start: Tensor, u: Tensor, slots: Sequence[Tensor], n: Settings) -> None:
    """Weight decay is part of the gradient: u + weight_decay w. See `samscope.optim.rules`."""
    _adam(w, start, plus(u, n.weight_decay, start), slots, n)


def adamw(w: Tensor, start: Tensor, u: Tensor, slots: Sequence[Tensor], n: Settings) -> None:
    """Weight decay is apart: w (1 - lr weight_decay) takes the step. See `samscope.optim.rules`."""
    _adam(w, start * (1 - n.lr * n.weight_decay), u, slots, n)


def _adam(w: Tensor, base: Tensor, u: Tensor, slots: Sequence[Tensor], n: Settings) -> None:
    (m, s), (unbias, root) = slots, n.debias or (1.0, 1.0)
    m.lerp_(u, 1 - n.momentum)
    s.mul_(n.beta2).addcmul_(u, u * (1 - n.beta2))
    w.copy_(base - m * (n.lr / unbias) / (s.sqrt() / root).add_(EPSILON))
