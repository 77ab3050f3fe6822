"""BatchNorm in the second pass, where running statistics stay; and at weights never trained at."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm


class batchnorm_frozen:
    """Context in which BatchNorm layers do not record: for a second pass over the same batch.

    In training mode a layer whose `track_running_stats` is off normalises with the statistics of
    the batch and touches no buffer: not the running mean and variance, and not
    `num_batches_tracked`, which a momentum of 0 would still advance (it is the weight of the
    cumulative average when momentum=None). One of InstanceNorm records all the same, and is
    without the statistics for so long. In eval mode nothing changes.

    The layers are those that the model has when the context is entered, so one object serves a
    whole training; it may be nested, and an error inside restores the layers.

    Args:
        model: the model whose BatchNorm layers (1d, 2d, 3d, Sync) are to be frozen, and those of
            InstanceNorm that record.

    >>> import torch
    >>> model = nn.BatchNorm1d(2)
    >>> with batchnorm_frozen(model):
    ...     output = model(torch.ones(4, 2))
    >>> model.num_batches_tracked.item()
    0
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before: list[list[tuple[nn.Module, str, Any]]] = []

    def __enter__(self) -> None:
        changes = [change for layer in self._model.modules() for change in _frozen(layer)]
        self._before.append([(layer, name, getattr(layer, name)) for layer, name, _ in changes])
        for layer, name, value in changes:
            setattr(layer, name, value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for layer, name, value in self._before.pop():
            setattr(layer, name, value)


def _frozen(layer: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """What of a layer is set to what."""
    if isinstance(layer, _BatchNorm):
        yield layer, "track_running_stats", False
    elif isinstance(layer, _InstanceNorm) and layer.training and layer.track_running_stats:
        yield from ((layer, name, None) for name in ("running_mean", "running_var"))


@torch.no_grad()
def refresh(model: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set the running statistics of BatchNorm layers to their means over the samples of batches.

    All layers are in training mode for it, with batch statistics, as in update_bn of
    timgaripov/dnn-mode-connectivity, utils.py. A model without such layers is left as it is.

    Args:
        model: left in evaluation mode.
        batches: inputs, by which the model is called.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    before = [layer.momentum for layer in layers]
    if layers:
        model.train()
        for layer in layers:
            layer.reset_running_stats()
        samples = 0
        for inputs in batches:
            size = len(inputs[0])
            samples += size
            for layer in layers:
                layer.momentum = size / samples
            model(*inputs)
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
    model.eval()
