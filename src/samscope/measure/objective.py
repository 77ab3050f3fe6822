"""The mean loss over a data set as a function of all weights in one vector, without side effects.

A model, its loss and its data are frozen here into a function of a flat vector, of which
`samscope.measure.hessian` takes second derivatives and `samscope.measure.sharpness` the maximum
nearby. Weights and buffers are copied, so the model may train on, and the function stays the same.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial, reduce
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from samscope.errors import InputError
from samscope.measure.batches import Batch, chunks, count, pairs, weighed
from samscope.measure.inputs import Inputs, alike, called, tensors
from samscope.measure.means import check_mean
from samscope.measure.operations import differentiable, incompatible
from samscope.measure.undisturbed import full_precision, undisturbed
from samscope.measure.wrapped import chosen, places, unwrapped

Loss = Callable[[Any, Any], Tensor]
"""Of the model's outputs and the targets: one number, the mean over the batch."""

BatchNorm = Literal["eval", "batch"]
"""What batch normalisation normalises with: ``eval``, the running statistics that the model has;
``batch``, those of each batch at the weights in question."""

BATCH = 512
"""Samples that pass through a model at a time."""

_T = TypeVar("_T")


def own_loss(outputs: Any, targets: Any) -> Tensor:
    """The loss of a model that computes it itself: its ``loss``, the first of several, or all.

    >>> [own_loss(outputs, None) for outputs in ({"logits": 2.0, "loss": 1.0}, (1.0, 2.0), 1.0)]
    [1.0, 1.0, 1.0]
    """
    if hasattr(outputs, "loss"):
        return outputs.loss
    if isinstance(outputs, Mapping):
        return outputs.get("loss", outputs)
    return outputs[0] if isinstance(outputs, tuple) and outputs else outputs


