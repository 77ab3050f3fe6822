"""What is learned need not be images: each seam by a small real case, and what does not fit."""

import csv
import doctest
import json
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import small_tasks
from samscope import models, tasks
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages.train import train_cell
from samscope.store import records
from samscope.tasks import samples
from samscope.tasks.samples import acc_percent
from samscope.train import engine
from samscope.train.feed import Feed
from samscope.train.step import Learner
from tiny_cell import tiny

CPU = torch.device("cpu")
TABLE = {"task": "table", "model": "perceptron", "label_noise": 0.0, "variant": "sgd"}
SEQUENCE = {**TABLE, "task": "sequence", "model": "reader"}
GRAPH = {**TABLE, "task": "graph", "model": "graphnet"}
ADAM = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "schedule": "constant"}


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch):
    torch.set_num_threads(1)
    small_tasks.install(monkeypatch)
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))


def trained(cell, folder, data_dir, seed=0, **more):
    """The run's metrics and the rows of its history and ratios."""
    train_cell(cell, [seed], folder, data_dir, lambda line: None, **more)
    run = folder / f"seed={seed}"
    tables = [list(csv.DictReader((run / f"{t}.csv").open())) for t in ("history", "ratios")]
    return json.loads((run / "metrics.json").read_text()), *tables


def weights(folder, seed=0):
    return load_file(folder / f"seed={seed}" / records.WEIGHTS)


# Tables, another rule, another loss, no score


def test_a_table_by_adam_with_squared_loss_is_torchs_adam(data_dir, tmp_path):
    cell = tiny(**TABLE, **ADAM, loss="squared")
    splits = tasks.load(cell.task, data_dir)
    metrics, history, _ = trained(cell, tmp_path, data_dir)
    model = models.build("perceptron", 10).train()
    adam = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.999))
    feed = Feed(cell, 0, splits)
    for inputs, targets in chain.from_iterable(map(feed.training, range(4))):
        adam.zero_grad()
        (model(*inputs) - F.one_hot(targets, 10)).square().sum(1).mean().backward()
        adam.step()
    for name, value in weights(tmp_path).items():
        assert torch.allclose(value, model.state_dict()[name], rtol=1e-5, atol=1e-6), name
    outputs = model(*splits.test.inputs)
    loss = F.mse_loss(outputs, F.one_hot(splits.test.targets, 10).float()).item() * 10
    assert metrics["test_loss"]["last"] == pytest.approx(loss, rel=1e-5)
    right = (outputs.argmax(1) == splits.test.targets).float().mean().item()
    assert metrics["test_acc_percent"]["last"] == pytest.approx(100 * right)
    assert [row["lr"] for row in history] == ["0.01"] * 4


def test_a_task_without_a_score_is_judged_by_its_loss(data_dir, tmp_path):
    cell = tiny(**TABLE | {"task": "numbers", "epochs": 12, "lr": 0.6})
    metrics, history, _ = trained(cell, tmp_path, data_dir)
    assert list(history[0])[:6] == ["seed", "epoch", "lr", "train_loss", "val_loss", "grad_norm"]
    assert {k for k in metrics if "acc" in k} == set()
    losses = [float(row["val_loss"]) for row in history]
    assert metrics["best_epoch"] == losses.index(min(losses)) + 1 < 12
    assert metrics["val_loss"]["best_val"] == min(losses)


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3, 1, 2, 1], 2), ([2.0, float("nan")], 1), ([float("nan")] * 2, 2)],
)
def test_the_best_row_by_loss_is_the_first_lowest(losses, best):
    task = tiny(**TABLE | {"task": "numbers"}).task
    assert engine.best_row([{"val_loss": value} for value in losses], task) == best


# Sequences


def test_examples_hold():
    assert doctest.testmod(samples) == (0, 2)


def test_a_sequence_is_learned_by_sam_over_adamw(data_dir, tmp_path):
    changes = {"optimizer": "adamw", "lr": 0.01, "variant": "sam", "rho": 0.05, "epochs": 12}
    cell = tiny(**SEQUENCE | changes | {"train_size": 400})
    metrics, _, ratios = trained(cell, tmp_path, data_dir)
    assert metrics["test_acc_percent"]["last"] > 60
    sizes = {row["kind"]: int(row["parameters"]) for row in ratios if row["batch"] == "all"}
    assert sizes == {
        "embedding": 17 * 8,
        "convolution": 8 * 8 * 4,
        "attention": 3 * 8 * 8 + 8 * 8,
        "layernorm": 16,
        "linear": 8 * 16 * 10,
        "bias": 8 + (3 * 8 + 8) + 10,
    }


