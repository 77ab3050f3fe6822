"""Sharpness-Aware Minimization around any base optimizer, with the region mixes built in.

One step, for the parameters w of all groups together:

    g = gradient at w            e = rho g / (||g||_2 + 1e-12)
    h = gradient at w + e        u = mix of h and g by the region of h/g

then the base optimizer takes u for a gradient, at w restored bit for bit. Weight decay and momentum
are the base optimizer's: they see u, and never enter the mix or e. Sources: Foret et al. 2021
(arXiv:2010.01412) for SAM, lhchau/sam-hessian for the mixes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from samscope.errors import InputError
from samscope.optim.ascent import climb, global_norm
from samscope.optim.mixes import REGIONS, Mix, named_mix
from samscope.optim.ratio import mix_in_place
from samscope.optim.scaling import Scaling, scaling


class SAM(Optimizer):
    """SAM or one of its gradient-ratio variants, on top of a base optimizer.

    Learning-rate schedulers, `zero_grad` and parameter groups work as for the base optimizer,
    whose groups and state these are; `state_dict` holds both, so a resumed run is exact.
    A group may have a rho of its own; the gradient norm is over all groups.

    Where one pass leaves a parameter without a gradient, the other pass's gradient stands in for
    it: g = h, so u is that gradient, and its elements count as ties (or zeros). A parameter
    without a gradient in either pass is left alone.

    Args:
        params: parameters or groups, as for any optimizer; all on one device.
        base_optimizer_class: for example torch.optim.SGD.
        rho: radius of the perturbation.
        mix: a variant's name (see `named_mix`) or a Mix.
        condition: the factor of a `sameckpt<S>` variant.
        adaptive: False, "davda54" or "kwon2021" (the two published forms of ASAM, see
            `samscope.optim.scaling`) or a Scaling.
        epsilon: added to g for the regions, see `regions`; 1e-8 in the original code.
        **base_kwargs: passed to the base optimizer.

    Attributes:
        counts: elements in each of REGIONS at the last step, int64 [7]; the sum is the number of
            elements with a gradient. None before the first step and for plain SGD.
        norms: ||g||_2 and ||h||_2 at the last step, scalar tensors; None as for counts.

    Raises:
        InputError: a base_optimizer_class, rho, mix, condition, adaptive or epsilon that cannot be
            used.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAM([w], torch.optim.SGD, rho=0.5, mix="ckpt12", lr=0.1, momentum=0.9)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = w.square().sum() / 2
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    12.5
    >>> w.data  # w - 0.1 (w + e), with e = (0.3, 0.4)
    tensor([2.6700, 3.5600])
    >>> optimizer.counts.tolist()
    [2, 0, 0, 0, 0, 0, 0]
    """

    def __init__(
        self,
        params: ParamsT,
        base_optimizer_class: type[Optimizer],
        rho: float = 0.05,
        mix: str | Mix = "sam",
        condition: float | None = None,
        adaptive: bool | str | Scaling = False,
        epsilon: float = 0.0,
        **base_kwargs: Any,
    ) -> None:
        if isinstance(base_optimizer_class, Optimizer) or not callable(base_optimizer_class):
            found = f"a {type(base_optimizer_class).__name__}"
            allowed = "a class such as torch.optim.SGD, with its arguments by name: lr=0.1"
            raise InputError("SAM", "base_optimizer_class", found, allowed)
        if isinstance(mix, Mix) and condition is not None:
            raise InputError("SAM", "condition", condition, "none with a Mix")
        self.mix = mix if isinstance(mix, Mix) else named_mix(mix, condition)
        if self.mix.norms:
            raise InputError("SAM", "mix", self.mix.name, "a mix with a table of its own")
        self.scaling = scaling(adaptive)
        self.epsilon = _nonnegative("epsilon", epsilon)
        self.counts: Tensor | None = None
        self.norms: tuple[Tensor, Tensor] | None = None
        self._start: dict[Tensor, tuple[Tensor, Tensor]] | None = None  # w and g of a step begun
        self._buffers: dict[Tensor, tuple[Tensor, Tensor]] = {}
        self.base_optimizer = base_optimizer_class(params, **base_kwargs)
        super().__init__(
            self.base_optimizer.param_groups, {**self.base_optimizer.defaults, "rho": rho}
        )
        self.param_groups = self.base_optimizer.param_groups
        self.state = self.base_optimizer.state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does; its rho is checked."""
        _nonnegative("rho", param_group.get("rho", self.defaults["rho"]))
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned, the base optimizer's state included."""
        super().load_state_dict(state_dict)
        self.base_optimizer.__setstate__({"state": self.state, "param_groups": self.param_groups})

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any],
        second_pass: AbstractContextManager | None = None,
    ) -> Any:
        """One whole step: two calls of the closure, or one for plain SGD.

        Args:
            closure: zeroes the gradients, computes the loss of the batch, calls backward and
                returns the loss; the same batch both times.
            second_pass: entered around the second call, such as `batchnorm_frozen(model)`.

        Returns:
            What the first call returned: the loss at w. An error in the second call passes
            through with the weights restored.

        Raises:
            InputError: when no parameter has a gradient after the closure.
        """
        with torch.enable_grad():
            loss = closure()
        if not self.mix.needs_ascent:
            _refuse_none(p.grad for p in self._parameters())
            self.base_optimizer.step()
            return loss
        self.first_step()
        try:
            with torch.enable_grad(), second_pass or nullcontext():
                closure()
        except BaseException:
            self._restore()
            raise
        self.second_step()
        return loss

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        """Take the gradients present as g and move the weights to w + e."""
        if self._start is not None:
            raise RuntimeError("first_step again before second_step: the weights are at w + e")
        self._start = {}
        moving = [(p, p.grad) for p in self._parameters() if p.grad is not None]
        self._g_norm = reach = global_norm(g for _, g in moving)
        if self.scaling:
            reach = global_norm(self.scaling(p) * g for p, g in moving)
        for group in self.param_groups:
            step = group["rho"] / (reach + 1e-12)
            for p in group["params"]:
                if p.grad is not None:
                    self._start[p] = self._save(p)
                    climb(p, p.grad, step, self.scaling(p) if self.scaling else None)
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        """Take the gradients present as h, restore w, and update it with u.

        The gradients hold u afterwards.
        """
        start = self._restore()
        pairs = []
        for p in self._parameters():
            g = start[p][1] if p in start else p.grad
            if p.grad is None and g is not None:
                p.grad = g.clone()
            if g is not None:
                pairs.append((g, p.grad))
        _refuse_none(h for _, h in pairs)
        self.norms = (self._g_norm, global_norm(h for _, h in pairs))
        self.counts = torch.zeros(len(REGIONS), dtype=torch.int64, device=self.norms[1].device)
        for g, h in pairs:
            mix_in_place(g, h, self.mix, self.epsilon, self.counts)
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    def _parameters(self) -> Iterator[Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    def _save(self, p: Tensor) -> tuple[Tensor, Tensor]:
        if p not in self._buffers:
            self._buffers[p] = (torch.empty_like(p), torch.empty_like(p.grad))
        w, g = self._buffers[p]
        return w.copy_(p), g.copy_(p.grad)

    def _restore(self) -> dict[Tensor, tuple[Tensor, Tensor]]:
        """Copy w back into the parameters; a subtraction of e would leave its rounding."""
        if self._start is None:
            raise RuntimeError("second_step without first_step: there is no g")
        start, self._start = self._start, None
        for p, (w, _) in start.items():
            p.copy_(w)
        return start


def _refuse_none(gradients: Iterable[Tensor | None]) -> None:
    if all(gradient is None for gradient in gradients):
        allowed = "a closure that calls backward() on a loss of these parameters"
        raise InputError("SAM", "closure", "no gradient of any parameter", allowed)


def _nonnegative(field: str, value: float) -> float:
    if not (isinstance(value, Real) and math.isfinite(value) and value >= 0):
        raise InputError("SAM", field, value, "a finite number, 0 or more")
    return value