class MeanLoss:
    """The mean of a loss over all samples, a function of the trainable weights as one vector.

    Modules run in eval mode, in full float32 (no TF32, no autocast), whatever the caller's modes;
    random layers draw the same numbers at every call. Nothing of the caller changes, also when the
    model or the loss fails: no mode, buffer, gradient, ``requires_grad`` or random state. Of a
    wrapped model (compiled, DataParallel) what it wraps is measured.

    Args:
        model: takes the inputs of a batch; its trainable parameters are the variables.
        loss: mean over the samples of its batch; of outputs and targets. `own_loss` for a model
            that computes it.
        batches: one batch or several, such as a DataLoader: pairs of inputs and targets, or
            mappings, see `samscope.measure.batches.pairs`. Each sample weighs the same, also those
            of a smaller last batch. They are kept where they are and moved to the model's device
            one at a time.
        weight: of a batch, given its targets, where the loss is a mean over something else than
            samples: the sum of class weights, the number of tokens. Batches without weight are left
            out. It is taken at its word, as a loss without it is not.
        parameters: names of parameters or of modules, such as ``["layer4", "fc.weight"]``, that are
            the variables; the others stay where they are. None for all that are trainable.
        dtype: compute in this type, float32 or float64, on converted copies; None for the model's
            own, and float32 for one of half precision.
        batchnorm: see `BatchNorm`. Under ``batch`` the loss depends on how the samples are batched.
        held: samples that pass through the model at a time. Larger batches are split, which
            changes nothing but the rounding; under ``batchnorm="batch"`` they stay whole.

    Attributes:
        weights: the model's, [size].
        size: the number of variables.
        samples: the number of samples.
        chunks: batches of at most ``held`` samples.

    Raises:
        InputError: no trainable parameter, parameters on several devices, no samples, batches that
            are no batches, a loss that is no mean over samples, an unknown setting.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> data = torch.ones(3, 2), torch.zeros(3, 1)
    >>> mean_loss = MeanLoss(model, nn.functional.mse_loss, data, dtype=torch.float64)
    >>> mean_loss(torch.tensor([1.0, 2.0]))
    9.0
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batch | Iterable[Any],
        *,
        weight: Callable[[Any], float | Tensor] | None = None,
        parameters: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
        batchnorm: BatchNorm = "eval",
        held: int = BATCH,
    ) -> None:
        if batchnorm not in get_args(BatchNorm):
            raise InputError("MeanLoss", "batchnorm", batchnorm, " or ".join(get_args(BatchNorm)))
        if held < 1:
            raise InputError("MeanLoss", "held", held, "1 sample at least")
        self._inside, self.batchnorm = _Inside(unwrapped(model)), batchnorm
        model = self._inside.model
        variables = chosen(model, parameters)
        self.dtype, self.device = _kind(type(model).__name__, [*variables.values()], dtype)
        self._shapes = {name: p.shape for name, p in variables.items()}
        flat = torch.cat([p.detach().reshape(-1) for p in variables.values()])
        self.weights = flat.to(self.dtype)
        self.size = len(self.weights)
        self._loss = self._own_kind(loss)
        named = model.named_parameters()
        self._frozen = {k: self._own(p) for k, p in named if k not in variables}
        self._buffers = {k: self._own(b) for k, b in model.named_buffers()}
        self._places = places(model)
        self.chunks = pairs(batches)
        if batchnorm == "eval":
            self.chunks = chunks(self.chunks, held)
        weights = weighed(self.chunks, weight)
        self.chunks = [chunk for chunk, w in zip(self.chunks, weights, strict=True) if w]
        self._shares = [w / sum(weights) for w in weights if w]
        self.samples = sum(map(count, self.chunks))
        if weight is None:
            check_mean(self)

    def _own(self, tensor: Tensor) -> Tensor:
        """A copy, of the type and on the device of the computation."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self.device, dtype, copy=True)

    def _own_kind(self, loss: Loss) -> Loss:
        """A loss with tensors of its own, such as class weights, copied as the buffers are."""
        if isinstance(loss, nn.Module) and [*loss.parameters(), *loss.buffers()]:
            return copy.deepcopy(loss).to(self.device, self.dtype)
        return loss

    def in_float64(self) -> "MeanLoss":
        """The same function, computed in float64."""
        other = copy.copy(self)
        other.dtype, other.weights = torch.float64, self.weights.double()
        other._loss = other._own_kind(self._loss)
        for name in ("_frozen", "_buffers"):
            setattr(other, name, {k: other._own(t) for k, t in getattr(self, name).items()})
        return other

    def few(self, samples: int) -> "MeanLoss":
        """The mean over the first samples of the first chunk alone."""
        other, size = copy.copy(self), count(self.chunks[0])
        other.samples = min(samples, size)
        other.chunks = chunks(self.chunks[:1], other.samples)[:1]
        other._shares = [1.0]
        return other

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a vector [size] by the names and in the shapes of the parameters."""
        pieces = flat.split([shape.numel() for shape in self._shapes.values()])
        return {k: v.view(s) for (k, s), v in zip(self._shapes.items(), pieces, strict=True)}

    def share(self, index: int) -> float:
        """The weight of a chunk in the mean: its samples over all."""
        return self._shares[index]

    def on_device(self, index: int) -> Batch:
        """A chunk where and in the type in which it is computed."""

        def moved(held: Inputs) -> Inputs:
            kinds = ((t, self.dtype if t.is_floating_point() else None) for t in tensors(held))
            return alike(held, [t.to(self.device, kind, non_blocking=True) for t, kind in kinds])

        inputs, targets = self.chunks[index]
        return moved(inputs), moved(targets)

    def inside(self, flat: Tensor, work: Callable[[nn.Module], _T], seed: int) -> _T:
        """What ``work`` makes of the model, while the model has the weights ``flat`` [size].

        A backward pass belongs in it: activation checkpointing runs the model again.
        """
        # Modules write to their buffers, some in eval mode too: each call has its own.
        buffers = {k: b.clone() for k, b in self._buffers.items()}
        state = self.named(flat) | self._frozen | buffers
        model, whole = self._inside.model, self.batchnorm == "batch"
        with undisturbed(model, self.device, whole, seed):
            held = {f"model.{place}": state[name] for place, name in self._places.items()}
            with differentiable() if torch.is_grad_enabled() else nullcontext():
                return functional_call(self._inside, held, (work,), tie_weights=False)

    def value(self, outputs: Any, targets: Any) -> Tensor:
        """The loss [] of outputs of the model.

        Raises:
            InputError: for a loss that is not one number.
        """
        value = self._loss(outputs, targets)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError("MeanLoss", "loss", shape, "one number, the mean over the batch")
        return value.reshape(())

    def of_chunk(
        self, index: int, flat: Tensor, then: Callable[[Tensor], Any] = lambda value: value
    ) -> Any:
        """The mean loss [] of one chunk at the weights ``flat`` [size], differentiable in them.

        With ``then``, what it makes of the loss; see `inside`.

        Raises:
            InputError: for a loss that is not one number.
        """
        inputs, targets = self.on_device(index)

        def work(model: nn.Module) -> Any:
            return then(self.value(called(model, inputs), targets))

        return self.inside(flat, work, seed=index)

    def __call__(self, flat: Tensor) -> float:
        """The mean loss at the weights ``flat`` [size], summed over the chunks in float64."""
        with torch.no_grad():
            flat = flat.to(self.weights)
            values = [self.of_chunk(i, flat).item() for i in range(len(self.chunks))]
        return math.fsum(self.share(i) * value for i, value in enumerate(values))

    def gradient(self, flat: Tensor) -> tuple[float, Tensor]:
        """The mean loss at the weights ``flat`` [size] and its gradient [size]."""
        values: list[float] = []
        total: Any = None
        for i in range(len(self.chunks)):
            with torch.enable_grad():
                at = flat.detach().to(self.weights).requires_grad_()
                value, slope = self.of_chunk(i, at, partial(_with_slope, at))
            values.append(self.share(i) * value)
            total = added(total, slope, self.share(i))
        return math.fsum(values), total.to(self.dtype)


def _with_slope(at: Tensor, value: Tensor) -> tuple[float, Tensor]:
    return value.item(), derivative(value, at)


class _Inside(nn.Module):
    """A model as a part of a module that calls any function of it, for `functional_call`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[nn.Module], Any]) -> Any:
        return work(self.model)


