"""BatchNorm in the second pass: batch statistics normalise, running statistics stay."""

from types import TracebackType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class batchnorm_frozen:
    """Context in which BatchNorm layers do not record: for a second pass over the same batch.

    In training mode a layer whose `track_running_stats` is off normalises with the statistics of
    the batch and touches no buffer: not the running mean and variance, and not
    `num_batches_tracked`, which a momentum of 0 would still advance (it is the weight of the
    cumulative average when momentum=None). In eval mode nothing changes.

    The layers are those that the model has when the context is entered, so one object serves a
    whole training; it may be nested, and an error inside restores the layers.

    Args:
        model: the model whose BatchNorm layers (1d, 2d, 3d, Sync) are to be frozen.

    >>> import torch
    >>> model = nn.BatchNorm1d(2)
    >>> with batchnorm_frozen(model):
    ...     output = model(torch.ones(4, 2))
    >>> model.num_batches_tracked.item()
    0
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._tracked: list[list[tuple[_BatchNorm, bool]]] = []

    def __enter__(self) -> None:
        layers = [layer for layer in self._model.modules() if isinstance(layer, _BatchNorm)]
        self._tracked.append([(layer, layer.track_running_stats) for layer in layers])
        for layer in layers:
            layer.track_running_stats = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for layer, tracked in self._tracked.pop():
            layer.track_running_stats = tracked
