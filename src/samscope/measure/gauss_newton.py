"""The generalised Gauss-Newton matrix of a mean loss as a linear operator.

    G = mean over the samples of J' H_out J

with J the derivative of the model's outputs by the weights and H_out the Hessian of the loss by the
outputs (N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
Neural Computation 14, 2002). It is the Hessian without the curvature of the model itself, positive
semi-definite where the loss is convex in the outputs, and for cross-entropy and squares the Fisher
matrix (J. Martens, arXiv:1412.1193). What many papers call the sharpness of a network is the
largest eigenvalue of this one.

J v is the derivative of J' u by u, so that a product takes one pass for it and one for J'.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.batches import count
from samscope.measure.inputs import called
from samscope.measure.objective import derivative
from samscope.measure.operations import check_twice
from samscope.measure.products import Products


class _Graph(NamedTuple):
    """Outputs z of the weights; u and J'u of u; a copy of z and the loss's gradient by it."""

    outputs: Tensor
    dual: Tensor
    pulled: Tensor
    leaf: Tensor
    slope: Tensor


class GaussNewton(Products):
    """The generalised Gauss-Newton matrix of a mean loss, as an operator on vectors [size].

    An operator like `samscope.measure.hessian.Hessian`, for `spectrum` and `xtrace`.

    Args:
        mean_loss: of a model whose outputs are one tensor. What the model does belongs to J, what
            the loss does to H_out.
        at: the weights [size]; those of the model where there are none.

    Raises:
        InputError: for weights of another number; and at the first product for outputs that are
            not one tensor, or an operation that cannot be differentiated twice.

    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = torch.tensor([[1.0], [3.0]]), torch.zeros(2, 1)
    >>> from samscope.measure.objective import MeanLoss
    >>> GaussNewton(MeanLoss(model, nn.functional.mse_loss, data)).matvec(torch.ones(1))
    tensor([10.])
    """

    def _built(self, index: int, model: nn.Module, at: Tensor) -> _Graph:
        inputs, targets = self._mean_loss.on_device(index)
        outputs, where = called(model, inputs), type(model).__name__
        if not isinstance(outputs, Tensor):
            raise InputError(where, "outputs", type(outputs).__name__, "one tensor")
        samples = count((inputs, targets))
        if not outputs.ndim or outputs.numel() < samples:  # a loss that the model computes itself
            found = f"{outputs.numel()} for {samples} samples"
            raise InputError(where, "outputs", found, "those of each sample, and a loss of them")
        dual = torch.zeros_like(outputs, requires_grad=True)
        pulled = derivative(outputs, at, dual, graph=True)
        leaf = outputs.detach().requires_grad_()
        value = self._mean_loss.value(leaf, targets)
        slope = derivative(value, leaf, graph=True)
        if not self._trusted:
            check_twice(where, outputs, pulled)
            check_twice("the loss", value, slope)
            self._trusted = True
        return _Graph(outputs, dual, pulled, leaf, slope)

    def _product(self, graph: _Graph, at: Tensor, vector: Tensor) -> Tensor:
        moved = derivative(graph.pulled, graph.dual, vector, keep=True)
        bent = derivative(graph.slope, graph.leaf, moved, keep=True)
        return derivative(graph.outputs, at, bent, keep=True)
