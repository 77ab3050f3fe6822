"""Models by name. Importable without torch: an architecture's module loads when it is built.

A new member of a family is one line of `_MODELS`; a new family is one module beside this one with
a class that takes ``(num_classes, in_channels, **settings)``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from samscope.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # the papers' networks, for 32 x 32 images
    "resnet18": ("resnet", "ResNet", {"width": 64, "blocks": (2, 2, 2, 2)}),
    "resnet34": ("resnet", "ResNet", {"width": 64, "blocks": (3, 4, 6, 3)}),
    "wrn28_10": ("wide_resnet", "WideResNet", {"depth": 28, "widening": 10}),
    # stand-ins for 8 x 8 digits
    "cnn3": ("cnn", "CNN", {"layers": ((16, 2), (16, 1), (32, 2))}),
    "cnn5": ("cnn", "CNN", {"layers": ((16, 2), (16, 1), (16, 1), (32, 2), (32, 1))}),
    "cnn3_wide": ("cnn", "CNN", {"layers": ((32, 2), (32, 1), (64, 2))}),
    "resnet8_w8": ("resnet", "ResNet", {"width": 8, "blocks": (1, 1, 1)}),
    "wrn10_w8": ("wide_resnet", "WideResNet", {"depth": 10, "widening": 1, "base": 8}),
}

NAMES: tuple[str, ...] = tuple(_MODELS)


def definition(name: str) -> tuple[str, str, dict[str, Any]]:
    """Module, class and settings of a model of `NAMES`."""
    return _MODELS[name]


def build(name: str, num_classes: int, in_channels: int, seed: int = 0) -> "nn.Module":
    """The model called ``name`` with the initial weights of run ``seed``, on the CPU.

    The weights come from the stream (seed, "init") alone and are the same for every variant of a
    seed; the process's own random state is neither read nor moved.

    Args:
        name: one of `NAMES`.
        num_classes: number of outputs.
        in_channels: channels of the images.
        seed: seed of the run.

    Raises:
        InputError: for a name that is not in `NAMES`.
    """
    if name not in _MODELS:
        raise InputError("samscope.models", "model", name, ", ".join(NAMES))
    import torch

    from samscope.seeding import derive

    module, class_name, settings = _MODELS[name]
    network = getattr(importlib.import_module(f"samscope.models.{module}"), class_name)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(derive(seed, "init"))
        return network(num_classes, in_channels, **settings)
