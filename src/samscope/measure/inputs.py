"""What a model is called with: a tensor, several one after another, or several by name."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""Of N samples, [N, ...] each: ``model(x)``, ``model(*x)`` of a tuple or list, ``model(**x)``."""


def tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensors, in their order."""
    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(inputs.values() if isinstance(inputs, Mapping) else inputs)


def arguments(inputs: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """What a model is called with: those without a name, and those with one."""
    return ((), dict(inputs)) if isinstance(inputs, Mapping) else (tensors(inputs), {})


def called(model: Callable[..., Any], inputs: Inputs) -> Any:
    """What a model makes of its inputs."""
    ordered, named = arguments(inputs)
    return model(*ordered, **named)


def alike(inputs: Inputs, values: Iterable[Tensor]) -> Inputs:
    """Other tensors in the place of those of ``inputs``."""
    if isinstance(inputs, Mapping):
        return dict(zip(inputs, values, strict=True))
    (*found,) = values
    return found[0] if isinstance(inputs, Tensor) else tuple(found)


def cut(inputs: Inputs, way: Callable[[Tensor], Sequence[Tensor]]) -> list[Inputs]:
    """The samples in parts: ``way`` gives those of a tensor, of all alike."""
    parts = zip(*map(way, tensors(inputs)), strict=True)
    return [alike(inputs, part) for part in parts]


def sound(inputs: object) -> bool:
    """Whether it is a tensor, or one or more in a tuple, list or mapping; with an axis each."""
    if not isinstance(inputs, (Tensor, tuple, list, Mapping)):
        return False
    held = tensors(inputs)
    return bool(held) and all(isinstance(t, Tensor) and t.ndim for t in held)


def sizes(inputs: Inputs) -> str:
    """How many samples each tensor has, in words."""
    return ", ".join(str(len(tensor)) for tensor in tensors(inputs))


def sha256(*held: Tensor) -> str:
    """Hex SHA-256 of the bytes of tensors."""
    content = hashlib.sha256()
    for tensor in held:
        whole = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
        content.update(whole.numpy().data)
    return content.hexdigest()
