"""How the weights move: a method is an ascent, a mix of two gradients, and a rule that takes it.

Frozen values that a cell is made of; every field has a name of its own among all of a cell's. No
torch: the plan is built from them.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from samscope.errors import InputError
from samscope.optim.mixes import Mix, named_mix
from samscope.optim.rules import RULES
from samscope.optim.scaling import ADAPTIVE
from samscope.optim.schedules import SCHEDULES

ASCENT_RULES = ("sum", "projected")
"""How several steps of an ascent make one, see `samscope.optim.ascent.ascend`."""

DIRECTIONS = ("gradient", "random")
"""Of an ascent: the way up, or any way."""

AVERAGED = ("gradients", "perturbations")
"""Over micro-batches: their second gradients, each at its own w + e, or their e, so that all second
gradients are taken at one point. The first is what Foret et al. and their code do."""

SECOND_ORDER = ("dropped", "kept", "observed")
"""The part of the gradient of L(w + e(w)) that comes from e: see `samscope.train.pure`."""

RANDOMNESS = ("fresh", "same")
"""Of random layers at w + e: numbers of their own, or those of the first pass."""


@dataclass(frozen=True)
class Ascent:
    """From w to w + e, see `samscope.optim.ascent.ascend`.

    Attributes:
        rho: radius of the perturbation; None: there is no ascent.
        norm: the p of the norm that rho is of, 1 to infinity.
        adaptive: "" or a form of adaptive SAM, a name in `samscope.optim.scaling.ADAPTIVE`.
        ascent_steps: gradients that it takes.
        ascent_rule: one of `ASCENT_RULES`; a projected ascent is Euclidean.
        direction: one of `DIRECTIONS`; a random one takes one step, Euclidean and not adaptive.
        randomness: one of `RANDOMNESS`; ``same`` drops the same units, and shakes branches
            alike, in all passes of a step, so that both gradients are of one function.
        ascent_epsilon: added to the norm that a Euclidean direction is divided by. Of the official
            code 0: there a gradient of 0 makes a step that is not a number.
        micro_batch: m of m-sharpness: so many samples climb together, each such part of a
            mini-batch on its own; it divides the mini-batch. 0: the whole batch.
        micro_average: one of `AVERAGED`, with ``micro_batch``.
        second_order: one of `SECOND_ORDER`; ``observed`` drops it and records the cosine of both.

    Raises:
        InputError: a value that is none of these.
    """

    rho: float | None = None
    norm: float = 2.0
    adaptive: str = ""
    ascent_steps: int = 1
    ascent_rule: str = "sum"
    direction: str = "gradient"
    randomness: str = "fresh"
    ascent_epsilon: float = 1e-12
    micro_batch: int = 0
    micro_average: str = "gradients"
    second_order: str = "dropped"

    def __post_init__(self) -> None:
        rho, steps = self.rho, self.ascent_steps
        _check("ascent", "rho", rho, rho is None or 0 <= rho < math.inf, "a number >= 0, or none")
        _check("ascent", "norm", self.norm, self.norm >= 1, "a number >= 1, or inf")
        _check("ascent", "ascent_steps", steps, steps >= 1, "1 or more")
        _among("ascent", self, "adaptive", ("", *ADAPTIVE))
        _among("ascent", self, "ascent_rule", ASCENT_RULES)
        _among("ascent", self, "direction", DIRECTIONS)
        _among("ascent", self, "randomness", RANDOMNESS)
        _among("ascent", self, "micro_average", AVERAGED)
        _among("ascent", self, "second_order", SECOND_ORDER)
        epsilon, m = self.ascent_epsilon, self.micro_batch
        _check("ascent", "ascent_epsilon", epsilon, 0 <= epsilon < math.inf, "a number >= 0")
        _check("ascent", "micro_batch", m, m >= 0, "1 or more, or 0 for the whole batch")
        if not m:
            _among("ascent without micro_batch", self, "micro_average", ("gradients",))
        if self.second_order != "dropped":
            _among("ascent of second order", self, "micro_batch", (0,))
            # Other norms have directions without a slope where an element of g is 0.
            _among("ascent of second order", self, "norm", (2.0,))
        if self.ascent_rule == "projected":
            _among("ascent projected", self, "norm", (2.0,))
        if self.direction == "random":
            _among("ascent random", self, "norm", (2.0,))
            _among("ascent random", self, "adaptive", ("",))
            _among("ascent random", self, "ascent_steps", (1,))
            _among("ascent random", self, "micro_batch", (0,))
            _among("ascent random", self, "second_order", ("dropped",))

    @property
    def pure(self) -> bool:
        """Whether a step takes the passes of `samscope.train.pure`: neither compiled nor recorded.

        >>> Ascent(0.05, ascent_steps=2).pure, Ascent(0.05, micro_batch=4).pure
        (False, True)
        """
        return self.micro_batch > 0 or self.second_order != "dropped"


@dataclass(frozen=True)
class Enhancement:
    """Longer steps where the curvature is small, see `samscope.train.ire`.

    Attributes:
        ire_kappa: there a step is 1 + kappa times as long; 0: nowhere.
        ire_share: of the parameters, those with the least curvature.
        ire_every: steps for which an estimate of the curvature holds.

    Raises:
        InputError: a value that is none of these, or one without ``ire_kappa``.
    """

    ire_kappa: float = 0.0
    ire_share: float = 0.95
    ire_every: int = 10

    def __post_init__(self) -> None:
        kappa, share, every = self.ire_kappa, self.ire_share, self.ire_every
        _check("method", "ire_kappa", kappa, 0 <= kappa < math.inf, "a number >= 0")
        _check("method", "ire_share", share, 0 < share <= 1, "more than 0, 1 at most")
        _check("method", "ire_every", every, every >= 1, "1 or more")
        for name in ("ire_share", "ire_every") if not kappa else ():
            _among("method without ire_kappa", self, name, (getattr(Enhancement, name),))


@dataclass(frozen=True)
class Method:
    """What turns the gradients of a mini-batch into a step.

    Attributes:
        variant: name of a mix, see `samscope.optim.mixes.named_mix`.
        lr: peak learning rate.
        momentum: of SGD, without dampening; beta1 of Adam.
        weight_decay: of the optimizer: L2 for sgd and adam, apart from the gradient for adamw. It
            enters neither mix nor perturbation, unless ``decay_in_loss``.
        condition: factor c of the `sameckpt` and `sgdckpt` variants; None for the others.
        ascent: from w to where the second gradient is taken.
        optimizer: what takes the mix for a gradient, a name in `samscope.optim.rules.RULES`.
        nesterov: whether the momentum is Nesterov's, of sgd alone.
        beta2: of Adam.
        clip: the mix is scaled down to this Euclidean norm where it is longer; 0: never.
        decay_in_loss: weight decay is part of the loss of both passes, as weight_decay/2 ||w||^2,
            and the optimizer has none.
        schedule: of the learning rate, a name in `samscope.optim.schedules.SCHEDULES`.
        warmup: units of the budget in which the learning rate rises from 0.
        enhancement: of the steps that the optimizer makes.

    Raises:
        InputError: a value that is none of these.

    >>> Method("sam", 0.1, 0.9, 5e-4, ascent=Ascent(rho=0.05)).mix.name
    'sam'
    >>> Method("sam", 0.1, 0.9, 5e-4)
    Traceback (most recent call last):
    samscope.errors.InputError: sam: rho: None is not allowed; allowed: a number >= 0, and none ...
    """

    variant: str
    lr: float
    momentum: float
    weight_decay: float
    condition: float | None = None
    ascent: Ascent = field(default_factory=Ascent)
    optimizer: str = "sgd"
    nesterov: bool = False
    beta2: float = 0.999
    clip: float = 0.0
    decay_in_loss: bool = False
    schedule: str = "cosine"
    warmup: int = 0
    enhancement: Enhancement = field(default_factory=Enhancement)

    def __post_init__(self) -> None:
        named_mix(self.variant, self.condition)
        rho, plain = self.ascent.rho, self.variant == "sgd"
        _check(self.variant, "rho", rho, (rho is None) == plain, "a number >= 0, and none for sgd")
        _among("method", self, "optimizer", RULES)
        _among("method", self, "schedule", SCHEDULES)
        for name in ("lr", "weight_decay", "clip", "warmup"):
            value = getattr(self, name)
            _check("method", name, value, 0 <= value < math.inf, "a number >= 0")
        _check("method", "momentum", self.momentum, 0 <= self.momentum <= 1, "0 to 1")
        for name in ("momentum", "beta2") if RULES[self.optimizer].counts else ("beta2",):
            value = getattr(self, name)
            _check(self.optimizer, name, value, 0 <= value < 1, "0 or more, less than 1")
        if self.optimizer != "sgd":
            _among(self.optimizer, self, "nesterov", (False,))

    @property
    def mix(self) -> Mix:
        """What the variant's name stands for."""
        return named_mix(self.variant, self.condition)

    @property
    def second_order(self) -> bool:
        """Whether its steps compute what comes through e."""
        return self.mix.needs_ascent and self.ascent.second_order != "dropped"

    @property
    def form(self) -> tuple:
        """What code is compiled or recorded for. Methods of one form differ in numbers alone.

        >>> plain = Method("sam", 0.1, 0.9, 0.0, ascent=Ascent(0.05))
        >>> plain.form == Method("ckpt12", 0.3, 0.0, 1e-3, ascent=Ascent(0.2)).form
        True
        >>> plain.form == Method("sgd", 0.1, 0.9, 0.0).form
        False
        """
        mix = self.mix
        ascent = (mix.norms, replace(self.ascent, rho=None)) if mix.needs_ascent else None
        return self.optimizer, self.nesterov, self.clip > 0, self.decay_in_loss, ascent


def _check(where: str, name: str, value: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise InputError(where, name, value, allowed)


def _among(where: str, holder: object, name: str, allowed: Collection[Any]) -> None:
    value = getattr(holder, name)
    words = ", ".join('""' if word == "" else str(word) for word in allowed)
    _check(where, name, value, value in allowed, words)
