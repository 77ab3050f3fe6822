"""Training: one update against a plain loop, epochs against their definitions, paired draws."""

import csv
import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from samscope import models, tasks
from samscope.seeding import make_deterministic
from samscope.stages.train import train_cell
from samscope.train import engine
from tiny_cell import tiny


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 8, 8, generator=random)
    return images, torch.randint(0, 10, (20,), generator=random)


def test_the_learning_rate_of_an_epoch_is_torchs_cosine(data_dir, tmp_path):
    cell = tiny(epochs=7)
    train_cell(cell, [0], tmp_path, data_dir)
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cell.method.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=7)
    for row in csv.DictReader((tmp_path / "history.csv").open()):
        assert float(row["lr"]) == pytest.approx(schedule.get_last_lr()[0])
        sgd.step()
        schedule.step()


@pytest.mark.parametrize(
    ("accuracies", "best"), [([1, 3, 2, 3], 2), ([5], 1), ([1, 1], 1), ([math.nan, math.nan], 2)]
)
def test_best_epoch_is_the_first_maximum(accuracies, best):
    assert engine.best_row([{"val_acc_percent": a} for a in accuracies], tiny().task) == best


def test_evaluation_is_over_images_not_batches(batch):
    images, labels = batch
    model = models.build("cnn3", 10, 1).eval()
    batches = iter([((images[:3],), labels[:3]), ((images[3:],), labels[3:])])
    found = engine.evaluate(model, batches, tiny().task)
    logits = model(images)
    assert found["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert found["acc_percent"] == 5.0 * (logits.argmax(1) == labels).sum().item()
    nothing = engine.evaluate(model, iter([]), tiny().task)
    assert all(math.isnan(value) for value in nothing.values())


def test_clean_digits_are_learned(data_dir, tmp_path):
    train_cell(tiny(label_noise=0.0, train_size=500, batch_size=25), [0], tmp_path, data_dir)
    run = json.loads((tmp_path / "metrics.json").read_text())["runs"][0]
    assert run["test_acc_percent"]["last"] > 60
    assert run["train_loss"]["last"] < 1.6 < math.log(10)


def test_the_numbers_of_a_run_are_those_of_its_weights(data_dir, tmp_path):
    cell = tiny()
    train_cell(cell, [2], tmp_path, data_dir)
    run = json.loads((tmp_path / "metrics.json").read_text())["runs"][0]
    splits = tasks.load(cell.task, data_dir)
    model = models.build(cell.model, 10, 1)
    with safe_open(tmp_path / "seed=2" / "weights.safetensors", "pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    images, labels = (splits.test.inputs[0].float() / 16 - 0.3053) / 0.3760, splits.test.targets
    logits = model.eval()(images)
    right = (logits.argmax(1) == labels).sum().item()
    assert run["test_acc_percent"]["last"] == 100.0 * right / len(labels)
    loss = F.cross_entropy(logits, labels).item()
    assert run["test_loss"]["last"] == pytest.approx(loss, rel=1e-5)
    history = (tmp_path / "seed=2" / "history.csv").read_text().splitlines()
    best = history[run["best_epoch"]].split(",")
    assert float(best[6]) == run["val_acc_percent"]["best_val"]


def test_sam_without_a_radius_is_sgd_to_the_bit(data_dir, tmp_path):
    # The same weights, order and noise for every variant of a seed, and a second pass that leaves
    # no trace: nothing else can make the two agree.
    for variant, rho in (("sgd", None), ("sam", 0.0)):
        cell = tiny(variant=variant, rho=rho)
        train_cell(cell, [1], tmp_path / variant, data_dir)
    sgd, sam = (
        (tmp_path / v / "seed=1" / "weights.safetensors").read_bytes() for v in ("sgd", "sam")
    )
    assert sgd == sam


def test_a_run_does_not_depend_on_the_others_or_on_the_process(data_dir, tmp_path):
    cell = tiny()
    train_cell(cell, [0, 1, 2], tmp_path / "many", data_dir)
    torch.manual_seed(123)
    train_cell(tiny(variant="sgd"), [1], tmp_path / "before", data_dir)
    train_cell(cell, [1], tmp_path / "alone", data_dir)
    for name in ("weights.safetensors", "metrics.json", "history.csv"):
        many = (tmp_path / "many" / "seed=1" / name).read_bytes()
        assert many == (tmp_path / "alone" / "seed=1" / name).read_bytes()
        assert many != (tmp_path / "many" / "seed=0" / name).read_bytes()


def test_threads_come_from_the_cell_not_the_environment(data_dir, tmp_path):
    torch.set_num_threads(2)
    train_cell(tiny(epochs=1), [0], tmp_path, data_dir)
    assert torch.get_num_threads() == 1


def test_a_diverged_run_stops_and_says_so(data_dir, tmp_path):
    lines = []
    train_cell(tiny(lr=1e30, epochs=50), [0], tmp_path, data_dir, lines.append)
    run = json.loads((tmp_path / "metrics.json").read_text())["runs"][0]
    assert run["diverged"] is True
    assert run["epochs"] < 50
    assert run["test_loss"]["last"] is None
    assert 0 <= run["test_acc_percent"]["last"] <= 100
    history = (tmp_path / "history.csv").read_text().splitlines()
    assert len(history) == 1 + run["epochs"]
    assert "nan" not in "".join(history)
    assert "diverged" in lines[-1]


def test_without_validation_the_last_epoch_counts_and_each_is_tested(data_dir, tmp_path):
    train_cell(tiny(val_size=0), [0], tmp_path, data_dir)
    run = json.loads((tmp_path / "metrics.json").read_text())["runs"][0]
    rows = list(csv.DictReader((tmp_path / "seed=0" / "history.csv").open()))
    tested = [float(row["test_acc_percent"]) for row in rows]
    assert (tested[-1], float(rows[-1]["test_loss"])) == (
        run["test_acc_percent"]["last"],
        run["test_loss"]["last"],
    )
    assert run["highest_test_acc_percent"]["last"] == max(tested) > min(tested)
    assert run["best_epoch"] == run["epochs"] == 4
    assert run["val_loss"] == {"best_val": None, "last": None}
    assert run["diverged"] is False


def test_numbers_below_full_precision_count_as_zero():
    make_deterministic(1)
    assert torch.tensor(1e-40) * 0.5 == 0


def test_augmented_images_train(data_dir, tmp_path):
    import numpy as np

    random = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = random.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(30, dtype=np.uint8) % 10
    np.savez(tmp_path / "cifar10.npz", **arrays)
    sizes = {"train_size": 20, "val_size": 10, "epochs": 2}
    cell = tiny(model="resnet8_w8", data="cifar10", augment="crop_flip_cutout", **sizes)
    train_cell(cell, [0], tmp_path / "a", tmp_path)
    train_cell(cell.but(augment="none"), [0], tmp_path / "b", tmp_path)
    augmented, raw = ((tmp_path / x / "history.csv").read_text() for x in "ab")
    assert augmented != raw
    assert len(augmented.splitlines()) == 3
