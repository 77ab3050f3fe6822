"""The curvature of a cell's runs: what is measured, on which images, and what is refused."""

import json
import math
import shutil
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.func import functional_call, grad, jvp

from samscope import models, tasks
from samscope.errors import InputError
from samscope.optim.sam import SAM
from samscope.seeding import stream
from samscope.stages import curvature
from samscope.stages.train import train_cell
from samscope.store import records
from samscope.tasks.noise import training_targets
from stage_runs import asked, measure
from tiny_cell import tiny

SETTINGS = {
    "images": 40, "top_n": 3, "products": 30, "trace_products": 8, "rho": 0.1, "epochs": [1],
    "pooled": {"batches": 2, "images": 30, "backend": "lanczos"},
}  # fmt: skip
CELL = tiny(epochs=2)


def silent(line: str) -> None:
    pass


def measure_cell(cell, seeds, folder, data_dir, settings, report=silent) -> None:
    measure("curvature", [asked(cell, n, folder, settings) for n in seeds], data_dir, report)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder, and a function that trains and measures a cell and returns its record's bytes."""
    folder = tmp_path_factory.mktemp("runs")

    def measured(cell, seeds=(0, 1), folder=folder) -> bytes:
        out = folder / cell.id
        snapshots = dict.fromkeys(seeds, (1,))
        train_cell(cell, seeds, out, folder / "data", silent, snapshots=snapshots)
        measure_cell(cell, seeds, out, folder / "data", SETTINGS, silent)
        return (out / "curvature.json").read_bytes()

    return folder, measured


@pytest.fixture
def copied(runs, tmp_path):
    """The same of a copy, to break: the cell is trained and measured."""
    folder, measured = runs
    measured(CELL)
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy", partial(measured, folder=tmp_path / "copy")


def mean_loss(folder, cell, weights, images, labels):
    """The loss of a model with the weights of a file, as a function of its parameters."""
    model = models.build(cell.model, 10, 1).eval()
    model.load_state_dict(load_file(folder / cell.id / weights))
    named = {k: p.detach() for k, p in model.named_parameters()}
    return lambda v: F.cross_entropy(functional_call(model, v, (images,)), labels), named


def samples(folder, seed):
    """Normalised training images of the cell, the labels a run trains on, and the true ones."""
    splits = tasks.load(CELL.task, folder / "data")
    labels = training_targets(splits, CELL.task.label_noise, seed)
    raw, digits = splits.train.inputs[0], splits.facts
    return (raw / digits["scale"] - digits["mean"]) / digits["std"], labels, splits.train.targets


def test_a_cell_is_measured_on_what_it_was_trained_on(runs):
    folder, measured = runs
    content = measured(CELL)
    for path in (folder / CELL.id).rglob("curvature.json"):
        if path.parent.name != "seed=0":
            path.unlink()
    assert measured(CELL) == content
    record = json.loads(content)
    assert record["cell"] == CELL.id
    assert record["settings"] == SETTINGS
    assert [run["seed"] for run in record["runs"]] == [0, 1]

    images, labels, true = samples(folder, seed=1)
    images, labels, run = images[:40], labels[:40], record["runs"][1]
    assert not torch.equal(labels, true[:40])
    assert [at["epoch"] for at in run["spectra"]] == [1, 2]
    for at, name in zip(run["spectra"], ("weights-1", "weights"), strict=True):
        weights = f"seed=1/{name}.safetensors"
        loss, named = mean_loss(folder, CELL, weights, images, labels)
        assert at["loss"] == pytest.approx(float(loss(named)), rel=1e-5)
        random = torch.Generator().manual_seed(0)
        vector = {k: torch.randn(p.shape, generator=random) for k, p in named.items()}
        for _ in range(30):
            norm = math.sqrt(sum(float(v.square().sum()) for v in vector.values()))
            vector = jvp(grad(loss), (named,), ({k: v / norm for k, v in vector.items()},))[1]
        assert at["largest"][0] == pytest.approx(norm, rel=1e-3)
        assert at["largest_residuals"][0] < 1e-3 * norm
        assert at["trace"]["low"] < at["trace"]["value"] < at["trace"]["high"]
        assert sum(at["density"]["weights"][0]) == pytest.approx(1, abs=1e-6)
    assert "pooled" not in run["spectra"][0]
    assert len(run["spectra"][1]["pooled"]["values"]) == 2


