"""What `samscope.optim.SAM` cannot work with, refused in one line before a weight is moved."""

import inspect
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from samscope.errors import InputError
from samscope.optim.scaling import Scaling, scaling

_OF_ALL = {
    *("mix", "condition", "norm", "ascent_steps", "ascent_rule", "direction", "gap", "every"),
    *("look", "friendly", "memory", "clip", "epsilon", "counts", "skip_nonfinite"),
}
"""Arguments of SAM that a group cannot have."""


def nonnegative(field: str, value: Any) -> float:
    """The value, of an argument named ``field``."""
    number = float(value) if isinstance(value, Real) else math.nan
    if not 0 <= number < math.inf:
        raise InputError("SAM", field, value, "a finite number, 0 or more")
    return number


def check_class(base: Any) -> None:
    """Of the base optimizer: what is called with parameters and settings."""
    if isinstance(base, Optimizer) or not callable(base):
        found = f"a {type(base).__name__}"
        allowed = "a class such as torch.optim.SGD, with its arguments by name: lr=0.1"
        raise InputError("SAM", "base_optimizer", found, allowed)


def check_base(base: Optimizer) -> None:
    """A base optimizer must step along the gradients that it is given, all of them."""
    name = type(base).__name__
    closure = inspect.signature(base.step).parameters.get("closure")
    needs_closure = closure is not None and closure.default is inspect.Parameter.empty
    if needs_closure or hasattr(base, "first_step"):  # another SAM
        allowed = "an optimizer whose step() needs no closure, such as torch.optim.SGD"
        raise InputError("SAM", "base_optimizer", name, allowed)
    if any(kind.__name__ == "ZeroRedundancyOptimizer" for kind in type(base).__mro__):
        allowed = "an optimizer that holds all of its state, such as torch.optim.SGD"
        raise InputError("SAM", "base_optimizer", name, allowed)
    if "param_groups" not in vars(base):  # of one around another
        allowed = "an optimizer with groups of its own, such as torch.optim.SGD"
        raise InputError("SAM", "base_optimizer", name, allowed)
    if "rho" in base.defaults:  # of Adadelta, a decay
        allowed = "an optimizer without a rho of its own, such as torch.optim.SGD"
        raise InputError("SAM", "base_optimizer", name, allowed)


def check_model(model: Any) -> None:
    """Of what has BatchNorm layers."""
    if not isinstance(model, nn.Module | None):
        raise InputError("SAM", "model", f"a {type(model).__name__}", "the module itself")


def check_own(group: dict[str, Any], scale: Scaling | None, defaults: dict[str, Any]) -> None:
    """A group has a rho and what is the base optimizer's; the rest of SAM is one for all groups."""
    check_adaptive(group, scale)
    for name in _OF_ALL & group.keys() - defaults.keys():
        raise InputError("SAM", f"{name} of a group", group[name], "an argument of SAM itself")


def check_adaptive(group: dict[str, Any], scale: Scaling | None) -> None:
    """Groups of github.com/davda54/sam say whether they are adaptive; all must be as this SAM."""
    if "adaptive" in group and scaling(group["adaptive"]) != scale:
        allowed = "what SAM has for all groups"
        raise InputError("SAM", "adaptive of a group", group["adaptive"], allowed)


def check_group(group: dict[str, Any]) -> None:
    """A group of whole parameters, each once: a shard has a norm of its own."""
    check_settings(group)
    params = group["params"]
    if len({id(p) for p in params}) < len(params):
        raise InputError("SAM", "params", "a parameter twice", "each once, also where it is shared")
    for p in params:
        if p.is_complex():
            found = "a complex parameter"
            raise InputError("SAM", "params", found, "real ones, and torch.view_as_complex of them")
        if not is_lazy(p) and p.is_inference():
            found = "a parameter made in torch.inference_mode()"
            raise InputError("SAM", "params", found, "a model that is made outside of it")
        if hasattr(p, "device_mesh") or getattr(p, "_fsdp_flattened", False):
            found = f"a {type(p).__name__} of which each process holds a part"
            raise InputError("SAM", "params", found, "whole parameters, as DistributedDataParallel")


def check_settings(group: dict[str, Any]) -> None:
    """Of a group of a loss that is made small; they may be scheduled, or come with a state."""
    nonnegative("rho", group["rho"])
    if group.get("maximize"):
        raise InputError("SAM", "maximize", True, "False, and the loss with its sign changed")
    if group.get("differentiable"):
        raise InputError("SAM", "differentiable", True, "False: the ascent is not differentiated")


def check_gradients(grads: Sequence[Tensor]) -> None:
    """Of a pass: at least one, none of them sparse."""
    if not grads:
        allowed = "a closure that calls backward() on a loss of these parameters, in both passes"
        raise InputError("SAM", "closure", "no gradient of any parameter", allowed)
    if any(g.layout is not torch.strided for g in grads):
        allowed = "dense ones, such as those of Embedding(sparse=False)"
        raise InputError("SAM", "gradient", "a sparse gradient", allowed)


def check_scaled(optimizer: Optimizer, scaler: GradScaler | None) -> None:
    """Refuse gradients that are unscaled already, of which torch keeps a record by optimizer."""
    records = getattr(scaler, "_per_optimizer_states", {})
    if records.get(id(optimizer), {}).get("found_inf_per_device"):
        allowed = "gradients as backward() leaves them: the step unscales, and clip= bounds it"
        raise InputError("SAM", "scaler", "one with unscale_() of this optimizer", allowed)


def check_scaler_step(optimizer: Optimizer) -> None:
    """Refuse a step by a scaler: the closure's passes would go unscaled."""
    found = vars(optimizer).pop("found_inf", None)  # where torch's scaler puts it
    vars(optimizer).pop("grad_scale", None)
    if found is not None:
        allowed = "optimizer.step(closure, scaler=scaler), or first_step(scaler=scaler)"
        raise InputError("SAM", "scaler", "scaler.step(optimizer)", allowed)
    if torch.is_inference_mode_enabled():
        raise InputError("SAM", "step", "torch.inference_mode()", "a call outside of it")


def on_any_rank(flag: bool, ranks: DistributedDataParallel) -> bool:
    """Whether it is so on any of the ranks, whose gradients may be their own in a first pass."""
    told = torch.tensor(float(flag), device=next(ranks.parameters()).device)
    distributed.all_reduce(told, distributed.ReduceOp.MAX, ranks.process_group)
    return bool(told)


def is_finite(norm: Tensor) -> bool:
    """Whether a norm is; true while a CUDA graph is recorded, for nothing can be read then."""
    recorded = norm.is_cuda and torch.cuda.is_current_stream_capturing()
    return recorded or math.isfinite(norm.item())


def one_rho(groups: Sequence[dict[str, Any]]) -> float:
    """The rho of all groups, for an ascent that is not taken group by group."""
    rhos = {group["rho"] for group in groups}
    if len(rhos) > 1:
        raise InputError("SAM", "rho", sorted(rhos), "one for all groups with such an ascent")
    return rhos.pop()
