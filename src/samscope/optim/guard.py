"""What `samscope.optim.SAM` cannot work with, refused in one line before a weight is moved."""

import inspect
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from samscope.errors import InputError


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
    if "rho" in base.defaults:  # of Adadelta, a decay
        allowed = "an optimizer without a rho of its own, such as torch.optim.SGD"
        raise InputError("SAM", "base_optimizer", name, allowed)


def check_model(model: Any) -> None:
    """Of what has BatchNorm layers."""
    if not isinstance(model, nn.Module | None):
        raise InputError("SAM", "model", f"a {type(model).__name__}", "the module itself")


def check_group(group: dict[str, Any]) -> None:
    """A group of a loss that is made small, of whole parameters: a shard has a norm of its own."""
    if group.get("maximize"):
        raise InputError("SAM", "maximize", True, "False, and the loss with its sign changed")
    if group.get("differentiable"):
        raise InputError("SAM", "differentiable", True, "False: the ascent is not differentiated")
    for p in group["params"]:
        if p.is_complex():
            found = "a complex parameter"
            raise InputError("SAM", "params", found, "real ones, and torch.view_as_complex of them")
        if hasattr(p, "device_mesh") or getattr(p, "_fsdp_flattened", False):
            found = f"a {type(p).__name__} of which each process holds a part"
            raise InputError("SAM", "params", found, "whole parameters, as DistributedDataParallel")


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