def test_pooled_batches_are_shuffled_and_their_own(runs):
    """The first value of each batch by another way, on batches made again."""
    folder, measured = runs
    pooled = json.loads(measured(CELL))["runs"][0]["spectra"][-1]["pooled"]
    images, labels, _ = samples(folder, seed=0)
    order = torch.randperm(100, generator=stream(0, "order", CELL.budget.epochs))
    for index, values in enumerate(pooled["values"]):
        chosen = order[30 * index : 30 * index + 30]
        batch = images[chosen], labels[chosen]
        loss, named = mean_loss(folder, CELL, "seed=0/weights.safetensors", *batch)
        vector = {k: torch.ones_like(p) for k, p in named.items()}
        for _ in range(60):
            norm = math.sqrt(sum(float(v.square().sum()) for v in vector.values()))
            vector = jvp(grad(loss), (named,), ({k: v / norm for k, v in vector.items()},))[1]
        assert abs(values[0]) == pytest.approx(norm, rel=1e-3)


def test_noise_is_of_the_mini_batches_of_training(runs):
    """The shares of the regions by the optimizer that trains, on batches made again."""
    folder, measured = runs
    first, last = json.loads(measured(CELL))["runs"][0]["spectra"]
    rho = CELL.method.ascent.rho
    assert "noise" not in first
    assert (last["noise"]["rho"], last["noise"]["batches"]) == (rho, 4)
    images, labels, _ = samples(folder, seed=0)
    order, counts = torch.randperm(100, generator=stream(0, "order", CELL.budget.epochs)), []
    for chosen in order.split(CELL.budget.batch_size):
        model = models.build(CELL.model, 10, 1)
        model.load_state_dict(load_file(folder / CELL.id / "seed=0/weights.safetensors"))
        sam = SAM(model.parameters(), torch.optim.SGD, rho=rho, counts=True, lr=0.0)

        def closure(model=model, sam=sam, chosen=chosen):
            sam.zero_grad()
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            loss.backward()
            return loss

        sam.step(closure)
        counts.append(100 * sam.counts[:4] / sam.counts.sum())
    expected = torch.stack(counts).mean(0).tolist()
    assert last["noise"]["shares"] == pytest.approx(expected, abs=0.05)
    sgd = json.loads(measured(tiny(epochs=2, variant="sgd")))["runs"][0]["spectra"][-1]
    assert sgd["noise"]["rho"] == SETTINGS["rho"]


def test_variants_of_a_seed_share_the_sample(runs):
    _, measured = runs
    sam, sgd = (json.loads(measured(c))["runs"] for c in (CELL, tiny(epochs=2, variant="sgd")))
    digests = [run["sample_digest"] for run in sam]
    assert digests == [run["sample_digest"] for run in sgd]
    assert digests[0] != digests[1]
    assert sam[0]["spectra"] != sgd[0]["spectra"]


def test_a_run_that_diverged_has_no_curvature(runs):
    _, measured = runs
    (run,) = json.loads(measured(tiny(epochs=2, variant="sgd", lr=1e30), seeds=[0]))["runs"]
    (last,) = run["spectra"]  # it stopped after epoch 1
    assert (last["epoch"], last["loss"], last["pooled"]) == (1, None, None)
    assert last["largest"] == last["largest_residuals"] == [None] * 3
    assert last["trace"]["value"] is last["trace"]["low"] is last["lambda_min"]["value"] is None
    assert last["worst_case"]["value"] is last["average_case"]["value"] is None


def test_damaged_weights_and_foreign_settings_are_named(copied):
    folder, measured = copied
    cell = CELL
    content = measured(cell, seeds=[0])

    def refuses(cell, seeds, settings=SETTINGS) -> str:
        with pytest.raises(InputError) as error:
            measure_cell(cell, seeds, folder / cell.id, folder / "data", settings)
        assert (folder / cell.id / "curvature.json").read_bytes() == content
        return str(error.value)

    assert "1 to 100" in refuses(cell, [0], {**SETTINGS, "images": 101})
    many = {"batches": 4, "images": 30, "backend": "lanczos"}
    assert "100 at most" in refuses(cell, [0], {**SETTINGS, "pooled": many})
    assert "seed=7/weights.safetensors: run: no record" in refuses(cell, [7])
    assert "another run" in refuses(tiny(epochs=3), [0])
    path = folder / cell.id / "seed=0/weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert f"{path}: run: weights.safetensors is not what was written" in refuses(cell, [0])
    path.unlink()
    message = refuses(cell, [0], {**SETTINGS, "images": 30})
    assert f"{path}: run: not measured before the weights went" in message
    assert f"delete {path.parent} and train the cell again" in message


