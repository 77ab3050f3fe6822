"""The drift of weights: its laws by walks that are known, the stage by a small run."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from samscope import models, stages
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.measure import drift
from samscope.stages import drift as stage
from samscope.stages.train import train_cell
from samscope.store import records
from stage_runs import asked, measure
from tiny_cell import tiny

CELL, EPOCHS = tiny(variant="sgd", epochs=5), {"epochs": [1, 2, 4]}
AT = [1, 2, 4, 9, 20, 45, 100, 220, 500]


def points(walk: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(walk[at]) for at in AT]


def laws(walk: np.ndarray) -> tuple[float, float]:
    found = drift.distances(points(walk))
    return drift.exponent([at - AT[0] for at in AT[1:]], found[0]), drift.turning(found)


def test_a_random_walk_has_half_a_power_and_no_direction():
    steps = np.random.default_rng(0).standard_normal((501, 2000))
    walk = np.cumsum(steps, axis=0)
    exponent, cosine = laws(walk)
    assert exponent == pytest.approx(0.5, abs=0.02)
    assert abs(cosine) < 0.03
    moves = [walk[b] - walk[a] for a, b in pairwise(AT)]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b)
               for a, b in pairwise(moves)]  # fmt: skip
    assert cosine == pytest.approx(np.mean(cosines), abs=1e-12)
    far = [[np.linalg.norm(walk[b] - walk[a]) for b in AT[i + 1 :]] for i, a in enumerate(AT[:-1])]
    assert [len(row) for row in far] == list(range(8, 0, -1))
    assert drift.distances(points(walk)) == [pytest.approx(row, rel=1e-12) for row in far]


def test_a_straight_line_has_power_one_and_ever_slower_less_but_always_one_direction():
    way = np.random.default_rng(1).standard_normal(50)
    assert laws(np.outer(np.arange(501.0), way)) == pytest.approx((1.0, 1.0), abs=1e-12)
    slower = laws(np.outer(np.maximum(np.arange(501.0) - 1, 0) ** 0.5, way))
    assert slower == pytest.approx((0.5, 1.0), abs=1e-12)


def test_of_too_little_there_is_no_law():
    assert np.isnan(drift.exponent([1, 2], [1.0, 2.0]))
    assert np.isnan(drift.exponent([1, 2, 3], [0.0, 1.0, 2.0]))
    assert np.isnan(drift.turning([[1.0]]))
    assert np.isnan(drift.turning([[0.0, 1.0], [1.0]]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    """The folder of a cell with one trained run, and that of the data sets."""
    folder = tmp_path_factory.mktemp("drift")
    train_cell(CELL, [0], folder, data_dir, lambda line: None, snapshots={0: EPOCHS["epochs"]})
    return folder, data_dir


def test_a_run_is_measured_from_where_it_is_learned(trained, tmp_path, monkeypatch):
    folder = tmp_path / "cell"
    shutil.copytree(trained[0], folder)
    run, made = asked(CELL, 0, folder, EPOCHS), stages.STAGES["drift"]
    rows = (run.folder / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("train_acc_percent")
    second = float(rows[2].split(",")[column])
    assert float(rows[1].split(",")[column]) < second
    monkeypatch.setattr(stage, "LEARNED", second)
    measure("drift", [run], trained[1])
    (found,) = json.loads((folder / "drift.json").read_text())["runs"]
    assert found["steps"] == [2, 4, 5]
    names = [name for name, _ in models.build(CELL.model, 10, 1).named_parameters()]
    files = [records.weights_at(2), records.weights_at(4), records.WEIGHTS]
    held = [load_file(run.folder / file) for file in files]
    flat = [np.concatenate([of[n].ravel() for n in names]).astype(float) for of in held]
    far = [np.linalg.norm(flat[b] - flat[a]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert [d for row in found["distances"] for d in row] == pytest.approx(far, rel=1e-12)
    a, b = flat[1] - flat[0], flat[2] - flat[1]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert (found["exponent"], found["cosine"]) == (None, pytest.approx(cosine, abs=1e-9))
    # Without its weights what is measured stays; other epochs lack theirs.
    records.drop_weights(run.folder)
    assert made.is_made(run)
    other = asked(CELL, 0, folder, {"epochs": [1, 2, 3]})
    assert not made.is_made(other)
    assert [path.name for path in made.lacking(other)][-1] == records.WEIGHTS


def test_what_never_learns_has_no_drift(trained, tmp_path, monkeypatch):
    folder = tmp_path / "cell"
    shutil.copytree(trained[0], folder)
    monkeypatch.setattr(stage, "LEARNED", 101.0)
    measure("drift", [asked(CELL, 0, folder, EPOCHS)], trained[1])
    (found,) = json.loads((folder / "drift.json").read_text())["runs"]
    assert (found["steps"], found["distances"], found["exponent"]) == ([], [], None)


def test_two_epochs_are_no_drift():
    with pytest.raises(InputError, match="three or more, each once"):
        read(stage.Settings, {"where": {}, "seeds": 1, "epochs": [1, 2]}, "scale.yaml")
