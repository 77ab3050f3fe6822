"""Runs that begin with the weights of another run of the plan."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samscope import data, models
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import STAGES, Run
from samscope.stages.bench import Bench
from samscope.stages.train import train_cell
from tiny_cell import tiny

START = {"pretrain": "digits_0_4", "pretrain_epochs": 1, "pretrain_size": 60, "pretrain_lr": 0.1}
CELL = tiny(
    variant="sam", data="digits_5_9", train_size=50, val_size=0, epochs=2, frozen_norm=True, **START
)


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The run that those of the cell begin from, trained; and where."""
    folder = tmp_path_factory.mktemp("start")
    train_cell(CELL.origin, [0], folder / "origin", folder / "data", silent)
    return folder, Run(folder / "origin/seed=0", CELL.origin, 0)


def trained(cell: Cell, origin) -> dict[str, torch.Tensor]:
    """The last weights of a run that begins from it."""
    folder, before = origin
    run = Run(folder / cell.digest(0) / "seed=0", cell, 0, needs=(before,))
    run.folder.parent.mkdir(exist_ok=True)
    if not STAGES["train"].is_made(run):
        assert STAGES["train"].make(run, Bench(folder / "data"), silent, float("inf"))
    return load_file(run.folder / "weights.safetensors")


def test_it_begins_from_the_optimizer_alone_on_the_other_classes():
    before = CELL.origin
    assert CELL.needs(3) == ((before, 3),)
    assert (before.task.data, before.task.train_size, before.task.label_noise) == (
        *("digits_0_4", 60), 0.0,
    )  # fmt: skip
    assert (before.method.variant, before.method.ascent.rho, before.budget.epochs) == (
        *("sgd", None), 1,
    )  # fmt: skip
    assert before.needs(0) == ()
    assert before.model == CELL.model
    assert Cell.from_dict(CELL.to_dict()) == CELL
    assert tiny().origin is None
    others = [CELL, CELL.but(pretrain_lr=0.2), CELL.but(frozen_norm=False)]
    assert len({cell.digest(0) for cell in others}) == 3


def test_all_is_taken_but_the_head(origin):
    """At a learning rate of next to nothing a run ends where it began."""
    _, before = origin
    still = CELL.but(lr=1e-30, momentum=0.0)
    found, taken = trained(still, origin), load_file(before.folder / "weights.safetensors")
    own = models.build(CELL.model, 5, 1, seed=0).state_dict()
    head = models.head(CELL.model, 5, 1)
    assert {name.partition(".")[0] for name in head} == {"linear"}
    for name, value in found.items():
        assert torch.equal(value, (own if name in head else taken)[name]), name


def test_statistics_stay_or_move_as_asked(origin):
    _, before = origin
    taken = load_file(before.folder / "weights.safetensors")
    statistics = [name for name in taken if "running" in name]
    assert statistics
    frozen, free = (trained(CELL.but(frozen_norm=f), origin) for f in (True, False))
    assert all(torch.equal(frozen[name], taken[name]) for name in statistics)
    assert not any(torch.equal(free[name], taken[name]) for name in statistics)
    weights = [name for name in taken if "running" not in name and "num" not in name]
    assert not any(torch.equal(frozen[name], taken[name]) for name in weights)


def test_parts_of_a_batch_keep_frozen_statistics_too(origin):
    _, before = origin
    taken = load_file(before.folder / "weights.safetensors")
    found = trained(CELL.but(micro_batch=5, batch_size=10), (origin[0], before))
    assert all(torch.equal(found[k], taken[k]) for k in taken if "running" in k)


def test_weights_that_are_gone_or_of_another_model_are_named(origin, tmp_path):
    folder, before = origin
    run = Run(tmp_path / "seed=0", CELL, 0, needs=(before,))
    assert STAGES["train"].lacking(run) == []
    wider = Run(tmp_path / "seed=0", CELL.but(model="cnn3_wide"), 0, needs=(before,))
    with pytest.raises(InputError, match=r"weights.safetensors: cnn3_wide: .* is not allowed"):
        STAGES["train"].make(wider, Bench(folder / "data"), silent, 1.0)
    weights = before.folder / "weights.safetensors"
    held = weights.read_bytes()
    weights.unlink()
    try:
        assert STAGES["train"].lacking(run) == [weights]
        with pytest.raises(InputError, match=r"weights: gone is not allowed; allowed: weights to"):
            STAGES["train"].make(run, Bench(folder / "data"), silent, 1.0)
    finally:
        weights.write_bytes(held)


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ({"pretrain": "mars"}, "pretraining: pretrain: mars is not allowed; allowed: digits"),
        ({**START, "pretrain": "digit_signals"}, "digit_signals is not allowed; allowed: digits"),
        (
            {**START, "pretrain_epochs": 0},
            "pretraining digits_0_4: pretrain_epochs: 0 is not allowed",
        ),
        ({"pretrain_epochs": 3}, "pretraining none: pretrain_epochs: 3 is not allowed"),
        (
            {"frozen_norm": True},
            "frozen_norm: True is not allowed; allowed: none, without a pretraining",
        ),
        ({**START, "pretrain_size": 1}, "pretrain_size: 1 is not allowed"),
    ],
)
def test_a_pretraining_that_cannot_be_is_refused_in_one_line(leaves, told):
    with pytest.raises(InputError) as caught:
        tiny(**leaves)
    assert told in str(caught.value)


def test_by_hand_there_is_no_run_to_begin_from(tmp_path):
    with pytest.raises(InputError, match=r"cell: cnn3-digits_5_9/sam/rho=0\.2 is not"):
        train_cell(CELL, [0], tmp_path, tmp_path, silent)


def test_halves_are_the_whole(tmp_path):
    whole = data.read("digits", tmp_path)
    halves = [data.read(f"digits_{part}", tmp_path) for part in ("0_4", "5_9")]
    assert [len(half["y"]) for half in halves] == [901, 896]
    for first, half in zip((0, 5), halves, strict=True):
        assert set(half["y"]) == set(range(5))
        chosen = np.isin(whole["y"], range(first, first + 5))
        assert np.array_equal(half["x"], whole["x"][chosen])
        assert np.array_equal(half["y"] + first, whole["y"][chosen])
    assert json.loads((tmp_path / "digits_5_9.json").read_text())
