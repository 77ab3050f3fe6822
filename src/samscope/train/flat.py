"""Parameters as views of one vector, and tensors copied together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters into one vector, in place: they become views of what is returned."""
    vector = parameters[0].detach().new_empty(sum(p.numel() for p in parameters))
    for parameter, view in zip(parameters, views(vector, parameters), strict=True):
        view.copy_(parameter.detach())
        parameter.data = view
    return vector


def views(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The vector cut into the shapes of parameters, on a GPU with the channels last."""
    found = []
    for part, p in zip(vector.split([p.numel() for p in parameters]), parameters, strict=True):
        if p.ndim == 4 and vector.is_cuda:
            out, into, height, width = p.shape
            found.append(part.view(out, height, width, into).permute(0, 3, 1, 2))
        else:
            found.append(part.view_as(p))
    return found


def copy_all(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy tensors in few kernels, whatever their number: one call for each dtype."""
    for dtype in {tensor.dtype for tensor in into}:
        pairs = [pair for pair in zip(into, values, strict=True) if pair[0].dtype == dtype]
        torch._foreach_copy_([to for to, _ in pairs], [value for _, value in pairs])
