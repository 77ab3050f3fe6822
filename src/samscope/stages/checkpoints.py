"""Weights from files as people save them, under the names that the models here have."""

import re
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from samscope.errors import InputError

KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network"),
    *("ema", "ema_state_dict", "model_ema"),
)
"""What scripts call the weights in a file that holds more, the averaged ones last."""

_STAGE = re.compile(r"(?:^|(?<=\.))(?:layer|stage)(\d+)\.(?:block)?(\d+)\.")
_OTHER_NAMES = (
    (re.compile(r"(?:^|(?<=\.))fc\."), "linear."),
    (re.compile(r"\.downsample\."), ".shortcut."),
    (re.compile(r"\.shortcut\.conv\."), ".shortcut."),
)
"""Of residual networks: kuangliu's and torchvision's ``layer1.0``, the geometry-SAM study's
``stage1.block1``, are counted through as ``blocks.0`` here."""

_SCALAR: Any = np.float64(0).__reduce__()[0]
_ARRAY: Any = np.zeros(0).__reduce__()[0]
_PLAIN: list[Any] = [
    *(Namespace, SimpleNamespace, datetime, timedelta, PosixPath),
    *((PosixPath, f"pathlib.{home}PosixPath") for home in ("", "_local.")),
    *(np.dtype, np.ndarray),
    *(type(np.dtype(kind)) for kind in "?bhilBHILefd"),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""Plain values beside the weights: a script's arguments, the state of random numbers."""

_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Of modules that are compiled, sharded or checkpointed, also one within a model."""

_HEADER = 8
"""Bytes of a safetensors file before its table, in JSON."""

_COUNTER = "num_batches_tracked"
_SHOWN = 3


def read_state(path: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a state dict that `torch.save` wrote, by name.

    The state dict may be below one of `KEYS`, or be the only one, at any depth, with numbers beside
    its tensors.
    Nothing in the file is executed.

    Raises:
        InputError: for a file that is neither.
    """
    if not path.is_file():
        raise InputError(where, "weights", str(path), "a file")
    allowed = "safetensors, or a state dict (names and tensors) saved by torch.save"
    try:
        with warnings.catch_warnings(action="ignore"):
            held = _load(path)
    # What a foreign file raises depends on its bytes.
    except Exception as error:
        holds = re.search(r"GLOBAL (\S+)", str(error))
        if holds:
            allowed = "a file of tensors alone: save model.state_dict() in place of the model"
            raise InputError(where, "weights", f"{path} (holds {holds[1]})", allowed) from None
        telling = isinstance(error, SafetensorError | RuntimeError | OSError)
        reason = str(error).split(". ")[0] if telling else "of no known format"
        raise InputError(where, "weights", f"{path} ({reason})", allowed) from None
    state = _tensors(held)
    if not state:
        known = ", ".join(map(str, held))[:80] if isinstance(held, dict) else type(held).__name__
        raise InputError(where, "weights", f"{path} (holds {known or 'nothing'})", allowed)
    return state


def fill(model: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """The model with these weights and buffers, whatever wraps their names.

    Raises:
        InputError: naming the first tensors that are missing, unknown or of another shape or type,
            or the places of two models.
    """
    own = model.state_dict()
    _check_once(state, where)
    found = _unwrapped(_renamed(state, own), own, where)
    missing = [name for name in own if name not in found and not name.endswith(_COUNTER)]
    unknown = [name for name, tensor in found.items() if name not in own and tensor.ndim]
    shaped = [
        f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in found and found[name].shape != tensor.shape
    ]
    typed = [
        f"{name} {kind}"
        for name, tensor in found.items()
        if name in own and (kind := _other_type(tensor, own[name]))
    ]
    kinds = (
        *(("missing", missing), ("unknown", unknown)),
        *(("of another shape", shaped), ("of another type", typed)),
    )
    told = [f"{_some(names)} {how}" for how, names in kinds if names]
    if told:
        raise InputError(where, "weights", "; ".join(told), f"the {len(own)} tensors of the model")
    model.load_state_dict({name: found.get(name, tensor) for name, tensor in own.items()})
    return model


def _other_type(tensor: Tensor, own: Tensor) -> str:
    """What a tensor of a file is where it cannot be one of the model; "" where it can."""
    if tensor.is_meta:
        return "without values"
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    # Integers in the place of real numbers are quantised, and mean others.
    fits = tensor.is_floating_point() or not (tensor.is_complex() or own.is_floating_point())
    return "" if fits else str(tensor.dtype).removeprefix("torch.")


def _check_once(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse a tensor that stands twice, wrapped and not: one of them would count unsaid."""
    plain: dict[str, str] = {}
    for name in state:
        within = _WRAPPERS.sub("", name).split(".")
        bare = ".".join(part for part in within if part != "module")
        if bare in plain:
            raise InputError(where, "weights", f"{plain[bare]} beside {name}", "one of the two")
        plain[bare] = name


def _load(path: Path) -> Any:
    with path.open("rb") as file, torch.serialization.safe_globals(_PLAIN):
        if file.read(_HEADER + 1)[_HEADER:] == b"{":
            return load_file(path)
        file.seek(0)  # of a file, and not by its name, which torch heeds
        return torch.load(file, map_location="cpu", weights_only=True)


def _tensors(held: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, or of one below it."""
    if not isinstance(held, Mapping):
        return {}
    for key in KEYS:
        if found := _tensors(held.get(key)):
            return found
    named = {name: tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}
    # An optimizer's states are below the numbers of parameters.
    below = [other for name, other in held.items() if isinstance(name, str)]
    others = [found for other in below if (found := _tensors(other))]
    if len(others) == 1 and not any(tensor.ndim for tensor in named.values()):
        return others[0]
    return {name: tensor for name, tensor in named.items() if isinstance(name, str)}


def _renamed(state: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """The tensors under the names of the residual networks here, where the model is one."""
    plain = {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    if not any(name.startswith("blocks.") for name in own):
        return plain
    places = {tuple(map(int, at.groups())) for at in map(_STAGE.search, plain) if at}
    number = {place: index for index, place in enumerate(sorted(places))}
    renamed = {}
    for name, tensor in plain.items():
        name = _STAGE.sub(lambda at: f"blocks.{number[int(at[1]), int(at[2])]}.", name)
        for other, here in _OTHER_NAMES:
            name = other.sub(here, name)
        renamed[name] = tensor
    return renamed


def _unwrapped(state: dict[str, Tensor], own: Iterable[str], where: str) -> dict[str, Tensor]:
    """The tensors below the prefix that makes most names those of the model, averaged ones last."""
    own, prefixes = set(own), Counter[str]()
    for name in state:
        parts = name.split(".")
        ends = {".".join(parts[i:]): ".".join([*parts[:i], ""]) for i in range(len(parts))}
        prefixes.update(ends[end] for end in ends.keys() & own)
    best = [prefix for prefix, n in prefixes.items() if n == max(prefixes.values())]
    best = [prefix for prefix in best if "ema" not in prefix.lower()] or best or [""]
    if len(best) > 1:
        raise InputError(where, "weights", f"those below {' and '.join(best)}", "one model's")
    prefix = best[0]
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _some(names: list[str]) -> str:
    """The first of some names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