def test_a_loss_is_a_mean_over_tokens_and_a_sample_right_where_all_of_its_are():
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(7, 5, 3, generator=random)
    targets = torch.randint(3, (7, 5), generator=random)
    targets[:3] = outputs[:3].argmax(-1)
    targets[0, 2] = (targets[0, 2] + 1) % 3
    right = (outputs.argmax(-1) == targets).all(1).double().mean().item()
    assert acc_percent(outputs, targets).item() / 7 == pytest.approx(100 * right)
    batches = iter([((outputs[:4],), targets[:4]), ((outputs[4:],), targets[4:])])
    found = engine.evaluate(torch.nn.Identity(), batches, tiny().task)
    loss = F.cross_entropy(outputs.flatten(0, 1), targets.flatten()).item()
    assert found == {"loss": pytest.approx(loss), "acc_percent": pytest.approx(100 * right)}


def test_what_layers_draw_comes_from_the_seed_and_the_step(data_dir, tmp_path):
    cell = tiny(**SEQUENCE, **ADAM)
    trained(cell, tmp_path / "a", data_dir)
    torch.manual_seed(7)
    trained(cell, tmp_path / "b", data_dir)
    same, other = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(other[name], value) for name, value in same.items())
    taught = engine.make_learner(cell, 0, tasks.load(cell.task, data_dir))
    x = torch.ones(2, 64, dtype=torch.long)
    drawn = []
    for seed, step in ((0, 3), (0, 4), (1, 3), (0, 3)):
        taught.draw(seed, step)
        drawn.append(taught.model.train()(x))
    assert torch.equal(drawn[0], drawn[3])
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:3])


# Graphs, padded


def test_a_graph_is_learned_by_sam(data_dir, tmp_path):
    changes = {**ADAM, "variant": "sam", "rho": 0.02, "train_size": 500, "epochs": 15}
    metrics, history, ratios = trained(tiny(**GRAPH | changes), tmp_path, data_dir)
    assert metrics["test_acc_percent"]["last"] > 30
    assert float(history[-1]["train_loss"]) < 0.8 * float(history[0]["train_loss"])
    sizes = {row["kind"]: int(row["parameters"]) for row in ratios if row["batch"] == "all"}
    assert sizes == {"graph": 2 * (3 + 16) * 16, "linear": 160, "bias": 2 * 16 + 10}


def test_padding_is_nothing_to_a_graph(data_dir):
    splits = tasks.load(tiny(**GRAPH).task, data_dir)
    x, edges, mask = splits.train[:5].inputs
    model = models.build("graphnet", 10)
    for at in range(5):
        nodes = int(mask[at].sum())
        real = (edges[at] < nodes).all(1)
        assert real.sum() < len(real)
        alone = model(x[None, at, :nodes], edges[None, at, real], mask[None, at, :nodes])
        assert torch.allclose(alone[0], model(x, edges, mask)[at], atol=1e-6)


# Budgets in steps


STEPS = {"steps": 24, "report_every": 6}


def test_steps_are_those_of_epochs(data_dir, tmp_path):
    # An epoch has four batches, so rows end within epochs; the rate is the same throughout.
    same = tiny(**TABLE, **ADAM, epochs=6)
    trained(same, tmp_path / "epochs", data_dir)
    metrics, history, _ = trained(tiny(**TABLE, **ADAM, **STEPS), tmp_path / "steps", data_dir)
    for name, value in weights(tmp_path / "epochs").items():
        assert torch.equal(weights(tmp_path / "steps")[name], value)
    assert list(history[0])[:2] == ["seed", "step"]
    assert [row["step"] for row in history] == ["6", "12", "18", "24"]
    assert metrics["steps"] == 24
    assert metrics["best_step"] in (6, 12, 18, 24)


def test_the_rate_follows_the_steps(data_dir, tmp_path, monkeypatch):
    rates, set_rate = [], Learner.set_learning_rate
    monkeypatch.setattr(
        Learner, "set_learning_rate", lambda self, lr: [rates.append(lr), set_rate(self, lr)]
    )
    cell = tiny(**TABLE, **STEPS, schedule="constant", warmup=10)
    _, history, _ = trained(cell, tmp_path, data_dir)
    assert rates == [pytest.approx(0.1 * min(1, t / 10)) for t in range(24)]
    assert [float(row["lr"]) for row in history] == [rates[t] for t in (5, 11, 17, 23)]


class Killed(BaseException):
    """A death that no handler sees, as far as files are concerned."""


@pytest.mark.parametrize("changes", [
    {**SEQUENCE, **ADAM, "variant": "sam", "rho": 0.05},
    {**TABLE, "variant": "ckpt12", "rho": 0.1, "ascent_steps": 3, "clip": 0.5},
    {**TABLE, "variant": "sam", "rho": 0.1, "direction": "random", "decay_in_loss": True},
    {**TABLE, "variant": "sam", "rho": 0.1, "adaptive": "kwon2021", "nesterov": True},
])  # fmt: skip
def test_a_killed_run_in_steps_ends_with_the_same_bits(changes, data_dir, tmp_path, monkeypatch):
    cell, snapshots = tiny(**changes, **STEPS), {0: (6, 18)}
    trained(cell, tmp_path / "whole", data_dir, snapshots=snapshots)
    step, steps = Learner.step, []

    def dying(*args):
        steps.append(1)
        if len(steps) == 15:
            raise Killed
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", dying)
        with pytest.raises(Killed):
            trained(cell, tmp_path / "killed", data_dir, snapshots=snapshots)
    lines = []
    train_cell(cell, [0], tmp_path / "killed", data_dir, lines.append, snapshots=snapshots)
    assert "goes on after step 12 of 24" in lines[0]
    assert "(best step" in lines[-1]
    files = [{p.name: p.read_bytes() for p in (tmp_path / name / "seed=0").iterdir()}
             for name in ("whole", "killed")]  # fmt: skip
    for content in files:
        content.pop("provenance.json")
    assert files[0] == files[1]
    assert {"weights-6.safetensors", "weights-18.safetensors"} < files[0].keys()
    ratios = list(csv.DictReader((tmp_path / "whole/seed=0/ratios.csv").open()))
    assert [row["step"] for row in ratios if row["batch"] == "last"] == ["6", "12", "18", "24"]


