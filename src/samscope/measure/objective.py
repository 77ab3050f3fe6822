"""The mean loss over a data set as a function of all weights in one vector, without side effects.

A model, its loss and its data are frozen here into a function of a flat vector, of which
`samscope.measure.hessian` takes second derivatives and `samscope.measure.sharpness` the maximum
nearby. Weights and buffers are copied, so the model may train on, and the function stays the same.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from samscope.errors import InputError
from samscope.measure.inputs import Inputs, alike, arguments, cut, sizes, sound, tensors

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of the model's outputs and the targets: one number, the mean over the batch."""

Batch = tuple[Inputs, Tensor]
"""Inputs, [N, ...] each, and targets [N, ...]."""

BatchNorm = Literal["eval", "batch"]
"""What batch normalisation normalises with: ``eval``, the running statistics that the model has;
``batch``, those of each batch at the weights in question."""

BATCH = 512
"""Samples that pass through a model at a time."""


class MeanLoss:
    """The mean of a loss over all samples, a function of the trainable weights as one vector.

    Modules run in eval mode, in full float32 (no TF32, no autocast), whatever the caller's modes;
    random layers draw the same numbers at every call. Nothing of the caller changes, also when the
    model or the loss fails: no mode, buffer, gradient, ``requires_grad`` or random state.

    Args:
        model: takes the inputs of a batch; its trainable parameters are the variables.
        loss: mean over the samples of its batch.
        batches: one pair of inputs and targets, or several; a pair with a tuple of inputs is itself
            a tuple. Each sample weighs the same, also those of a smaller last batch. They are kept
            where they are and moved to the model's device one at a time.
        dtype: compute in this floating type on converted copies; None for the model's own.
        batchnorm: see `BatchNorm`. Under ``batch`` the loss depends on how the samples are batched.
        held: samples that pass through the model at a time. Larger batches are split, which
            changes nothing but the rounding; under ``batchnorm="batch"`` they stay whole.

    Attributes:
        weights: the model's, [size].
        size: the number of trainable parameters.
        samples: the number of samples.
        chunks: batches of at most ``held`` samples.

    Raises:
        InputError: no trainable parameter, parameters of several types or devices, no samples,
            batches that are not pairs of inputs and targets of one length, an unknown setting.

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
        batches: Batch | Iterable[Batch],
        *,
        dtype: torch.dtype | None = None,
        batchnorm: BatchNorm = "eval",
        held: int = BATCH,
    ) -> None:
        if batchnorm not in get_args(BatchNorm):
            raise InputError("MeanLoss", "batchnorm", batchnorm, " or ".join(get_args(BatchNorm)))
        if held < 1:
            raise InputError("MeanLoss", "held", held, "1 sample at least")
        # A compiled model has no second derivatives; what it was compiled from has.
        self._model = getattr(model, "_orig_mod", model)
        self._loss = loss
        self.batchnorm = batchnorm
        variables = {k: p for k, p in self._model.named_parameters() if p.requires_grad}
        self.dtype, self.device = _kind(type(self._model).__name__, variables.values(), dtype)
        self._shapes = {name: p.shape for name, p in variables.items()}
        flat = torch.cat([p.detach().reshape(-1) for p in variables.values()])
        self.weights = flat.to(self.dtype)
        self.size = len(self.weights)
        named = self._model.named_parameters()
        self._frozen = {k: self._own(p) for k, p in named if k not in variables}
        self._buffers = {k: self._own(b) for k, b in self._model.named_buffers()}
        pairs = _pairs(batches)
        whole = batchnorm == "batch"
        self.chunks = [
            chunk for x, y in pairs for chunk in ([(x, y)] if whole else _split(x, y, held))
        ]
        self.samples = sum(len(y) for _, y in self.chunks)

    def _own(self, tensor: Tensor) -> Tensor:
        """A copy, of the type and on the device of the computation."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self.device, dtype, copy=True)

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a vector [size] by the names and in the shapes of the parameters."""
        pieces = flat.split([shape.numel() for shape in self._shapes.values()])
        return {k: v.view(s) for (k, s), v in zip(self._shapes.items(), pieces, strict=True)}

    def share(self, index: int) -> float:
        """The weight of a chunk in the mean: its samples over all."""
        return len(self.chunks[index][1]) / self.samples

    def of_chunk(self, index: int, flat: Tensor) -> Tensor:
        """The mean loss [] of one chunk at the weights ``flat`` [size], differentiable in them.

        Raises:
            InputError: for a loss that is not one number.
        """
        inputs, targets = self.chunks[index]
        *held, y = (
            t.to(self.device, self.dtype if t.is_floating_point() else None, non_blocking=True)
            for t in (*tensors(inputs), targets)
        )
        # Modules write to their buffers, some in eval mode too: each call has its own.
        buffers = {k: b.clone() for k, b in self._buffers.items()}
        state = self.named(flat) | self._frozen | buffers
        with self._undisturbed(seed=index):
            given = arguments(alike(inputs, held))
            value = self._loss(functional_call(self._model, state, *given), y)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError("MeanLoss", "loss", shape, "one number, the mean over the batch")
        return value.reshape(())

    def __call__(self, flat: Tensor) -> float:
        """The mean loss at the weights ``flat`` [size], summed over the chunks in float64."""
        with torch.no_grad():
            flat = flat.to(self.weights)
            values = [self.of_chunk(i, flat).item() for i in range(len(self.chunks))]
        return math.fsum(self.share(i) * value for i, value in enumerate(values))

    def gradient(self, flat: Tensor) -> tuple[float, Tensor]:
        """The mean loss at the weights ``flat`` [size] and its gradient [size]."""
        values, total = [], None
        for i in range(len(self.chunks)):
            with torch.enable_grad():
                at = flat.detach().to(self.weights).requires_grad_()
                value = self.of_chunk(i, at)
            values.append(self.share(i) * value.item())
            total = added(total, derivative(value, at), self.share(i))
        return math.fsum(values), total.to(self.dtype)

    @contextmanager
    def _undisturbed(self, seed: int) -> Iterator[None]:
        """The modes and numbers of the computation, and those of the caller afterwards."""
        modes = [(module, module.training) for module in self._model.modules()]
        device = self.device.type
        with ExitStack() as stack:
            # Fused attention has no second derivatives.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(full_precision())
            stack.enter_context(torch.random.fork_rng([self.device] if device == "cuda" else []))
            # Not torch.manual_seed, which reaches devices that are not put back.
            torch.random.default_generator.manual_seed(seed)
            if device == "cuda":
                torch.cuda.manual_seed(seed)
            try:
                for module, _ in modes:
                    module.training = self.batchnorm == "batch" and isinstance(module, _BatchNorm)
                yield
            finally:
                for module, training in modes:
                    module.training = training


@contextmanager
def full_precision() -> Iterator[None]:
    """Context without autocast and without TF32, which a GPU's convolutions use unless told not to.

    TF32 keeps 10 bits of each factor: no basis for eigenvalues to five digits.
    """
    settings = _tf32_settings()
    try:
        for holder, name, off, _ in settings:
            setattr(holder, name, off)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for holder, name, _, before in settings:
            setattr(holder, name, before)


def _tf32_settings() -> list[tuple[Any, str, Any, Any]]:
    """Where TF32 is allowed: object, attribute, the value without TF32 and the present one."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    try:
        return [(o, "allow_tf32", False, o.allow_tf32) for o in (cuda.matmul, cudnn)]
    except RuntimeError:
        # The caller has set the newer fp32_precision, beside which these cannot be read.
        operations = (cuda.matmul, cudnn.conv, cudnn.rnn)
        return [(o, "fp32_precision", "ieee", o.fp32_precision) for o in operations]


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
    """
    if not value.requires_grad:
        return torch.zeros_like(at)
    with full_precision():
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
    where: str, parameters: Iterable[Tensor], dtype: torch.dtype | None
) -> tuple[torch.dtype, torch.device]:
    """Type and device of the computation."""
    parameters = list(parameters)
    dtypes, devices = ({getattr(p, a) for p in parameters} for a in ("dtype", "device"))
    if not parameters:
        raise InputError(where, "parameters", "none trainable", "one at least")
    if len(devices) > 1:
        raise InputError(where, "parameters", f"on {len(devices)} devices", "one device")
    if dtype is None and len(dtypes) > 1:
        raise InputError(where, "parameters", f"of {len(dtypes)} types", "one, or name a dtype")
    if dtype is not None and not dtype.is_floating_point:
        raise InputError("MeanLoss", "dtype", dtype, "a floating type")
    return dtype or dtypes.pop(), devices.pop()


def _split(x: Inputs, y: Tensor, held: int) -> list[Batch]:
    """A batch in batches of at most ``held`` samples."""
    return list(zip(cut(x, lambda t: t.split(held)), y.split(held), strict=True))


def _pairs(batches: Batch | Iterable[Batch]) -> list[Batch]:
    """The batches as a list of pairs, checked."""
    single, batches = isinstance(batches, tuple), list(batches)
    if len(batches) == 2 and isinstance(batches[1], Tensor):
        # In a list, a tuple before a tensor is a pair beside something that is none.
        single |= isinstance(batches[0], Tensor | Mapping)
        batches = [tuple(batches)] if single else batches
    if not batches:
        raise InputError("MeanLoss", "batches", "none", "one at least")
    for index, pair in enumerate(batches):
        where = f"MeanLoss: batch {index}"
        two = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not two or not sound(pair[0]) or not isinstance(pair[1], Tensor) or not pair[1].ndim:
            allowed = "inputs, one tensor or several in a tuple or mapping, and targets, a tensor"
            raise InputError(where, "pair", type(pair).__name__, allowed)
        if not all(len(tensor) == len(pair[1]) > 0 for tensor in tensors(pair[0])):
            lengths = f"{sizes(pair[0])} inputs, {len(pair[1])} targets"
            raise InputError(where, "pair", lengths, "as many of each, one at least")
    return [tuple(pair) for pair in batches]
