"""Models by name. Importable without torch: an architecture's module loads when it is built.

A new member of a family is one line of `MODELS`; a new family is one module beside this one with a
class that takes the sizes of its task (of images ``num_classes, in_channels``) and its settings.
"""

import importlib
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.digests import Registry, digest
from samscope.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


@dataclass(frozen=True)
class Model:
    """An architecture.

    Attributes:
        family: module of this folder, or of any other by its dotted name.
        name: class in it.
        settings: arguments of the class, by keyword.
        takes: the inputs of a task that it reads, see `samscope.tasks.Kind.inputs`.
        together: whether it can be mapped over batches (torch.func.vmap), of which a model cannot
            be whose tensors have shapes that depend on numbers of its inputs.
        smaller: of a family of widths the next smaller one, from whose weights it may start; "" of
            one that starts from its seed whatever is asked; None of what is in no such family.
    """

    family: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    takes: str = "images"
    together: bool = True
    smaller: str | None = None


def _widths(side: int, *widths: int, beyond: tuple[int, ...]) -> dict[str, Model]:
    """Networks of one hidden layer for images of a side, each up to the threshold after the last.

    Those beyond it, with more parameters than samples times classes, start from their seed.
    """
    found: dict[str, Model] = {}
    before = ""
    for units in (*widths, *beyond):
        name = f"hidden{units}_{side}"
        settings = {"side": side, "units": units}
        below = before if units in widths else ""
        found[name] = Model("hidden", "Hidden", settings, smaller=below)
        before = name
    return found


_W16 = {"width": 16, "hidden": 32, "head": (64,)}
_W8 = {"depth": 10, "widening": 1, "base": 8}
_PYRAMID = {"depth": 272, "alpha": 200}
_SMALL_PYRAMID = {"depth": 11, "alpha": 24, "base": 8}
_VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
_SMALL = {"batch": 20, "width": 8, "hidden": 16, "head": (64,), "samples": 64}

_STAGES = ((16, 1),) * 19 + ((32, 2),) + ((32, 1),) * 17 + ((64, 2),) + ((64, 1),) * 17
"""Convolutions of a residual network of depth 56: nine blocks of two in each stage, and a stem."""

MODELS: Registry[str, Model] = {
    # the papers' networks, for 32 x 32 images
    "resnet18": Model("resnet", "ResNet", {"width": 64, "blocks": (2, 2, 2, 2)}),
    "resnet34": Model("resnet", "ResNet", {"width": 64, "blocks": (3, 4, 6, 3)}),
    "wrn28_10": Model("wide_resnet", "WideResNet", {"depth": 28, "widening": 10}),
    # stand-ins for 8 x 8 digits
    "cnn3": Model("cnn", "CNN", {"layers": ((16, 2), (16, 1), (32, 2))}),
    "cnn5": Model("cnn", "CNN", {"layers": ((16, 2), (16, 1), (16, 1), (32, 2), (32, 1))}),
    "cnn3_wide": Model("cnn", "CNN", {"layers": ((32, 2), (32, 1), (64, 2))}),
    "resnet8_w8": Model("resnet", "ResNet", {"width": 8, "blocks": (1, 1, 1)}),
    "wrn10_w8": Model("wide_resnet", "WideResNet", {"depth": 10, "widening": 1, "base": 8}),
    # and for digits read as signals, in batches of 20, and as graphs
    "attention_small": Model("attention", "AttentionNet", _SMALL, takes="signals"),
    "attention_time_small": Model(
        "attention", "AttentionNet", _SMALL | {"encoded": "time"}, takes="signals"
    ),
    "gcn_small": Model("gcn", "GCN", {"hidden": 32}, takes="molecules", together=False),
    # the CS-439 report's, for images, heartbeats and molecules
    "wrn22_8": Model("davda54", "WideResNet", {"depth": 22, "widening": 8}),
    "wrn10_2": Model("davda54", "WideResNet", {"depth": 10, "widening": 2}),
    "attention": Model("attention", "AttentionNet", takes="signals"),
    "attention_time": Model("attention", "AttentionNet", {"encoded": "time"}, takes="signals"),
    "attention_w16": Model("attention", "AttentionNet", _W16, takes="signals"),
    "attention_time_w16": Model(
        "attention", "AttentionNet", _W16 | {"encoded": "time"}, takes="signals"
    ),
    "gcn": Model("gcn", "GCN", takes="molecules", together=False),
    # the grokking study's, for equations, and a stand-in
    "decoder": Model("decoder", "Decoder", takes="equations"),
    "perceptron": Model("decoder", "Perceptron", takes="equations"),
    # Foret et al.'s, for 32 x 32 images
    "wrn28_10_padded": Model("padded_wide_resnet", "WideResNet", {"depth": 28, "widening": 10}),
    "wrn40_2_padded": Model("padded_wide_resnet", "WideResNet", {"depth": 40, "widening": 2}),
    "wrn40_10_plain": Model(
        "padded_wide_resnet", "WideResNet", {"depth": 40, "widening": 10, "normalised": False}
    ),
    "shake26_w96": Model("shake_shake", "ShakeShake", {"depth": 26, "width": 96}),
    "pyramid272": Model("pyramid", "PyramidNet", _PYRAMID),
    "pyramid272_drop": Model("pyramid", "PyramidNet", _PYRAMID | {"drop": 0.5}),
    # and for ImageNet; a residual branch starts at zero, as there
    "resnet50": Model("vision", "network", {"name": "resnet50", "zero_init_residual": True}),
    "resnet101": Model("vision", "network", {"name": "resnet101", "zero_init_residual": True}),
    "resnet152": Model("vision", "network", {"name": "resnet152", "zero_init_residual": True}),
    "efficientnet_b7": Model("vision", "network", {"name": "efficientnet_b7"}),
    # Garipov et al.'s, for 32 x 32 images
    "preresnet164": Model("preresnet", "PreResNet", {"depth": 164}),
    "vgg16": Model("vgg", "VGG", {"groups": _VGG16}),
    # Foret et al.'s stand-ins for digits, with and without batch normalisation
    "wrn10_w8_padded": Model("padded_wide_resnet", "WideResNet", _W8),
    "wrn10_w8_plain": Model("padded_wide_resnet", "WideResNet", _W8 | {"normalised": False}),
    "shake8_w8": Model("shake_shake", "ShakeShake", {"depth": 8, "width": 8, "base": 8}),
    "pyramid11_w8": Model("pyramid", "PyramidNet", _SMALL_PYRAMID),
    "pyramid11_w8_drop": Model("pyramid", "PyramidNet", _SMALL_PYRAMID | {"drop": 0.5}),
    "cnn3_plain": Model("cnn", "PlainCNN", {"layers": ((16, 2), (16, 1), (32, 2))}),
    # Li et al.'s, without shortcuts
    "resnet56_noshort": Model("cnn", "PooledCNN", {"layers": _STAGES}),
    # Belkin et al.'s, for 4,000 images of MNIST, and as many parts of the threshold of 200 digits
    **_widths(28, 8, 15, 23, 30, 38, 46, 50, beyond=(53, 61, 76, 190)),
    **_widths(8, 4, 8, 12, 16, 20, 24, 26, beyond=(28, 32, 40, 100)),
}


