"""Files of weights as people save them: the same weights come out of every one."""

import copy
import re
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from samscope import models
from samscope.errors import InputError
from samscope.stages.checkpoints import fill, read_state


def trained(name: str = "resnet8_w8") -> nn.Module:
    """A model whose every number is its own."""
    model = models.build(name, 10, 3, seed=1)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=random))
    return model


def kuangliu(state: dict) -> dict:
    """Three stages of one block."""
    return {re.sub(r"^blocks\.(\d)", r"layer\1.0", n).replace("r0.", "r1.")
            if n.startswith("blocks.0") else re.sub(
                r"^blocks\.(\d)", lambda at: f"layer{int(at[1]) + 1}.0", n): t
            for n, t in state.items()}  # fmt: skip


def torchvision(state: dict) -> dict:
    named = kuangliu(state)
    return {
        n.replace("shortcut", "downsample").replace("linear", "fc"): t for n, t in named.items()
    }


def study(state: dict) -> dict:
    """The study's wide network: stages of blocks counted from 1, a named shortcut."""
    named = {
        re.sub(r"^blocks\.(\d)\.", lambda at: f"stage{int(at[1]) + 1}.block1.", n): t
        for n, t in state.items()
    }
    return {
        n.replace("shortcut.", "shortcut.conv.").replace("linear", "fc"): t
        for n, t in named.items()
    }


def wrapped(prefix: str):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def averaged(state: dict) -> dict:
    model = trained()
    model.load_state_dict(state)
    return AveragedModel(model).state_dict()


def uncounted(state: dict) -> dict:
    return {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "saved",
    [
        lambda state: state,
        lambda state: {"net": state, "acc": 93.1, "epoch": 7},
        lambda state: {"model": state, "optimizer": {"state": {0: {"m": torch.ones(2)}}}},
        lambda state: {"model_state": state, "args": Namespace(lr=0.1)},
        lambda state: {"epoch": 3, "checkpoint": None, "state_dict": {"model": state}},
        lambda state: {"ema": state, "step": torch.tensor(3)},
        lambda state: {"net": state, "acc": np.float64(93.1), "epoch": np.int64(7)},
        lambda state: {"params": state, "optimizer": {"lr": 0.1}, "epoch": torch.tensor(3)},
        lambda state: {
            "state_dict": {
                **wrapped("ema.")({n: 0 * t for n, t in state.items()}),
                **wrapped("model.")(state),
            }
        },
        lambda state: {"model": state, "ema": {n: 0 * t for n, t in state.items()}},
        lambda state: {**state, "epoch": 3, "best": 0.5, "n": torch.tensor(3)},
        lambda state: {"state_dict": wrapped("model.")(state) | {"loss.weight": torch.ones(10)}},
        wrapped("module."),
        wrapped("module._orig_mod."),
        wrapped("_orig_mod.module."),
        wrapped("net.backbone."),
        lambda state: {n.replace("blocks.0.", "blocks.0._orig_mod."): t for n, t in state.items()},
        averaged,
        uncounted,
        kuangliu,
        torchvision,
        lambda state: {"net": wrapped("module.")(kuangliu(uncounted(state))), "acc": 1.0},
        lambda state: {
            n.replace("blocks.0.", "blocks.0._checkpoint_wrapped_module."): t
            for n, t in state.items()
        },
        lambda state: {
            f"_fsdp_wrapped_module.{n}".replace("blocks.1.", "blocks.1._fsdp_wrapped_module."): t
            for n, t in state.items()
        },
        lambda state: {"mine": state, "opt": {"state": {0: {"exp_avg": torch.ones(3)}}}},
        lambda state: {
            "model": state,
            "args": Namespace(out=Path("runs"), since=datetime(2024, 5, 1)),
            "random": np.random.default_rng(0).random(3),
            "options": SimpleNamespace(lr=0.1),
        },
        lambda state: {n: t.half() if t.is_floating_point() else t for n, t in state.items()},
    ],
)
def test_the_weights_of_a_residual_network_come_out(saved, tmp_path):
    model = trained()
    half = saved(model.state_dict()).get("conv1.weight", torch.ones(1)).dtype == torch.float16
    expected = copy.deepcopy(model.half().float()) if half else model
    torch.save(saved(expected.state_dict()), tmp_path / "w.pt")
    found = fill(models.build("resnet8_w8", 10, 3), read_state(tmp_path / "w.pt", "here"), "w.pt")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_the_studys_wide_network_and_safetensors(tmp_path):
    model = trained("wrn10_w8")
    save_file(study(model.state_dict()), tmp_path / "w.safetensors")
    state = read_state(tmp_path / "w.safetensors", "here")
    found = fill(models.build("wrn10_w8", 10, 3), state, "w")
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(found.eval()(x), model.eval()(x))


