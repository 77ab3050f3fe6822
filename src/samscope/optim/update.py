"""SAM's step over a rule, for parameters that live in one vector.

`samscope.optim.SAM` wraps any optimizer; training needs a few, so here everything after the second
pass is one function of the elements: region, mix, rule and counts. Eager, it goes through the
vectors in blocks that fit a cache, and over SGD its numbers are those of SAM around torch.optim.SGD
to the bit; compiled, it is a single pass over memory. Compiled code takes the settings as tensors
and serves every variant, rho and learning rate.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from samscope.optim.ascent import global_norm
from samscope.optim.mixes import REGIONS
from samscope.optim.ratio import blocks, combine_kinds, count_kinds, kinds
from samscope.optim.rules import Rule
from samscope.optim.settings import Number, Settings, plus

COUNT = "count"
"""Name of a rule's number of steps among its slots: float64, a scalar."""


def new_slots(rule: Rule, w: Tensor) -> dict[str, Tensor]:
    """What a rule keeps from step to step, before the first: all that a resumed run needs of it.

    >>> from samscope.optim.rules import RULES
    >>> new_slots(RULES["sgd"], torch.ones(2))
    {'momentum': tensor([0., 0.])}
    """
    count = {COUNT: w.new_zeros((), dtype=torch.float64)} if rule.counts else {}
    return {name: torch.zeros_like(w) for name in rule.slots} | count


def penalise(g: Tensor, w: Tensor, settings: Settings) -> None:
    """Make the gradient g of a loss at w, in place, that of loss + penalty/2 ||w||^2.

    Foret et al. train with weight decay in the loss of both passes (google-research/sam).
    """
    if settings.penalty is not None:
        for part, w_part in blocks(g, w):
            part.copy_(plus(part, settings.penalty, w_part))


def descend(
    w: Tensor,
    start: Tensor,
    g: Tensor,
    h: Tensor,
    slots: Mapping[str, Tensor],
    rule: Rule,
    settings: Settings,
    whole: Callable[..., Tensor] | None = None,
) -> Tensor:
    """Set w to the step from ``start`` along the mix of g and h; returns the counts, int64 [7].

    Args:
        w: overwritten.
        start: where g was taken.
        g: gradient at ``start``.
        h: gradient at w + e.
        slots: of the rule, updated in place; see `new_slots`.
        rule: what moves w.
        settings: of the step.
        whole: `descend_block` compiled, to be called on the vectors as they are.
    """
    vectors, settings = _begin(slots, rule, settings)
    scale = None
    if settings.clip is not None:
        pieces = (combine_kinds(a, b, settings.mix, kinds(a, b)) for a, b in blocks(g, h))
        scale = _clipping(pieces, settings.clip)
    if whole is not None:
        return whole(w, start, g, h, vectors, rule.step, settings, scale)
    counts = torch.zeros(len(REGIONS), dtype=torch.int64, device=w.device)
    for w_, start_, g_, h_, *slots_ in blocks(w, start, g, h, *vectors):
        counts += descend_block(w_, start_, g_, h_, slots_, rule.step, settings, scale)
    return counts


def descend_block(
    w: Tensor,
    start: Tensor,
    g: Tensor,
    h: Tensor,
    slots: Sequence[Tensor],
    step: Callable[..., None],
    settings: Settings,
    scale: Tensor | None = None,
) -> Tensor:
    """`descend` in one piece: what is compiled. The mix is multiplied by ``scale``."""
    kind = kinds(g, h)
    u = combine_kinds(g, h, settings.mix, kind)
    step(w, start, u if scale is None else u * scale, slots, settings)
    return count_kinds(kind)


def descend_plain(
    w: Tensor, g: Tensor, slots: Mapping[str, Tensor], rule: Rule, settings: Settings
) -> None:
    """The rule alone: move w in place along g, update the slots."""
    vectors, settings = _begin(slots, rule, settings)
    scale = None if settings.clip is None else _clipping([g], settings.clip)
    for w_, g_, *slots_ in blocks(w, g, *vectors):
        rule.step(w_, w_, g_ if scale is None else g_ * scale, slots_, settings)


def _begin(
    slots: Mapping[str, Tensor], rule: Rule, settings: Settings
) -> tuple[list[Tensor], Settings]:
    """The vectors of a rule that is about to make a step, and the settings of that step."""
    vectors = [slots[name] for name in rule.slots]
    if not rule.counts:
        return vectors, settings
    count = slots[COUNT].add_(1)
    lr, betas = settings.lr, (settings.momentum, settings.beta2)
    debias: tuple[Number, Number]
    if isinstance(lr, Tensor):
        # 1 - 0.999^t in float32 would be off by 3e-5 at first.
        beta1, beta2 = (torch.as_tensor(beta).double() for beta in betas)
        exact = (1 - beta1**count, (1 - beta2**count).sqrt())
        debias = (exact[0].to(lr.dtype), exact[1].to(lr.dtype))
    else:
        t = count.item()
        debias = (1 - betas[0] ** t, (1 - betas[1] ** t) ** 0.5)
    return vectors, replace(settings, debias=debias)


def _clipping(pieces: Iterable[Tensor], clip: Number) -> Tensor:
    """min(1, clip / ||u||) of the u that consists of these pieces."""
    return (clip / global_norm(pieces)).clamp(max=1.0)
