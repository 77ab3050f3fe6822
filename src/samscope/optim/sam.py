"""Sharpness-Aware Minimization around any base optimizer, with the region mixes built in.

One step, for the parameters w of all groups together:

    g = gradient at w            e = rho g / (||g||_2 + 1e-12)
    h = gradient at w + e        u = h, or a mix of h and g by the region of h/g

then the base optimizer takes u for a gradient, at w restored bit for bit. Weight decay and momentum
are the base optimizer's: they see u, and never enter the mix or e. Sources: Foret et al. 2021
(arXiv:2010.01412) for SAM, lhchau/sam-hessian for the mixes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.optimizer import (
    ParamsT,
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)

from samscope.errors import InputError
from samscope.optim import guard
from samscope.optim.method import Ascent
from samscope.optim.mixes import Mix, named_mix
from samscope.optim.passes import Form, Passes
from samscope.optim.scaling import Scaling, name_of, scaling


class SAM(Optimizer):
    """SAM or one of its gradient-ratio variants, on top of a base optimizer.

    Two forms. `step(closure)` calls the closure for both passes. `first_step()` after one backward
    pass and `second_step()` after another do the same by hand. The gradients of the first pass are
    taken away by `first_step`: the second pass begins without any, and may be one or, as the first
    may, accumulated over several batches.

    Learning-rate schedulers, `zero_grad` and parameter groups work as for the base optimizer,
    whose groups and state these are; `state_dict` holds both, so a resumed run is exact, and that
    of a bare base optimizer can be loaded. A group may have a rho of its own; the gradient norm is
    over all groups. Hooks are called once a step: before its first pass (by `first_step`, without
    arguments) and after its update. Those of `base_optimizer` find u in the gradients.

    SAM itself leaves a parameter alone that has no gradient in the second pass. For a mix with g,
    where one pass leaves a parameter without a gradient, the other pass's gradient stands in for
    it: g = h, so u is that gradient, and its elements count as ties (or zeros).

    Mixed precision: with bfloat16, autocast in the closure. With float16, ``scaler``: the closure
    calls ``scaler.scale(loss).backward()``, `step` unscales, and ``scaler.update()`` follows it.
    An infinite gradient in either pass skips the step and lowers the scale once.

    In DistributedDataParallel both gradients are means over the ranks, so that all ranks climb to
    the same w + e. A first pass in ``model.no_sync()`` (two-call form, mix ``sam`` only) lets each
    rank climb along its own gradient: the m-sharpness of the paper, with m a rank's batch.

    Args:
        params: parameters or groups, as for any optimizer; all on one device, none sharded.
        base_optimizer: a class, for example torch.optim.SGD; with its arguments by name, here.
        rho: radius of the perturbation.
        mix: a variant's name (see `named_mix`) or a Mix.
        condition: the factor of a `sameckpt<S>` variant.
        model: whose BatchNorm layers record the statistics of the first pass alone.
        adaptive: adaptive SAM: True or "davda54", "kwon2021" (the two published forms, see
            `samscope.optim.scaling`) or a Scaling.
        norm: of the perturbation, and ``ascent_steps``, ``ascent_rule``, ``direction``: see
            `samscope.optim.method.Ascent`. Several steps need the closure.
        gap: the alpha of GSAM, for mix "sam"; see `samscope.optim.gap`. 0: SAM.
        every: of how many steps one has an ascent; the others are LookSAM's, of one pass, with
            ``look`` for its alpha, see `samscope.optim.look`. It needs the closure.
        friendly: the sigma of Friendly SAM (1 in its paper), with ``memory`` for its lambda; see
            `samscope.optim.friendly`. 0: SAM.
        clip: u is scaled down to this Euclidean norm where it is longer; 0: never.
        epsilon: added to g for the regions, see `regions`; 1e-8 in the original code.
        counts: whether `counts` and `norms` are kept, which takes time.
        skip_nonfinite: whether a step with a gradient that is not finite is left out. Otherwise
            an ascent along such a g is an error. A gradient scaler skips by itself.
        **base_kwargs: passed to the base optimizer.

    `counts` and `norms` are None without ``counts=True``, and after a step that has not both
    gradients: one that is left out, one of LookSAM's of one pass, SGD's.

    Raises:
        InputError: an argument that cannot be used.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = SAM([w], torch.optim.SGD, rho=0.5, counts=True, lr=0.1, momentum=0.9)
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

    _step_supports_amp_scaling = True  # so that GradScaler.step says that it is there

    def __init__(
        self,
        params: ParamsT,
        base_optimizer: Callable[..., Optimizer],
        rho: float = 0.05,
        *,
        mix: str | Mix = "sam",
        condition: float | None = None,
        model: nn.Module | None = None,
        adaptive: bool | str | Scaling = False,
        norm: float = 2.0,
        ascent_steps: int = 1,
        ascent_rule: str = "sum",
        direction: str = "gradient",
        gap: float = 0.0,
        every: int = 1,
        look: float = 0.7,
        friendly: float = 0.0,
        memory: float = 0.9,
        clip: float = 0.0,
        epsilon: float = 0.0,
        counts: bool = False,
        skip_nonfinite: bool = False,
        **base_kwargs: Any,
    ) -> None:
        guard.check_class(base_optimizer)
        guard.check_model(model)
        if isinstance(mix, Mix) and condition is not None:
            raise InputError("SAM", "condition", condition, "none with a Mix")
        scale = scaling(adaptive)
        self.form = Form(
            mix=mix if isinstance(mix, Mix) else named_mix(mix, condition),
            ascent=Ascent(
                norm=norm,
                adaptive=name_of(scale),
                ascent_steps=ascent_steps,
                ascent_rule=ascent_rule,
                direction=direction,
            ),
            scaling=scale,
            gap=gap,
            every=every,
            look=look,
            friendly=friendly,
            memory=memory,
            clip=clip,
            epsilon=epsilon,
            counts=counts,
            skip_nonfinite=skip_nonfinite,
        )
        base = self.base_optimizer = base_optimizer(params, **base_kwargs)
        guard.check_base(base)
        self._passes = Passes(base, self.form, model)
        groups, state = base.param_groups, base.state
        super().__init__(groups, {**base.defaults, "rho": rho})
        self.param_groups, self.state = groups, state  # for which torch has begun new ones

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the base optimizer."""
        return self.base_optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base_optimizer.param_groups = groups

    @property
    def state(self) -> Any:
        """That of the base optimizer."""
        return self.base_optimizer.state

    @state.setter
    def state(self, state: Any) -> None:
        self.base_optimizer.state = state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does; what it says is checked."""
        rho = guard.nonnegative("rho", param_group.get("rho", self.defaults["rho"]))
        param_group["rho"] = rho  # a float, which a state dict of weights alone may hold
        guard.check_own(param_group, self.form.scaling, self.base_optimizer.defaults)
        super().add_param_group(param_group)
        guard.check_group(self.param_groups[-1])

    def __getstate__(self) -> dict[str, Any]:
        own = {name: vars(self)[name] for name in ("base_optimizer", "form", "_passes")}
        return super().__getstate__() | own

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, or of a `state_dict`; where that is a base optimizer's alone, rho stays."""
        held = {name: state[name] for name in ("state", "param_groups")}
        before = self.param_groups if "base_optimizer" in vars(self) else []
        for group, old in zip(held["param_groups"], before, strict=False):
            group.setdefault("rho", old["rho"])
            guard.check_adaptive(group, self.form.scaling)
        super().__setstate__({k: v for k, v in state.items() if k not in held})
        self.base_optimizer.__setstate__(held)

    @property
    def counts(self) -> Tensor | None:
        """Elements in each of REGIONS at the last step, int64 [7]; together all with a gradient."""
        return self._passes.counts

    @property
    def norms(self) -> tuple[Tensor, Tensor] | None:
        """||g||_2 and ||h||_2 at the last step, scalar tensors."""
        return self._passes.norms

    @torch.no_grad()
    def step(
        self, closure: Callable[[], Any] | None = None, *, scaler: GradScaler | None = None
    ) -> Any:
        """One whole step: two calls of the closure (more for several steps of ascent; SGD: one).

        Args:
            closure: computes the loss of the batch, calls backward and returns the loss; the same
                batch both times. Gradients are zero before each call.
            scaler: by which the closure scales the loss that backward is called on.

        Returns:
            What the first call returned: the loss at w. An error in a call passes through with
            the weights restored.

        Raises:
            InputError: when no parameter has a gradient after a pass, when one is sparse, or when
                g is not finite, and neither ``scaler`` nor ``skip_nonfinite`` is there to skip.
        """
        guard.check_scaler_step(self)
        if closure is None:
            allowed = "a function, as in step(closure, scaler=scaler); or first_step, second_step"
            raise InputError("SAM", "closure", closure, allowed)
        self._begin()
        self.zero_grad()  # what the second pass begins without as well
        with torch.enable_grad():
            loss = closure()
        scaler = self._scaling(scaler)
        if not self._passes.due:
            self._passes.descend(scaler)
            return loss
        if self._passes.ascend(scaler, closure):
            self._passes.again(closure)
        self._passes.finish()
        return loss

    @torch.no_grad()
    def first_step(self, zero_grad: bool = True, *, scaler: GradScaler | None = None) -> None:
        """Take the gradients present as g and move the weights to w + e.

        Args:
            zero_grad: as in other implementations; the gradients are taken away in any case.
            scaler: by which the loss was scaled, and that of the second pass will be.

        Raises:
            InputError: as for `step`, the weights unmoved.
        """
        self._begin()
        for before in (
            *_global_optimizer_pre_hooks.values(),
            *self._optimizer_step_pre_hooks.values(),
        ):
            before(self, (), {})
        self._passes.ascend(self._scaling(scaler), None)

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False, *, scaler: GradScaler | None = None) -> None:
        """Take the gradients present as h, restore w, and update it with u.

        The gradients hold u afterwards.

        Args:
            zero_grad: whether they are removed.
            scaler: that of `first_step`, which need not be told again.

        Raises:
            InputError: as for `step`, the weights at w.
        """
        begun = self._passes.begun.scaler
        if scaler is not None and scaler.is_enabled() and scaler is not begun:
            raise RuntimeError("second_step with a scaler that first_step did not have")
        try:
            guard.check_scaled(self, begun)
        except InputError:
            self.abort()
            raise
        self._passes.finish()
        self._opt_called = True  # or a scheduler would warn that there was no step
        if zero_grad:
            self.zero_grad()
        for after in (
            *self._optimizer_step_post_hooks.values(),
            *_global_optimizer_post_hooks.values(),
        ):
            after(self, (), {})

    @torch.no_grad()
    def abort(self) -> None:
        """Return to w after `first_step`, without gradients; nothing if there was none."""
        self._passes.abort()

    def _scaling(self, scaler: GradScaler | None) -> GradScaler | None:
        """The scaler of gradients that are scaled; None for one that is disabled."""
        guard.check_scaled(self, scaler)
        return scaler if scaler is not None and scaler.is_enabled() else None

    def _begin(self) -> None:
        """A step cannot begin in another, nor with what a group was given since."""
        self._passes.start()
        for group in self.param_groups:
            group.setdefault("rho", self.defaults["rho"])  # of one that came by the base optimizer
            guard.check_settings(group)
