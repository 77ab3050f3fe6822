"""The Hessian of a mean loss as a linear operator: products with vectors, never the matrix.

A product is the derivative of the gradient along a vector (B. Pearlmutter, "Fast exact
multiplication by the Hessian", Neural Computation 6, 1994), by differentiating twice in reverse.
The graph of the gradient is built once and kept while all samples pass through the model together.
One product then costs 2.1 gradients (CNN on 500 digits 2.12, ResNet-18 on 64 CIFAR images 2.16, on
one CPU core); building the graph anew for it makes that 3.2. Alternatives measured on the same two:
reverse over forward 3.4 and 2.8, `torch.func.linearize` 2.6 and 3.1 after 300 and 10 to trace, four
vectors at once by vmap 2.3 each.

On a GPU it is reverse over forward all the same: differentiating a convolution's backward pass asks
for convolutions with kernels as large as the images, for which cuDNN is reported to be very slow
(pytorch/pytorch#54840; not measured here yet). But only where one product agrees with reverse over
reverse: of 131 operations of torch 2.15, the derivative of the forward derivative is wrong for
layer, instance and batch normalisation (by 30 % and more, and not symmetric), and for two more.
"""

from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.inputs import called
from samscope.measure.objective import MeanLoss, derivative
from samscope.measure.operations import ALLOWED, check_twice, doubtful
from samscope.measure.products import Products
from samscope.measure.symmetry import tolerance
from samscope.measure.undisturbed import full_precision
from samscope.measure.vectors import norm, random_direction

BY_SLOPE = ("cuda",)
"""Kinds of devices on which a product is the gradient of a slope, see above."""

FEW = 8
"""Samples on which both ways are compared."""

STEPS = (1e-4, 1e-6, 1e-8)
"""Of differences of gradients, in lengths of the weights. A network of ReLU bends at points, which
a step may pass; the smallest next to never does."""

CLOSE = 1e-3
"""How near a difference of gradients is to a product that is right."""

ROUGH_STEPS, ROUGH = (1e-2, 1e-3), 5e-3
"""The same in float32, for what computes in nothing else."""


class Hessian(Products):
    """The Hessian of a mean loss at some weights, as an operator on vectors [size].

    Parameters that the loss does not use have rows of zeros. Of a model with functions of the
    user's (`torch.autograd.Function`) or weight normalisation, the first product is compared with
    differences of gradients in float64, or roughly in float32 where that fails.

    Args:
        mean_loss: the function. With up to ``mean_loss.held`` samples, in one batch, the graph of
            the gradient stays in memory with this object: some 15 MB a CIFAR image for ResNet-18.
        at: the weights [size]; those of the model where there are none.

    Attributes:
        size: the number of variables, in the order of ``model.parameters()``.
        products: how many vectors were multiplied so far.

    Raises:
        InputError: for weights of another number; and at the first product for an operation that
            cannot be differentiated twice, or is not right when it is.

    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    >>> hessian = Hessian(MeanLoss(model, torch.nn.functional.mse_loss, data))
    >>> hessian.matvec(torch.ones(1))
    tensor([10.])
    """

    def __init__(self, mean_loss: MeanLoss, at: Tensor | None = None) -> None:
        super().__init__(mean_loss, at)
        self._forward = self.device.type in BY_SLOPE and mean_loss.batchnorm == "eval"

    def in_float64(self) -> Self:
        """The same matrix, computed in float64 in the same way."""
        other = super().in_float64()
        other._forward = self._forward
        return other

    def _of_chunk(self, index: int, rows: Tensor) -> list[Tensor]:
        """The products of a chunk's Hessian with rows."""
        if self._forward and not self._trusted:
            self._forward = self._slope_agrees()
        if self._forward:
            return [_by_slope(self._mean_loss, index, self._at, v) for v in rows]
        return super()._of_chunk(index, rows)

    def _slope_agrees(self) -> bool:
        """Whether both ways to a product agree, on a few samples."""
        few = self._mean_loss.few(FEW)
        other = Hessian(few, self._at)
        other._forward = False
        v = random_direction(self.size, self._at, 0, "slope")
        product = other.matvec(v)
        self._trusted = True
        try:
            found = _by_slope(few, 0, self._at, v)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # of operations without forward derivatives
            return False
        return norm(found - product) <= tolerance(self.dtype) * norm(product)

    def _built(self, index: int, model: nn.Module, at: Tensor) -> Tensor:
        """The gradient of a chunk."""
        inputs, targets = self._mean_loss.on_device(index)
        value = self._mean_loss.value(called(model, inputs), targets)
        gradient = derivative(value, at, graph=True)
        if not self._trusted:
            where = type(model).__name__
            check_twice(where, value, gradient)
            self._trusted = True
            if names := doubtful(value):
                self._compare(where, ", ".join(names))
        return gradient

    def _product(self, graph: Tensor, at: Tensor, vector: Tensor) -> Tensor:
        return derivative(graph, at, vector, keep=True)

    def _compare(self, where: str, names: str) -> None:
        """Refuse operations of which a product differs from all differences of gradients."""
        try:
            least, close = self.in_float64()._off(STEPS), CLOSE
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # a function, or a loss, that computes in float32 alone
            own = type(self)(self._mean_loss, self._at)
            own._trusted, own._forward = True, self._forward
            least, close = own._off(ROUGH_STEPS), ROUGH
        if least > close:
            told = f"{names}, of which a product is {least:.2g} off a difference of gradients"
            raise InputError(where, "operation", told, ALLOWED)

    def _off(self, steps: tuple[float, ...]) -> float:
        """How far a product is off a difference of gradients, relative, at the best step."""
        w, gradient, least = self._at, self._mean_loss.gradient, 1.0
        slope = gradient(w)[1]
        direction = slope / (norm(slope) or 1.0)
        product = self.matvec(direction)
        for step in (step * (norm(w) or 1.0) for step in steps):
            up, down = (gradient(w + sign * step * direction)[1] for sign in (1, -1))
            found = (up - down) / (2 * step)
            slack = 45 * torch.finfo(self.dtype).eps * norm(slope) / step
            off = max(0.0, norm(found - product) - slack)
            least = min(least, off / (max(norm(found), norm(product)) or 1.0))
        return least


def _by_slope(mean_loss: MeanLoss, index: int, at: Tensor, vector: Tensor) -> Tensor:
    """The gradient of the slope of a chunk's loss along a vector."""
    loss = partial(mean_loss.of_chunk, index)
    slope = lambda at: torch.func.jvp(loss, (at,), (vector,))[1]  # noqa: E731
    with full_precision():
        return torch.func.grad(slope)(at)
