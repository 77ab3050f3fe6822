"""The engine against a plain loop, step by step in float64, where nothing hides behind rounding."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import reference

from samscope.spec import Cell

SMALL = {"model": "cnn3", "data": "digits", "augment": "none", "train_size": 100, "val_size": 20}


def cell(**fields):
    own = {**SMALL, "batch_size": 30, "compiled": False, **fields}
    return Cell.from_dict({**reference.SETTINGS, **own})


@pytest.mark.parametrize("drop_last", [False, True])
def test_every_step_is_a_plain_loops(data_dir, drop_last):
    rows = reference.compare(cell(drop_last=drop_last), 7, data_dir, torch.float64)
    assert max(row["one_step"] for row in rows) < 1e-12
    assert max(abs(row["loss"] - row["loss_alone"]) for row in rows) < 1e-9
    assert rows[-1]["loss"] != rows[0]["loss"]


def test_another_weight_decay_would_be_seen(data_dir, monkeypatch):
    monkeypatch.setattr(reference.baseline.SAM, "__init__", _without_decay)
    rows = reference.compare(cell(), 2, data_dir, torch.float64)
    assert rows[0]["one_step"] > 1e-4


_init = reference.baseline.SAM.__init__


def _without_decay(self, *args, weight_decay, **kwargs):
    _init(self, *args, weight_decay=0.0, **kwargs)


def test_a_damaged_data_set_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "cifar100.npz").write_bytes(b"")
    arguments = ["--model", "resnet8_w8", "--out", str(tmp_path), "--data-dir", str(tmp_path)]
    assert reference.main(arguments) == 2
    assert "cifar100.npz" in capsys.readouterr().err
