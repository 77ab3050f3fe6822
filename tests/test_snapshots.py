"""Weights kept at chosen epochs: of this training, whole, and nothing else of a run changes."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from samscope.stages.train import train_cell
from samscope.store import records
from samscope.train import engine
from samscope.train.step import Learner
from tiny_cell import tiny

CELL = tiny(epochs=5)
NAMES = ["weights-1.safetensors", "weights-3.safetensors"]


class Killed(BaseException):
    """A death that no handler sees, as far as files are concerned."""


@pytest.fixture(autouse=True)
def _keep_every_state(monkeypatch):
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """An uninterrupted run with weights kept after the epochs 1 and 3; 5 is the last."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, data_dir, (1, 3, 5))
    return folder


def train(folder, data_dir, epochs, lines=None, cell=CELL) -> None:
    report = (lambda line: None) if lines is None else lines.append
    train_cell(cell, [0], folder, data_dir, report, snapshots={0: epochs})


def content(folder) -> dict[str, bytes]:
    files = (p for p in (folder / "seed=0").iterdir() if p.name != "provenance.json")
    return {path.name: path.read_bytes() for path in files}


def test_they_are_the_weights_after_that_many_epochs(whole, data_dir, monkeypatch):
    assert list(records.snapshots(whole / "seed=0")) == NAMES
    seen, row_of = [], engine._row

    def watched(cell, learner, feed, number):
        row = row_of(cell, learner, feed, number)
        seen.append({k: v.clone() for k, v in learner.model.state_dict().items()})
        return row

    monkeypatch.setattr(engine, "_row", watched)
    again = whole.parent / "again"
    train(again, data_dir, (1, 3))
    for name, number in zip(NAMES, (1, 3), strict=True):
        found = load_file(again / "seed=0" / name)
        assert found.keys() == seen[number - 1].keys()
        assert all(torch.equal(found[k], v) for k, v in seen[number - 1].items())
    assert content(again) == content(whole)


def test_they_change_nothing_else(whole, data_dir, tmp_path):
    train(tmp_path, data_dir, ())
    assert content(tmp_path) == {k: v for k, v in content(whole).items() if k not in NAMES}


@pytest.mark.parametrize("step", [3, 4 * 2 + 2, 4 * 3 + 1, 4 * 4 + 3])
def test_a_killed_run_ends_with_the_same(whole, data_dir, tmp_path, monkeypatch, step):
    """Before, between and after the epochs that are kept, and in the middle of one."""
    original, steps = Learner.step, []

    def dying(*args):
        steps.append(1)
        if len(steps) == step:
            raise Killed
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", dying)
        with pytest.raises(Killed):
            train(tmp_path, data_dir, (1, 3))
    train(tmp_path, data_dir, (1, 3))
    assert content(tmp_path) == content(whole)


def test_a_death_while_one_is_written_costs_nothing(whole, data_dir, tmp_path, monkeypatch):
    write = records.write

    def dying(path, value):
        if path.name == NAMES[1]:
            path.with_name(f".{path.name}.tmp").write_bytes(value[:100])
            raise Killed
        write(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", dying)
        with pytest.raises(Killed):
            train(tmp_path, data_dir, (1, 3))
    assert list(records.snapshots(tmp_path / "seed=0")) == NAMES[:1]
    train(tmp_path, data_dir, (1, 3))
    assert content(tmp_path) == content(whole)


def test_those_of_another_training_go(whole, data_dir, tmp_path):
    other = tiny(epochs=5, lr=0.05)
    train(tmp_path, data_dir, (1, 2, 3), cell=other)
    theirs = content(tmp_path)
    (tmp_path / "seed=0/provenance.json").unlink()
    train(tmp_path, data_dir, (1, 3))
    assert content(tmp_path) == content(whole)
    assert theirs[NAMES[0]] != content(whole)[NAMES[0]]


def test_a_damaged_one_is_found_out_and_a_missing_one_is_not_missed(whole, data_dir, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    path, lines = tmp_path / "seed=0" / NAMES[0], []
    path.unlink()
    train(tmp_path, data_dir, (1, 3), lines)
    assert lines[0].endswith("kept")
    path = path.with_name(NAMES[1])
    path.write_bytes(path.read_bytes()[:-4] + b"0000")
    train(tmp_path, data_dir, (1, 3), lines)
    assert f"{NAMES[1]} is not what was written" in lines[1]
    assert content(tmp_path) == content(whole)
    records.drop_weights(tmp_path / "seed=0")
    assert not list((tmp_path / "seed=0").glob("weights*"))
    train(tmp_path, data_dir, (1, 3), lines)
    assert lines[-1].endswith("kept")
