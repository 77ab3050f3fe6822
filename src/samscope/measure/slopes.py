"""Whether what torch gives for a gradient is that of the loss, before a Hessian is made of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.measure.objective import MeanLoss

SAMPLES = 8
"""On which it is seen whether a loss has a gradient at all."""


@contextmanager
def own_slopes(mean_loss: MeanLoss) -> Iterator[None]:
    """Context for measuring a loss, in which a slope that is not its own is an error.

    A loss without a gradient, behind ``detach()`` or ``torch.no_grad()``, would have the Hessian 0;
    a hook on a tensor that gives another gradient, a Hessian of no function.

    Raises:
        InputError: saying which.
    """
    at = mean_loss.weights.clone().requires_grad_()
    with torch.enable_grad():
        leads = mean_loss.few(SAMPLES).of_chunk(0, at, lambda value: value.requires_grad)
    if not (leads or torch.is_inference_mode_enabled()):  # which is told of later
        allowed = "one of the weights, without detach() or torch.no_grad() around the model"
        raise InputError("MeanLoss", "loss", "one without a gradient", allowed)
    before = Tensor.register_hook

    def register(tensor: Tensor, hook: Callable[[Tensor], Any]) -> Any:
        return before(tensor, lambda slope: _same(hook, slope))

    Tensor.register_hook = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.register_hook = before  # type: ignore[method-assign]


def _same(hook: Callable[[Tensor], Any], slope: Tensor) -> None:
    """Call a hook that may look at a gradient and not change it."""
    found = hook(slope)
    if found is not None and found is not slope:
        name = getattr(hook, "__qualname__", type(hook).__name__)
        told = f"the hook {name}, which changes a gradient"
        raise InputError("model", "operation", told, "hooks that return nothing")
