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
(pytorch/pytorch#54840; not measured here yet). Batch statistics stay with reverse over reverse, for
forward derivatives of torch's batch normalisation in training mode are wrong.
"""

from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.measure.objective import MeanLoss, added, derivative, full_precision

ROWS = 16
"""Vectors for which a graph that is not kept is used before it is dropped: 2.2 gradients each."""

BY_SLOPE = ("cuda",)
"""Kinds of devices on which a product is the gradient of a slope, see above."""


class Operator(Protocol):
    """A symmetric matrix known by its products.

    Attributes:
        size: number of rows.
        dtype: of vectors and products.
        device: of vectors and products.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    def matvec(self, vector: Tensor) -> Tensor:
        """The product [size] with a vector [size]."""

    def matmat(self, vectors: Tensor) -> Tensor:
        """The products [k, size] with the rows [k, size]."""


class Hessian:
    """The Hessian of a mean loss at some weights, as an operator on vectors [size].

    Parameters that the loss does not use have rows of zeros.

    Args:
        mean_loss: the function. With up to ``mean_loss.held`` samples, in one batch, the graph of
            the gradient stays in memory with this object: some 15 MB a CIFAR image for ResNet-18.
        at: the weights [size]; those of the model where there are none.

    Attributes:
        size: the number of trainable parameters, in the order of ``model.parameters()``.
        products: how many vectors were multiplied so far.

    Raises:
        InputError: for weights of another number.

    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    >>> hessian = Hessian(MeanLoss(model, torch.nn.functional.mse_loss, data))
    >>> hessian.matvec(torch.ones(1))
    tensor([10.])
    """

    def __init__(self, mean_loss: MeanLoss, at: Tensor | None = None) -> None:
        self._mean_loss = mean_loss
        self._at = mean_loss.weights if at is None else at.to(mean_loss.weights)
        if len(self._at) != mean_loss.size:
            raise InputError("Hessian", "at", f"{len(self._at)} weights", f"{mean_loss.size}")
        self._graph: tuple[Tensor, Tensor] | None = None
        self.size, self.dtype, self.device = mean_loss.size, mean_loss.dtype, mean_loss.device
        self.products = 0
        self._forward = self.device.type in BY_SLOPE and mean_loss.batchnorm == "eval"

    def matvec(self, vector: Tensor) -> Tensor:
        """The product H v [size] with a vector [size], in the operator's type.

        Raises:
            InputError: for a vector of another shape.
        """
        return self.matmat(vector[None])[0]

    def matmat(self, vectors: Tensor) -> Tensor:
        """The products [k, size] with the rows of ``vectors`` [k, size].

        Cheaper than one by one only where the graph is not kept, since each of its rebuildings
        serves `ROWS` vectors.

        Raises:
            InputError: for vectors of another shape.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            allowed = f"rows of {self.size}, the trainable parameters"
            raise InputError("Hessian", "vectors", list(vectors.shape), allowed)
        vectors = vectors.detach().to(self.device, self.dtype)
        self.products += len(vectors)
        return torch.cat([self._multiply(rows) for rows in vectors.split(ROWS)])

    def _multiply(self, rows: Tensor) -> Tensor:
        """The products with rows, the sum over the chunks in float64."""
        total = None
        for index in range(len(self._mean_loss.chunks)):
            products = torch.stack(self._of_chunk(index, rows))
            total = added(total, products, self._mean_loss.share(index))
        return total.to(self.dtype)

    def _of_chunk(self, index: int, rows: Tensor) -> list[Tensor]:
        """The products of a chunk's Hessian with rows."""
        if self._forward:
            try:
                return [self._by_slope(index, v) for v in rows]
            except NotImplementedError:  # a model of operations without forward derivatives
                self._forward = False
        at, gradient = self._gradient(index)
        return [derivative(gradient, at, v, keep=True) for v in rows]

    def _by_slope(self, index: int, vector: Tensor) -> Tensor:
        """The gradient of the loss's slope along a vector."""
        loss = partial(self._mean_loss.of_chunk, index)
        slope = lambda at: torch.func.jvp(loss, (at,), (vector,))[1]  # noqa: E731
        with full_precision():
            return torch.func.grad(slope)(self._at)

    def _gradient(self, index: int) -> tuple[Tensor, Tensor]:
        """The weights and the gradient of a chunk as a graph of them, kept if there is no other."""
        if self._graph is not None:
            return self._graph
        with torch.enable_grad():
            at = self._at.clone().requires_grad_()
            graph = at, derivative(self._mean_loss.of_chunk(index, at), at, graph=True)
        if len(self._mean_loss.chunks) == 1:
            self._graph = graph
        return graph
