"""What the operators of a mean loss have in common: sums over its chunks, graphs that are kept."""

from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.objective import MeanLoss, added

ROWS = 16
"""Vectors for which a graph that is not kept is used before it is dropped: 2.2 gradients each."""


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


class Products:
    """A matrix of second derivatives of a mean loss at some weights, by its products.

    One kind gives the graph of a chunk and the product that it serves: `_built` and `_product`. The
    graph is kept while all samples pass through the model together.
    """

    def __init__(self, mean_loss: MeanLoss, at: Tensor | None = None) -> None:
        self._mean_loss = mean_loss
        self._at = mean_loss.weights if at is None else at.to(mean_loss.weights)
        if len(self._at) != mean_loss.size:
            found = f"{len(self._at)} weights"
            raise InputError(type(self).__name__, "at", found, f"{mean_loss.size}")
        self._kept: tuple[Tensor, Any] | None = None
        self._trusted = False
        self.size, self.dtype, self.device = mean_loss.size, mean_loss.dtype, mean_loss.device
        self.products = 0

    def in_float64(self) -> Self:
        """The same matrix, computed in float64."""
        other = type(self)(self._mean_loss.in_float64(), self._at.double())
        other._trusted = True
        return other

    def matvec(self, vector: Tensor) -> Tensor:
        """The product [size] with a vector [size], in the operator's type.

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
            raise InputError(type(self).__name__, "vectors", list(vectors.shape), allowed)
        vectors = vectors.detach().to(self.device, self.dtype)
        self.products += len(vectors)
        return torch.cat([self._multiply(rows) for rows in vectors.split(ROWS)])

    def _multiply(self, rows: Tensor) -> Tensor:
        """The products with rows, the sum over the chunks in float64."""
        total: Any = None
        for index in range(len(self._mean_loss.chunks)):
            products = torch.stack(self._of_chunk(index, rows))
            total = added(total, products, self._mean_loss.share(index))
        return total.to(self.dtype)

    def _of_chunk(self, index: int, rows: Tensor) -> list[Tensor]:
        """The products of a chunk's matrix with rows."""
        at, known = self._kept or (self._at.clone().requires_grad_(), None)

        def work(model: nn.Module) -> tuple[Any, list[Tensor]]:
            graph = self._built(index, model, at) if known is None else known
            return graph, [self._product(graph, at, v) for v in rows]

        with torch.enable_grad():
            graph, products = self._mean_loss.inside(at, work, seed=index)
        if len(self._mean_loss.chunks) == 1:
            self._kept = at, graph
        return products

    def _built(self, index: int, model: nn.Module, at: Tensor) -> Any:
        """What the products of a chunk are derived from, as a graph of the weights ``at``."""
        raise NotImplementedError

    def _product(self, graph: Any, at: Tensor, vector: Tensor) -> Tensor:
        """The product with a vector."""
        raise NotImplementedError