def test_the_record_of_a_run_does_without_its_weights(copied):
    folder, measured = copied
    cell = CELL
    content, lines = measured(cell), []
    run, out = folder / cell.id / "seed=1", folder / cell.id

    def again() -> str:
        """Measure once more; what is said of the run with seed 1."""
        lines.clear()
        measure_cell(cell, (0, 1), out, folder / "nowhere", SETTINGS, lines.append)
        return lines[1]

    record = json.loads((run / "curvature.json").read_text())
    expected = json.loads(content)
    settings = record.pop("settings")
    assert {**settings, "epochs": [1]} == expected["settings"]
    assert record.pop("epochs") == 2
    assert record.pop("code") == curvature.STAGE.code(cell)
    assert {"seed": 1, **record} == expected["runs"][1]
    assert record["digest"] == cell.digest(1)

    (out / "curvature.json").unlink()
    records.drop_weights(run)
    assert again().endswith("curvature kept")
    assert (out / "curvature.json").read_bytes() == content
    # Of other code than today's it is good for as long as there is nothing to measure it on.
    older = {**record, "settings": settings, "epochs": 2, "code": "older"}
    (run / "curvature.json").write_text(json.dumps(older))
    assert again().endswith("curvature kept")
    shutil.rmtree(run)
    measured(cell)
    assert json.loads((run / "curvature.json").read_text())["code"] != "older"
    (run / "curvature.json").write_text(json.dumps(older))
    assert measured(cell) == content
    assert json.loads((run / "curvature.json").read_text())["code"] != "older"


@pytest.mark.parametrize(
    ("old", "new"),
    [('"digest": "', '"digest": "0'), ('"products": 30', '"products": 29'), ("{", "")],
)
def test_a_record_of_another_run_or_settings_is_measured_again(copied, old, new):
    folder, measured = copied
    content = measured(CELL, seeds=[0])
    path = folder / CELL.id / "seed=0/curvature.json"
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new, 1))
    assert measured(CELL, seeds=[0]) == content
    assert path.read_text() == whole


def test_other_epochs_measure_what_is_new_alone(runs):
    folder, _ = runs
    cell = tiny(epochs=4, rho=0.3)
    out, data_dir = folder / cell.id, folder / "data"
    train_cell(cell, [0], out, data_dir, silent, snapshots={0: (1, 2)})
    lines = []

    def spectra(epochs: list[int]) -> dict[int, dict]:
        settings = {**SETTINGS, "epochs": epochs}
        measure_cell(cell, [0], out, data_dir, settings, lines.append)
        (run,) = json.loads((out / "curvature.json").read_text())["runs"]
        return {at["epoch"]: at for at in run["spectra"]}

    first = spectra([1])
    assert sorted(first) == [1, 4]
    both = spectra([1, 2])
    assert "1 of 3 spectra measured" in lines[-1]
    assert sorted(both) == [1, 2, 4]
    assert {epoch: both[epoch] for epoch in first} == first
    assert spectra([2]).keys() == {2, 4}
    assert lines[-1].endswith("curvature kept")
    # An epoch whose weights were not kept is told, and nothing is lost.
    run = asked(cell, 0, out, {**SETTINGS, "epochs": [1, 3]})
    assert not curvature.is_made(run)
    assert curvature.lacking(run) == [out / "seed=0/weights-3.safetensors"]
    with pytest.raises(InputError, match=r"weights-3\.safetensors.*delete .*/seed=0 and train"):
        spectra([1, 3])
    assert spectra([1, 2]) == both


def test_how_long_it_took_is_in_the_provenance_alone(runs):
    folder, measured = runs
    content = measured(CELL)
    source = json.loads((folder / CELL.id / "seed=0/provenance.json").read_text())
    assert source["curvature"]["seconds"] > 0
    assert b"seconds" not in content
