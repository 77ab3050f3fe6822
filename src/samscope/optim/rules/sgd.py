"""SGD with momentum, as in torch.optim.SGD without dampening.

u' = u + weight_decay w        v <- momentum v + u'
w <- w - lr v, or with Nesterov's momentum w - lr (u' + momentum v)
"""

from collections.abc import Sequence

from torch import Tensor

from samscope.optim.settings import Settings, plus


def sgd(w: Tensor, start: Tensor, u: Tensor, slots: Sequence[Tensor], n: Settings) -> None:
    """See `samscope.optim.rules`; the slot is v."""
    (v,) = slots
    u = plus(u, n.weight_decay, start)
    v.copy_(v.mul(n.momentum).add_(u))
    w.copy_(plus(start, -n.lr, plus(u, n.momentum, v) if n.nesterov else v))
