"""Models inside others, and the names of what a model holds."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from samscope.errors import InputError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without the modules that compile or distribute it."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def chosen(model: nn.Module, names: Sequence[str] | None) -> dict[str, Tensor]:
    """The trainable parameters of a model by name: all, or those with or below one of the names.

    Raises:
        InputError: where there is none, or none of one of the names.
    """
    variables: dict[str, Tensor] = {k: p for k, p in model.named_parameters() if p.requires_grad}
    where = type(model).__name__
    if not variables:
        raise InputError(where, "parameters", "none trainable", "one at least")
    if names is None:
        return variables
    own = {id(p): k for k, p in variables.items()}
    every = model.named_parameters(remove_duplicate=False)  # tied ones under all of their names
    plain = {k.replace("_orig_mod.", ""): own[id(p)] for k, p in every if id(p) in own}
    names = [names] if isinstance(names, str) else names
    found: dict[str, Tensor] = {}
    for name in names:
        under = {k: variables[k] for p, k in plain.items() if f"{p}.".startswith(f"{name}.")}
        if not under:
            parts = ", ".join(dict.fromkeys(p.split(".")[0] for p in plain))
            raise InputError(where, "parameters", name, f"names of parameters or modules: {parts}")
        found |= under
    if not found:
        raise InputError(where, "parameters", "no names", "one at least")
    return {k: p for k, p in variables.items() if k in found}


def places(model: nn.Module) -> dict[str, str]:
    """Every place of a model that holds a parameter or buffer, and the first name of what it holds.

    A tensor may have several places; a module that a model has twice is one place. (By
    `torch.func.functional_call` it is two, and the model keeps what was there for the call.)
    """
    names = {id(t): k for k, t in (*model.named_parameters(), *model.named_buffers())}
    found = {}
    for at, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found[f"{at}.{name}".removeprefix(".")] = names[id(tensor)]
    return found
