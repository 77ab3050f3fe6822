"""Operations that torch cannot differentiate twice, found in the graphs that it builds.

A gradient that went through one of them leads to a node that fails, or to none at all; asking for
derivatives of what is there gives zeros in place of what is missing.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from samscope.errors import InputError

ALLOWED = "operations with a right second derivative; write it with others of torch"

_FAILING = ("Error", "NotImplemented")

_ARGUMENTS = 16

_WITHOUT = "None of the inputs have requires_grad"


_WRONG = ("WeightNormInterfaceBackward0",)
"""Of 131 operations of torch 2.15, the one with a wrong second derivative: it is not symmetric."""


def doubtful(value: Tensor) -> list[str]:
    """Operations that a value came through and that are right only if they are tested.

    They are those of the user, and those of torch that are known to be wrong.
    """
    known = (node.name() for node in _nodes(value) if node.name() in _WRONG)
    return list(dict.fromkeys([cls.__name__ for cls in _functions(value)] + list(known)))


def check_twice(where: str, value: Tensor, gradient: Tensor) -> None:
    """Refuse a value that came through an operation without a second derivative.

    Args:
        where: for the error.
        value: scalar.
        gradient: of it, differentiable.

    Raises:
        InputError: naming the operation.
    """
    once = [cls.__name__ for cls in _functions(value) if _is_once(cls)]
    if once:
        raise _refused(where, f"{', '.join(once)}, once_differentiable")
    for node in _nodes(gradient):
        if node.name().rpartition("::")[2] in _FAILING:
            raise _refused(where, _told(node))


@contextmanager
def incompatible() -> Iterator[None]:
    """Context in which torch's refusal to differentiate is an `InputError`."""
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        if "use_reentrant" in told:
            raise _reentrant() from error
        if "sparse tensors" in told:
            raise InputError("model", "gradient", "a sparse gradient", "sparse=False") from error
        if "is not implemented" in told or "once_differentiable" in told:
            raise _refused("model", told.splitlines()[0]) from error
        raise


def _functions(value: Tensor) -> list[type]:
    """The `torch.autograd.Function` classes that a value came through."""
    found = (getattr(node, "_forward_cls", None) for node in _nodes(value))
    return list(dict.fromkeys(cls for cls in found if cls is not None))


@contextmanager
def differentiable() -> Iterator[None]:
    """Context for a model's forward pass: what would leave no derivative is an `InputError`."""
    with warnings.catch_warnings():
        # Of a checkpoint whose parameters get no gradient then, with a warning alone.
        warnings.filterwarnings("error", _WITHOUT)
        try:
            yield
        except UserWarning as warning:
            if _WITHOUT not in str(warning):
                raise
            raise _reentrant() from warning
        except RuntimeError as error:
            if "modified inplace" not in str(error):
                raise
            found = "one that changes a parameter in place, such as Embedding(max_norm=...)"
            raise InputError("model", "operation", found, "parameters that stay") from error


def _nodes(value: Tensor) -> Iterator[Any]:
    """The nodes of the graph that a tensor comes from, each once."""
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [before for before, _ in node.next_functions]


def _is_once(cls: type) -> bool:
    """Whether the backward pass of a Function is marked as `once_differentiable`."""
    backward = getattr(getattr(cls, "backward", None), "__globals__", {})
    return backward.get("__name__") == torch.autograd.function.__name__


def _told(node: Any) -> str:
    """What a node that fails says when it is asked."""
    told = node.name()
    for count in range(1, _ARGUMENTS):
        try:
            node(*[torch.zeros(())] * count)
        except TypeError:  # of another number of arguments
            continue
        except RuntimeError as error:
            told = str(error).splitlines()[0]
        break
    return told


def _reentrant() -> InputError:
    found = "checkpoint(..., use_reentrant=True)"
    return InputError("model", "operation", found, "use_reentrant=False")


def _refused(where: str, found: str) -> InputError:
    return InputError(where, "operation", found, ALLOWED)
