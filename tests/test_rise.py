"""The rise of the loss around a solution: against directions of its own, and what is refused."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.func import functional_call

from samscope import models, stages, tasks
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.stages import rise
from samscope.stages.train import train_cell
from samscope.store import records
from stage_runs import asked, measure
from tiny_cell import tiny

CELL = tiny(variant="sgd", epochs=3, label_noise=0.0)
SETTINGS = {"images": 60, "radius": 0.5, "directions": 20}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("rise")
    train_cell(CELL, [0], folder, data_dir, lambda line: None)
    return folder, data_dir


def test_the_rise_is_that_of_directions_drawn_anew(trained):
    folder, data_dir = trained
    run = asked(CELL, 0, folder, SETTINGS)
    measure("rise", [run], data_dir)
    (found,) = json.loads((folder / "rise.json").read_text())["runs"]
    model = models.build(CELL.model, 10, 1).eval().double()
    model.load_state_dict(load_file(run.folder / records.WEIGHTS))
    splits = tasks.load(CELL.task, data_dir)
    facts, y = splits.facts, splits.train.targets[:60]
    x = (splits.train.inputs[0][:60].double() / facts["scale"] - facts["mean"]) / facts["std"]
    w = {name: p.detach() for name, p in model.named_parameters()}
    loss = lambda at: F.cross_entropy(functional_call(model, at, (x,)), y).item()  # noqa: E731
    assert found["loss"] == pytest.approx(loss(w), rel=1e-4)
    random = torch.Generator().manual_seed(5)
    rises = []
    for _ in range(150):
        moved = dict(w)
        for name, p in w.items():
            if p.ndim > 1:
                step = torch.randn(p.shape, generator=random, dtype=torch.float64)
                for row, own in zip(step, p, strict=True):  # filter by filter
                    row *= 0.5 * own.norm() / row.norm()
                moved[name] = p + step
        rises.append(loss(moved) - loss(w))
    rises = torch.tensor(rises)
    error = (found["stderr"] ** 2 + (rises.std().item() ** 2) / 150) ** 0.5
    assert abs(found["rise"] - rises.mean().item()) < 4 * error < found["rise"]


def test_what_is_measured_stays_without_weights_and_other_settings_lack_them(trained, tmp_path):
    folder = tmp_path / "cell"
    shutil.copytree(trained[0], folder)
    run, stage = asked(CELL, 0, folder, SETTINGS), stages.STAGES["rise"]
    measure("rise", [run], trained[1])
    assert stage.is_built([run])
    records.drop_weights(run.folder)
    assert stage.is_made(run)
    other = asked(CELL, 0, folder, SETTINGS | {"radius": 0.1})
    assert not stage.is_made(other)
    assert [path.name for path in stage.lacking(other)] == [records.WEIGHTS]


@pytest.mark.parametrize(
    ("bad", "told"),
    [({"radius": 0}, "radius: 0"), ({"directions": 1}, "directions: 1"), ({"seeds": 0}, "seeds")],
)
def test_settings_that_mean_nothing_are_told_in_a_line(bad, told):
    with pytest.raises(InputError) as error:
        read(rise.Settings, {"where": {}, "seeds": 1, **SETTINGS, **bad}, "scale.yaml")
    assert told in str(error.value)


def test_a_network_without_shortcuts_is_the_sources():
    model = models.build("resnet56_noshort", 10, 3)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.stride[0] for m in convolutions].count(2) == 2
    assert len(convolutions) == 55
    # A stem, three stages of 18, each but the first twice as wide; then normalisation, classes.
    expected = 9 * 3 * 16 + 9 * 16 * 16 * 18 + 9 * 16 * 32 + 9 * 32 * 32 * 17
    expected += 9 * 32 * 64 + 9 * 64 * 64 * 17 + 2 * (19 * 16 + 18 * 32 + 18 * 64) + 65 * 10
    assert sum(p.numel() for p in model.parameters()) == expected
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert model.linear.weight.std().item() == pytest.approx(1e-3, rel=0.2)
