"""Compiled code: one function serves every model, batch size and precision of a process."""

from collections.abc import Callable

import torch

from samscope.errors import InputError


def compile_alike(function: Callable) -> Callable:
    """The function through torch.compile, the same code in every process.

    Raises:
        InputError: when called, where torch cannot compile.
    """
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException

    # A code serves every model, batch size and precision of a process; torch's limit is 8.
    config.recompile_limit = 64
    # Deterministic: nothing is chosen by timing it, so that another process compiles the same.
    options: dict[str, str | int | bool | Callable] = {"deterministic": True}
    compiled = torch.compile(function, fullgraph=True, dynamic=False, options=options)

    def call(*args: object) -> object:
        try:
            return compiled(*args)
        except TorchDynamoException as error:
            why = f"True, but {str(error).splitlines()[0]}"
            raise InputError("cell", "compiled", why, "false where torch cannot compile") from error

    return call