def test_a_snapshot_within_a_row_is_refused(data_dir, tmp_path):
    cell = tiny(**TABLE, **STEPS)
    with pytest.raises(InputError, match="snapshots: 8 is not allowed; allowed: multiples of 6"):
        trained(cell, tmp_path, data_dir, snapshots={0: (8,)})


# Methods reach the step


@pytest.mark.parametrize("changes", [
    {"clip": 1e-3}, {"decay_in_loss": True}, {"ascent_steps": 2}, {"norm": float("inf")},
    {"adaptive": "davda54"}, {"direction": "random"}, {"optimizer": "adamw"}, {"nesterov": True},
])  # fmt: skip
def test_every_part_of_a_method_counts(changes, data_dir):
    found = []
    for more in ({}, changes):
        cell = tiny(**TABLE | {"variant": "sam", "rho": 0.1, "weight_decay": 0.1} | more)
        splits = tasks.load(cell.task, data_dir)
        learner, feed = engine.make_learner(cell, 0, splits), Feed(cell, 0, splits)
        before = learner.w.clone()
        engine._row(cell, learner, feed, 0)
        found.append(learner.w - before)
    assert not torch.allclose(*found, rtol=1e-3)
    if "clip" in changes:  # four steps of 0.1, of which momentum makes less than ten times as many
        assert found[1].norm() < 4 * 10 * 0.1 * (1e-3 + 0.1 * before.norm())


def test_a_learner_serves_methods_of_several_forms(data_dir):
    base = tiny(**TABLE)
    splits, start = tasks.load(base.task, data_dir), models.build("perceptron", 10).state_dict()
    start = {name: value.clone() for name, value in start.items()}
    one = Learner(models.build("perceptron", 10), 30, "float32", False, CPU)
    for changes in ({}, ADAM, {"variant": "sam", "rho": 0.1}, ADAM, {}):
        cell = base.but(**changes)
        fresh = Learner(models.build("perceptron", 10), 30, "float32", False, CPU)
        for learner in (one, fresh):
            learner.begin(cell, start)
            engine._row(cell, learner, Feed(cell, 0, splits), 0)
        assert torch.equal(one.w, fresh.w)
        assert one.slots.keys() == fresh.slots.keys()
        assert all(torch.equal(slot, fresh.slots[name]) for name, slot in one.slots.items())


# What does not fit


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "cnn3"}, "model: cnn3 is not allowed; allowed: perceptron, which take table"),
        ({"model": "graphnet"}, "model: graphnet is not allowed"),
        ({"task": "tables"}, "task: tables is not allowed; allowed: images, "),
        ({"data": "cifar10"}, "data: cifar10 is not allowed; allowed: digits"),
        ({"augment": "crop_flip_cutout"}, "augment: crop_flip_cutout is not allowed"),
        ({"loss": "hinge"}, "loss: hinge is not allowed; allowed: cross_entropy"),
        ({"loss": "squared", "smoothing": 0.1}, "smoothing: 0.1 is not allowed; allowed: 0"),
        ({"optimizer": "lion"}, "optimizer: lion is not allowed; allowed: sgd, adam, adamw"),
        ({"optimizer": "adam", "beta2": 1.0}, "beta2: 1.0 is not allowed; allowed: 0 or more"),
        ({"optimizer": "adam", "momentum": 1.0}, "momentum: 1.0 is not allowed"),
        ({"schedule": "linear"}, "schedule: linear is not allowed; allowed: cosine"),
        ({"steps": 10, "report_every": 3}, "report_every: 3 is not allowed"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, words):
    with pytest.raises(InputError) as error:
        tiny(**TABLE | changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_noise_of_targets_that_are_no_classes_is_refused(data_dir):
    cell = tiny(**TABLE)
    splits = tasks.load(cell.task, data_dir)
    bare = type(splits)(splits.train, splits.val, splits.test, splits.sizes)
    with pytest.raises(InputError, match=r"label_noise: 0\.5 is not allowed; allowed: 0\.0"):
        Feed(Cell.from_dict(cell.to_dict() | {"label_noise": 0.5}), 0, bare)
