"""The two passes of a step of `samscope.optim.SAM`: up to w + e, and from w along the mix."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from samscope.errors import InputError
from samscope.optim import friendly, guard, look
from samscope.optim.batchnorm import batchnorm_frozen
from samscope.optim.gap import gap_mix
from samscope.optim.lists import ascend_flat, climb, mix_lists, norm_of, steepest
from samscope.optim.method import Ascent
from samscope.optim.mixes import REGIONS, Mix, named_mix
from samscope.optim.saved import Saved
from samscope.optim.scaling import ADAPTIVE, Scaling

_SAM = named_mix("sam")


@dataclass(frozen=True)
class Form:
    """What the passes do, as `samscope.optim.SAM` has it.

    Raises:
        InputError: a value that cannot be used, alone or with the others.
    """

    mix: Mix
    ascent: Ascent
    scaling: Scaling | None
    gap: float
    every: int
    look: float
    friendly: float
    memory: float
    clip: float
    epsilon: float
    counts: bool
    skip_nonfinite: bool

    def __post_init__(self) -> None:
        if self.mix.norms:
            raise InputError("SAM", "mix", self.mix.name, "a mix with a table of its own")
        if guard.nonnegative("gap", self.gap) and self.mix != _SAM:
            raise InputError("SAM", "gap", self.gap, f"0 with mix {self.mix.name}")
        if not (isinstance(self.every, int) and self.every >= 1):
            raise InputError("SAM", "every", self.every, "a whole number, 1 or more")
        guard.nonnegative("friendly", self.friendly)
        if self.every > 1 and (self.mix != _SAM or self.gap or self.friendly):
            raise InputError(
                "SAM", "every", self.every, '1; more with mix "sam" and nothing beside'
            )
        if self.friendly and not self.plain:
            raise InputError("SAM", "friendly", self.friendly, "0 with such an ascent")
        if not 0 < guard.nonnegative("memory", self.memory) < 1:
            raise InputError("SAM", "memory", self.memory, "a number between 0 and 1")
        guard.nonnegative("look", self.look)
        guard.nonnegative("clip", self.clip)
        guard.nonnegative("epsilon", self.epsilon)
        if self.scaling not in (None, *ADAPTIVE.values()) and not self.plain:
            allowed = f"{', '.join(ADAPTIVE)} with such an ascent"
            raise InputError("SAM", "adaptive", self.scaling, allowed)

    @cached_property
    def plain(self) -> bool:
        """Whether the ascent is SAM's own: Euclidean, one step along g; adaptive or not."""
        return replace(self.ascent, adaptive="") == Ascent()

    @cached_property
    def reads_g(self) -> bool:
        """Whether g is needed when h is there."""
        return self.counts or self.gap > 0 or self.every > 1 or self.mix != _SAM


@dataclass(frozen=True)
class _Begun:
    """Of a step between its passes.

    Attributes:
        norm: ||g||.
        scaler: what its loss is scaled by.
        skipped: whether it is left out.
        means: see `samscope.optim.friendly`.
    """

    norm: Tensor | None
    scaler: GradScaler | None
    skipped: bool
    means: list[Tensor]


