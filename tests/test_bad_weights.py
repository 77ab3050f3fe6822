"""Weights that cannot be used, and what is asked of them: one line, before anything is measured."""

import re

import pytest
import torch
from safetensors.torch import save_file

from samscope import models, tasks
from samscope.errors import InputError
from samscope.run import cli
from samscope.stages import trained
from tiny_cell import tiny

torch.set_num_threads(1)


class Net(torch.nn.Linear):
    """A model that is pickled whole."""


@pytest.fixture
def measure(tmp_path, data_dir, monkeypatch, capsys):
    """Measure what `torch.save` makes of a value; the status and what was printed."""
    monkeypatch.chdir(tmp_path)

    def run(value: object, *options: str) -> tuple[int, str]:
        if value is not None:
            torch.save(value, "w.pt")
        names = ["--model", "cnn3", "--data", "digits", "--images", "20", "--top", "1"]
        where = ["--weights", "w.pt", *names, "--data-dir", str(data_dir), *options]
        status = cli.main(["measure", "curvature", *where])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_weights_are_taken_as_scripts_wrap_them(measure):
    state = models.build("cnn3", 10, 1).state_dict()
    compiled = {f"_orig_mod.module.{name}": value for name, value in state.items()}
    parallel = {f"module.{name}": value for name, value in state.items()}
    printed = set()
    for value in (
        state, compiled, {"epoch": 1, "state_dict": parallel}, {"model": state, "optimizer": {}},
        {"model_state_dict": compiled, "rng": [1, 2]},
    ):  # fmt: skip
        status, said = measure(value)
        assert status == 0, said
        printed.add(re.sub(r"[\d.]+ s; ", "", said))
    assert len(printed) == 1


def test_weights_that_cannot_be_used_are_told_in_one_line(measure, tmp_path):
    def refused(value: object, words: str, *options: str) -> None:
        status, said = measure(value, *options)
        assert status == 2, said
        assert said.count("\n") == 1
        assert said[:-1].isprintable()
        assert words in said

    state = models.build("cnn3", 10, 1).state_dict()
    first = next(iter(state))
    whole = r"holds test_bad_weights.Net) is not allowed; allowed: a file of tensors alone: save"
    refused(Net(2, 2), whole)
    refused(
        {"model": {"a": 1}}, "w.pt (holds model) is not allowed; allowed: safetensors, or a state"
    )
    refused({"epoch": 3, "lr": 0.1}, "w.pt (holds epoch, lr)")
    broken = {**state, first: state[first].clone()}
    broken[first].view(-1)[:2] = torch.tensor([float("nan"), float("inf")])
    size = state[first].numel()
    refused(broken, f"samscope: w.pt: {first}: 2 of {size} values not finite is not allowed")
    huge = {n: t if "running" in n or not t.is_floating_point() else t * 0 + 1e38
            for n, t in state.items()}  # fmt: skip
    refused(huge, "w.pt: loss: weights up to 1e+38 give a loss of ")
    (variance,) = [name for name in state if name.endswith("running_var")][:1]
    refused({**state, variance: -state[variance]}, f"{variance}: 16 of 16 variances below 0")
    refused(
        {**state, first: state[first].to(torch.complex64)}, f"{first} complex64 of another type"
    )
    refused({**state, f"module.{first}": state[first]}, f"{first} beside module.{first} is not")
    most = (
        "images: 99999 is not allowed; allowed: no more than the data set has, 1 to 1796, of 1797"
    )
    refused(state, most, "--images", "99999")
    torch.save(state, tmp_path / "w.pt")
    cut = (tmp_path / "w.pt").read_bytes()[:2000]
    texts = (b"", b"not weights", b"import os\n", b"a,b,c\n1,2\n", b"i like weights", cut)
    for text in (*texts, bytes(range(256)), b"\x80\x04N."):
        (tmp_path / "w.pt").write_bytes(text)
        refused(None, "samscope measure curvature: weights: w.pt (")


def test_weights_of_a_run_that_are_of_another_model(tmp_path, data_dir):
    path, splits = tmp_path / "weights.safetensors", tasks.load(tiny().task, data_dir)
    save_file(models.build("cnn5", 10, 1).state_dict(), path)
    with pytest.raises(InputError) as caught:
        trained.model(path, tiny(), 0, splits)
    assert re.fullmatch(
        rf"{path}: cnn3: [\w.]+: \S.* is not allowed; allowed: \S.*", str(caught.value)
    )
    state = models.build("cnn3", 10, 1).state_dict()
    save_file(state, path)
    found = trained.model(path, tiny(), 1, splits).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
