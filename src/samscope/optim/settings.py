"""The numbers of an update, as floats or as tensors that compiled and recorded code reads."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from samscope.optim.method import Method
from samscope.optim.mixes import Mix

Number = float | Tensor


@dataclass(frozen=True, eq=False)
class Settings:
    """The numbers of an update: floats and a Mix, or scalar tensors and its table, float32 [5, 4].

    Attributes:
        lr: learning rate.
        rho: radius of the perturbation.
        momentum: of SGD; Adam's beta1.
        weight_decay: of the rule, outside mask and mix.
        mix: of the two gradients.
        beta2: Adam's.
        clip: the largest norm of the mixed gradient; None: any.
        penalty: weight decay as part of the loss, in both gradients and in e; None: none.
        nesterov: whether SGD's momentum is Nesterov's; not a number, so code is made for it.
        debias: of the step that is being made, by rules that count: 1 - beta1^t and the root of
            1 - beta2^t.
    """

    lr: Number
    rho: Number
    momentum: Number
    weight_decay: Number
    mix: Mix | Tensor
    beta2: Number = 0.999
    clip: Number | None = None
    penalty: Number | None = None
    nesterov: bool = False
    debias: tuple[Number, Number] | None = None


def settings(method: Method, like: Tensor | None = None) -> Settings:
    """The settings of a method's steps, at its peak learning rate.

    Args:
        method: of the run; no rho counts as 0.
        like: what the numbers' dtype and device are taken from, to have them as tensors.
    """

    def number(value: float) -> Number:
        return value if like is None else torch.tensor(value, dtype=like.dtype).to(like.device)

    decay, mix = method.weight_decay, method.mix
    table: Mix | Tensor = mix
    if like is not None:
        table = torch.tensor(mix.table, dtype=like.dtype).to(like.device)
    elif mix.norms:  # which are brought to each other by a table that changes with the step
        table = torch.tensor(mix.table)
    return Settings(
        lr=number(method.lr),
        rho=number(method.ascent.rho or 0.0),
        momentum=number(method.momentum),
        weight_decay=number(0.0 if method.decay_in_loss else decay),
        mix=table,
        beta2=number(method.beta2),
        clip=number(method.clip) if method.clip else None,
        penalty=number(decay) if method.decay_in_loss else None,
        nesterov=method.nesterov,
    )


def refill(old: Settings, new: Settings) -> None:
    """Write the numbers of one into the tensors of another, of a method of the same form."""
    for field in fields(Settings):
        if isinstance(value := getattr(old, field.name), Tensor):
            value.copy_(getattr(new, field.name))


def at_rate(settings: Settings, lr: float) -> Settings:
    """The settings at another learning rate: the same tensors, refilled, where they are tensors."""
    if not isinstance(settings.lr, Tensor):
        return replace(settings, lr=lr)
    settings.lr.fill_(lr)
    return settings


def plus(y: Tensor, a: Number, x: Tensor) -> Tensor:
    """The sum y + a x, rounded once where a is a number, as in torch.optim."""
    return y + a * x if isinstance(a, Tensor) else torch.add(y, x, alpha=a)