def derivative(
    value: Tensor, at: Tensor, along: Tensor | None = None, keep: bool = False, graph: bool = False
) -> Tensor:
    """The derivative of ``value`` with respect to ``at``, zero where it does not depend on it.

    Args:
        value: a scalar, or a vector of which ``along`` gives the combination.
        at: [size].
        along: as ``value``.
        keep: keep the graph for another call.
        graph: make the derivative itself differentiable.

    Raises:
        InputError: where an operation has no such derivative.
    """
    if torch.is_inference_mode_enabled():  # where nothing requires a gradient
        raise InputError("model", "derivative", "torch.inference_mode()", "a call outside of it")
    if not value.requires_grad:
        return torch.zeros_like(at)
    with full_precision(), incompatible():
        (found,) = torch.autograd.grad(
            value, at, along, keep or graph, graph, allow_unused=True, materialize_grads=True
        )
    return found


def added(total: Tensor | None, term: Tensor, share: float) -> Tensor:
    """``total + share * term`` with the total in float64; the term itself where it is all."""
    if share == 1.0:
        return term
    if total is None:
        total = torch.zeros(term.shape, dtype=torch.float64, device=term.device)
    return total.add_(term, alpha=share)


def _kind(
    where: str, parameters: Sequence[Tensor], dtype: torch.dtype | None
) -> tuple[torch.dtype, torch.device]:
    """Type and device of the computation."""
    if any(p.is_complex() for p in parameters):
        raise InputError(where, "parameters", "complex", "real ones")
    devices = {p.device for p in parameters}
    if len(devices) > 1:
        raise InputError(where, "parameters", f"on {len(devices)} devices", "one device")
    if dtype not in (None, torch.float32, torch.float64):
        raise InputError("MeanLoss", "dtype", dtype, "torch.float32 or torch.float64")
    own = reduce(torch.promote_types, (p.dtype for p in parameters), torch.float32)
    return dtype or own, devices.pop()
