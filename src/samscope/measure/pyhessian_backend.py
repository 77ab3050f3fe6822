"""PyHessian 0.1, with what is broken in it mended, and without side effects on the caller.

The estimator is PyHessian's Lanczos with full reorthogonalisation (Z. Yao, A. Gholami, K. Keutzer,
M. Mahoney, "PyHessian: Neural Networks Through the Lens of the Hessian", arXiv 1912.07145), of a
model in eval mode, of the mean loss. What is mended:

- A second object doubles the eigenvalues of the first, since gradients add up in ``p.grad``; mode,
  gradients and the global random state are left changed. `_opened` keeps objects apart and puts
  everything back.
- A parameter that the loss does not use is an AssertionError. Here its rows are zero.
- Its ``eigenvalues``, power iteration, take 50 to 100 products and leave errors of 0.1 to 10 %,
  the more the closer the eigenvalues. Its own Lanczos, meant for the density, has the top five
  to five digits after 25 and bounds their error, so they are taken from there.
- That Lanczos, its ``density``, needs `torch.eig`, which torch 2 does not have.
- It adds 1e-6 to the norms it divides by: see `_SCALE`.

Up to `BATCH` inputs the graph is built once and kept; more go through in batches of that size,
weighted by it, for memory's sake and half as fast.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, SimpleNamespace

import torch
from pyhessian import hessian as PyHessian
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.inputs import Inputs, tensors
from samscope.measure.objective import BATCH, Loss

_SCALE = 2.0**20
"""The loss is multiplied by this, so that 1e-6 is small beside the norms of any Hessian from 1e-9
up. A power of two scales floating-point numbers exactly."""


@dataclass(frozen=True)
class TopEigenvalues:
    """The eigenvalues of largest magnitude, in descending order of it.

    Attributes:
        values: with their signs; NaN when the Hessian is not finite.
        residuals: ``|H v - value v|``: an eigenvalue of H lies within that distance of the value
            (and of rounding, about 1e-6 of the largest in float32).
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]


def top_eigenvalues(
    model: nn.Module, loss: Loss, x: Inputs, y: Tensor, n: int = 5, steps: int = 30, seed: int = 0
) -> TopEigenvalues:
    """The n eigenvalues of largest magnitude of the Hessian of ``loss(model(x), y)``.

    A multiple eigenvalue counts once: Lanczos from one start vector sees no more of it.

    Args:
        model: on the device of ``x``.
        loss: mean over the batch.
        x: inputs, [N, ...], one tensor; PyHessian calls no model with more.
        y: targets, [N, ...].
        n: how many, at most ``steps`` and the number of trainable parameters.
        steps: of Lanczos, each a Hessian-vector product. Look at the residuals.
        seed: of the start vector.

    Raises:
        InputError: for several inputs, n out of range, no trainable parameter, or a loss that is
            not finite.
    """
    if len(tensors(x)) > 1 or isinstance(x, Mapping):
        found, allowed = type(x).__name__, "one tensor; the back end lanczos takes several"
        raise InputError("top_eigenvalues", "x", found, allowed)
    (x,) = tensors(x)
    size = _size(model)
    steps = min(steps, size)
    if not 1 <= n <= steps:
        raise InputError("top_eigenvalues", "n", n, f"1 to {steps}, the steps and the parameters")
    # One step more gives the norm of what the steps before it leave over.
    matrix = _tridiagonal(model, loss, x, y, min(steps + 1, size), seed)
    if not matrix.isfinite().all():
        return TopEigenvalues((math.nan,) * n, (math.nan,) * n)
    rest = matrix[steps, steps - 1] if steps < size else 0.0
    values, vectors = torch.linalg.eigh(matrix[:steps, :steps])
    top = values.abs().argsort(descending=True)[:n]
    residuals = (rest * vectors[-1, top]).abs()
    return TopEigenvalues(tuple(values[top].tolist()), tuple(residuals.tolist()))


@contextmanager
def _opened(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, seed: int) -> Iterator[PyHessian]:
    """A PyHessian object; on leaving, also by an error, the caller finds everything as it was."""
    _size(model)
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]

    def scaled(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        if value.numel() != 1 or not value.isfinite():
            raise InputError("loss", "value", value.tolist(), "one finite number")
        # Adding 0 |w|^2 gives every parameter a gradient with a graph, also those without a use.
        squares = [p.square().sum() for p in model.parameters() if p.requires_grad]
        return value * _SCALE + 0.0 * torch.stack(squares).sum()

    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    batch = {"data": batches[0]} if len(batches) == 1 else {"dataloader": batches}
    devices = [x.device] if x.is_cuda else []
    try:
        model.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices), torch.enable_grad(), warnings.catch_warnings():
            # The reference cycle it warns of ends when the gradients are put back.
            warnings.filterwarnings("ignore", message="Using backward.. with create_graph")
            # Not torch.manual_seed, which reaches devices that are not put back.
            torch.default_generator.manual_seed(seed)
            if x.is_cuda:
                torch.cuda.manual_seed(seed)
            yield PyHessian(model, scaled, cuda=x.is_cuda, **batch)
    finally:
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _size(model: nn.Module) -> int:
    """The number of trainable parameters, which is not 0."""
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if size == 0:
        raise InputError(type(model).__name__, "parameters", "none trainable", "one at least")
    return size


def _tridiagonal(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, steps: int, seed: int
) -> Tensor:
    """Matrix [steps, steps] of the Lanczos inside `PyHessian.density`.

    Its code runs here with a `torch` of its own in which `eig` exists; nothing that others see is
    patched. What `eig` is given is the tridiagonal matrix.
    """
    matrices = []

    def eig(matrix: Tensor, eigenvectors: bool) -> tuple[Tensor, Tensor]:
        matrices.append(matrix.double() / _SCALE)
        return matrix, matrix

    mended = SimpleNamespace(**{**vars(torch), "eig": eig})
    names = {**PyHessian.density.__globals__, "torch": mended}
    run = FunctionType(PyHessian.density.__code__, names)
    with _opened(model, loss, x, y, seed) as opened:
        run(opened, steps, 1)
    return matrices[0]