@cache
def definition(name: str) -> list[Any]:
    """What a model of `MODELS` is: its family, class, settings, and the digest of their code."""
    model = MODELS[name]
    home = _home(model)
    if home.startswith("samscope."):
        code = digest(f"{home}:{model.name}")
    else:
        file = find_spec(home)
        if file is None or file.origin is None:
            raise LookupError(f"{home}: no such module")
        code = sha256(Path(file.origin).read_bytes()).hexdigest()
    return [model.family, model.name, model.settings, code]


def build(name: str, *sizes: int, seed: int = 0, nudge: float = 0.0) -> "nn.Module":
    """The model called ``name`` with the initial weights of run ``seed``, on the CPU.

    The weights come from the stream (seed, "init") alone and are the same for every variant of a
    seed; the process's own random state is neither read nor moved.

    Args:
        name: one of `MODELS`.
        sizes: of its task, see `samscope.tasks.samples.Splits.sizes`: of images the numbers of
            classes and of channels.
        seed: seed of the run.
        nudge: by how much of itself every weight is changed, times a standard normal draw.

    Raises:
        InputError: for a name that is not in `MODELS`.
    """
    if name not in MODELS:
        raise InputError("samscope.models", "model", name, ", ".join(MODELS))
    import torch

    from samscope.seeding import derive, stream

    model = MODELS[name]
    network = getattr(importlib.import_module(_home(model)), model.name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        built = network(*sizes, **model.settings)
    random = stream(seed, "nudge")
    for weights in built.parameters() if nudge else ():
        draws = torch.randn(weights.shape, generator=random, dtype=torch.float64)
        weights.data.copy_(weights.double() * (1 + nudge * draws))
    return built


def grow(state: "dict[str, Tensor]", smaller: "Mapping[str, Tensor]") -> None:
    """Put the weights of a smaller network where they are in a larger one of its family, in place.

    Args:
        state: of the larger, whose other weights stay.
        smaller: no tensor of it is longer along any axis.
    """
    for name, held in smaller.items():
        state[name][tuple(slice(length) for length in held.shape)] = held.to(state[name])


def head(name: str, *sizes: int) -> frozenset[str]:
    """The tensors of a model whose shape is that of the number of classes, the first of sizes."""
    more = build(name, sizes[0] + 1, *sizes[1:]).state_dict()
    own = build(name, *sizes).state_dict()
    return frozenset(key for key, value in own.items() if value.shape != more[key].shape)


def _home(model: Model) -> str:
    """The dotted name of its module."""
    home = f"samscope.models.{model.family}"
    return home if find_spec(home) else model.family