@pytest.mark.parametrize("format_", ["torch", "safetensors"])
def test_the_format_is_the_contents_and_not_the_names(format_, tmp_path):
    state = trained().state_dict()
    path = tmp_path / {"torch": "w.safetensors", "safetensors": "w.pth"}[format_]
    {"torch": torch.save, "safetensors": save_file}[format_](state, path)
    found = read_state(path, "here")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_blocks_are_counted_as_numbers():
    model = trained("resnet34")
    stages = (3, 4, 6, 3)
    places = [(s + 1, i) for s, count in enumerate(stages) for i in range(count)]
    named = {
        re.sub(r"^blocks\.(\d+)\.", lambda at: "layer{}.{}.".format(*places[int(at[1])]), n): t
        for n, t in model.state_dict().items()
    }
    found = fill(models.build("resnet34", 10, 3), named, "w").state_dict()
    assert all(torch.equal(found[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("linear.bias"), "linear.bias missing is not allowed; allowed: the"),
        (lambda s: s.update(head=torch.ones(2)), "head unknown is not allowed"),
        (
            lambda s: s.update({"linear.weight": torch.ones(2, 3)}),
            "linear.weight (2, 3) for (10, 32) of another shape is not allowed",
        ),
        (
            lambda s: [s.pop(name) for name in list(s)[:7]],
            "conv1.weight, bn1.weight, bn1.bias and 3 more missing",
        ),
        (
            lambda s: s.update({"linear.weight": torch.ones(10, 32, dtype=torch.int8)}),
            "linear.weight int8 of another type is not allowed",
        ),
        (
            lambda s: s.update({"linear.weight": s["linear.weight"].to_sparse()}),
            "linear.weight sparse_coo of another type",
        ),
        (
            lambda s: s.update({"linear.weight": s["linear.weight"].to("meta")}),
            "linear.weight without values of another type",
        ),
        (lambda s: [s.pop("linear.bias"), s.update(a=torch.ones(2))], "missing; a unknown is not"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change, told):
    state = dict(trained().state_dict())
    change(state)
    with pytest.raises(InputError) as error:
        fill(models.build("resnet8_w8", 10, 3), state, "w.pt: resnet8_w8")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_state_is_refused(tmp_path):
    class Settings:
        pass

    globals()["Settings"] = Settings
    Settings.__qualname__ = "Settings"
    for held, told in [
        ({"one": {"a": torch.ones(1)}, "two": {"a": torch.ones(1)}}, "holds one, two"),
        ({}, "holds nothing"),
        ([1], "holds list"),
        ({"net": {"a": torch.ones(1)}, "args": Settings()}, "Settings.* tensors alone"),
    ]:
        torch.save(held, tmp_path / "w.pt")
        with pytest.raises(InputError, match=told):
            read_state(tmp_path / "w.pt", "here")


def test_two_models_in_one_file_are_refused():
    state = trained().state_dict()
    both = {**wrapped("teacher.")(state), **wrapped("student.")(state)}
    with pytest.raises(InputError, match=r"weights: those below teacher\. and student\. [^\n]+\Z"):
        fill(trained(), both, "file")