class Passes:
    """The passes of one optimizer. Whatever fails, the weights are at w afterwards.

    Attributes:
        base: the base optimizer, whose parameters they are.
        counts: see `samscope.optim.SAM`; ``norms`` likewise.
    """

    def __init__(self, base: Optimizer, form: Form, model: nn.Module | None) -> None:
        self.base = base
        self.counts: Tensor | None = None
        self.norms: tuple[Tensor, Tensor] | None = None
        self._form = form
        self._frozen = batchnorm_frozen(model or nn.Module())
        self._ranks = model if isinstance(model, DistributedDataParallel) else None
        self._saved = Saved()
        self._begun: _Begun | None = None

    def start(self) -> None:
        """Before a step: none is begun, nothing is counted yet."""
        if self._begun is not None:
            raise RuntimeError("a step before second_step or abort: it is at w + e")
        self.counts = self.norms = None

    @property
    def due(self) -> bool:
        """Whether the next step has a second pass."""
        return self._form.mix.needs_ascent and look.due(self.base, self._form.every)

    def ascend(self, scaler: GradScaler | None, closure: Callable[[], Any] | None) -> bool:
        """From w to w + e, the gradients taken away. Whether a second pass makes sense."""
        form, groups = self._form, self.base.param_groups
        for name, value in (("ascent_steps", form.ascent.ascent_steps), ("every", form.every)):
            if value > 1 and closure is None:
                raise InputError("SAM", name, value, "1 without a closure")
        members = [[p for p in group["params"] if p.grad is not None] for group in groups]
        params = [p for some in members for p in some]
        grads = [p.grad for p in params]
        guard.check_gradients(grads)
        if scaler is not None:
            torch._foreach_mul_(grads, 1 / scaler.get_scale())
        means = friendly.means(self.base, params, grads, form.memory) if form.friendly else []
        own = friendly.own(grads, means, form.friendly) if means else grads
        along, reach = steepest(params, own, form.scaling if form.plain else None)
        skipped = not guard.is_finite(reach)
        if self._ranks is not None and (scaler is not None or form.skip_nonfinite):
            skipped = guard.on_any_rank(skipped, self._ranks)
        if skipped and scaler is not None:
            grads[0].fill_(torch.inf)  # also where the norm alone overflows
            scaler.unscale_(self.base)  # for its record
        elif skipped and not form.skip_nonfinite:
            allowed = "a finite norm; else step(closure, scaler=scaler), or skip_nonfinite=True"
            raise InputError("SAM", "gradient", f"a norm of {reach.item()}", allowed)
        norm = reach if along is grads else norm_of(grads) if form.counts else None
        self._saved.save(params, grads if form.reads_g else [])
        self._begun = _Begun(norm, scaler, skipped, means)
        self._frozen.__enter__()
        for p in params:
            p.grad = None
        if skipped:
            return False
        try:
            if form.plain:
                climb(members, along, [group["rho"] / (reach + 1e-12) for group in groups])
            else:
                again = partial(self._gradients, closure) if closure is not None else list
                ascend_flat(params, grads, guard.one_rho(groups), form.ascent, again)
        except BaseException:
            self.abort()
            raise
        return True

    def again(self, closure: Callable[[], Any]) -> None:
        """A pass where the weights are."""
        try:
            self.base.zero_grad()
            with torch.enable_grad():
                closure()
        except BaseException:
            self.abort()
            raise

    def finish(self) -> None:
        """Back to w, and the base optimizer's step from there unless it is skipped."""
        begun = self.begun
        self._restore()
        if not begun.skipped:
            self.descend(begun.scaler, begun)
        elif begun.scaler is not None:
            begun.scaler.step(self.base)  # which has the record of g, and makes no step

    def abort(self) -> None:
        """Back to w, without gradients; nothing where no step is begun."""
        if self._begun is not None:
            self._restore()
            self.base.zero_grad()

    @property
    def begun(self) -> _Begun:
        """The step that is begun."""
        if self._begun is None:
            raise RuntimeError("second_step without first_step: there is no g")
        return self._begun

    def descend(self, scaler: GradScaler | None, begun: _Begun | None = None) -> None:
        """A step of the base optimizer along what is made of the gradients saved and present.

        Args:
            scaler: by which those present are scaled.
            begun: the step, with those saved; None without a second pass.
        """
        form = self._form
        hs = [p.grad for p in self._parameters() if p.grad is not None]
        guard.check_gradients(hs)
        if scaler is not None:
            scaler.unscale_(self.base)
        reads_g, finite = begun is not None and form.reads_g, True
        if reads_g or form.skip_nonfinite or form.friendly:
            reach = norm_of(hs)
            finite = guard.is_finite(reach)
            if form.skip_nonfinite and scaler is None and not finite:
                return
        kept: list[Tensor] = []
        if begun is not None and reads_g:
            gs, hs = self._pairs()
            if form.counts and begun.norm is not None:
                self.norms = (begun.norm, reach)
                self.counts = torch.zeros(len(REGIONS), dtype=torch.int64, device=reach.device)
            kept = look.perpendicular(gs, hs) if form.every > 1 and finite else []
            mix = gap_mix(gs, hs, form.gap) if form.gap and finite else form.mix
            mix_lists(gs, hs, mix, form.epsilon, self.counts, finite)
        params = [p for p in self._parameters() if p.grad is not None]
        if begun is None and form.every > 1:
            look.lean(self.base, params, form.look)
        if form.clip:
            torch._foreach_mul_(hs, (form.clip / norm_of(hs)).clamp(max=1.0))
        try:
            if scaler is None:
                self.base.step()
            else:
                scaler.step(self.base)
        except BaseException:
            if begun is not None:
                self._saved.restore()
            raise
        if kept:
            look.keep(self.base, params, kept)
        if begun is not None and finite:
            friendly.keep(self.base, self._saved.params[: len(begun.means)], begun.means)

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        """Both gradients of every parameter that has one; for a mix, one alone stands for both."""
        g_of = dict(zip(map(id, self._saved.params), self._saved.g, strict=True))
        gs, hs = [], []
        for p in self._parameters():
            g, h = g_of.get(id(p)), p.grad
            if h is None and g is not None and self._form.mix != _SAM:
                h = p.grad = g.clone()
            if h is not None:
                gs.append(h.clone() if g is None else g)
                hs.append(h)
        return gs, hs

    def _gradients(self, closure: Callable[[], Any]) -> list[Tensor]:
        """Of the parameters saved, where they are now; zeros where there is none."""
        self.again(closure)
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in self._saved.params]

    def _restore(self) -> None:
        self._begun = None
        self._saved.restore()
        self._frozen.__exit__(None, None, None)

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self.base.param_groups for p in group["params"])

    def __getstate__(self) -> dict[str, Any]:
        if self._begun is not None:
            raise RuntimeError("a copy between first_step and second_step: it is at w + e")
        return vars(self)
