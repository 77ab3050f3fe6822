"""One step of every model of the profile `paper` at its own size, on a batch of made samples."""

import math

import numpy as np
import pytest
import torch

from conftest import ROOT
from samscope.config.profile import read_config
from samscope.plan.load import load_plan
from samscope.tasks.samples import Samples, Splits
from samscope.train.step import make_learner

PLAN = load_plan({**read_config(str(ROOT / "config.yaml")), "profile": "paper"}, ROOT)
ADAPTIVE_FIRST = sorted(
    PLAN.cells.values(), key=lambda p: (not p.cell.method.ascent.adaptive, p.cell.method.lr)
)
CELLS = {p.cell.model: p.cell for p in reversed(ADAPTIVE_FIRST) if p.cell.method.mix.needs_ascent}
"""Of each model one with two passes, adaptive where there is one."""


def made(cell, count):
    """Samples of the shapes of a cell's task, and the arguments its model is built with."""
    random = torch.Generator().manual_seed(0)
    classes = {"cifar100": 100, "cifar10": 10, "mitbih": 5, "mutagenicity": 2}[cell.task.data]
    targets = torch.randint(0, classes, (count,), generator=random)
    if cell.task.name == "images":
        return (torch.randn(count, 3, 32, 32, generator=random),), targets, (classes, 3)
    if cell.task.name == "beats":
        return (torch.rand(count, 187, generator=random),), targets, (classes,)
    # rings of 30 atoms, padded to the largest molecule
    atoms = torch.full((count, 417), -1, dtype=torch.int16)
    atoms[:, :30] = torch.randint(0, 14, (count, 30), generator=random).short()
    ring = np.array([(i, (i + 1) % 30) for i in range(30)])
    bonds = torch.full((count, 224, 2), -1, dtype=torch.int16)
    bonds[:, :60] = torch.from_numpy(np.concatenate([ring, ring[:, ::-1]])).short()
    return (atoms, bonds), targets, (classes, 14)


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(CELLS))
def test_a_step_at_full_size(model):
    cell = CELLS[model].but(precision="float32", compiled=False)
    inputs, targets, sizes = made(cell, cell.budget.batch_size)
    samples = Samples(inputs, targets)
    learner = make_learner(cell, 0, Splits(samples, samples, samples, sizes))
    before = learner.w.clone()
    learner.model.train()
    learner.draw(0, 0)
    row = dict(zip(learner.columns, learner.step(inputs, targets).tolist(), strict=True))
    assert math.isfinite(row["train_loss"])
    assert row["grad_norm"] > 0
    assert bool(torch.isfinite(learner.w).all())
    assert not torch.equal(before, learner.w)
