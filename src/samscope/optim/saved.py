"""What a step must not lose between its two passes, in memory that is kept from step to step."""

from typing import Any

import torch
from torch import Tensor


class Saved:
    """Copies of parameters, and of their gradients where those are asked for.

    Attributes:
        params: the parameters that are saved.
        w: their values, in their order.
        g: their gradients; none where they were not asked for.
    """

    def __init__(self) -> None:
        self.params: list[Tensor] = []
        self.w: list[Tensor] = []
        self.g: list[Tensor] = []
        self._fit: list[tuple[Any, ...]] = []

    def save(self, params: list[Tensor], grads: list[Tensor]) -> None:
        """Copy the parameters, and gradients of each or none; what no longer fits is made anew."""
        # A model that was moved or cast has the same parameters, of another kind.
        fit = [(id(p), p.dtype, p.device, p.shape) for p in params]
        if fit != self._fit or len(grads) != len(self.g):
            self.w = [torch.empty_like(p, requires_grad=False) for p in params]
            self.g = [torch.empty_like(g) for g in grads]
        self.params, self._fit = params, fit
        torch._foreach_copy_(self.w, params)
        if grads:
            torch._foreach_copy_(self.g, grads)

    def restore(self) -> None:
        """Copy the values back; a subtraction of e would leave its rounding."""
        torch._foreach_copy_(self.params, self.w)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Saved()))
