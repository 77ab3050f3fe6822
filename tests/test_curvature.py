"""The curvature of a cell's runs: what is measured, on which images, and what is refused."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.func import functional_call, grad, jvp

from samscope import models
from samscope.data import load, training_labels
from samscope.errors import InputError
from samscope.measure.curvature import measure_cell
from samscope.train import train_cell
from tiny_cell import tiny

SETTINGS = {"images": 40, "top_n": 3, "variants": ["sgd"], "rhos": [0.2], "seeds": 2}
CELL = tiny(epochs=2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trained runs, and a function that measures a cell and returns its record's bytes."""
    folder = tmp_path_factory.mktemp("runs")

    def measured(cell, seeds=(0, 1)) -> bytes:
        out = folder / cell.id
        train_cell(cell, seeds, out, folder / "data", report=lambda line: None)
        measure_cell(cell, seeds, out, folder / "data", SETTINGS, report=lambda line: None)
        return (out / "curvature.json").read_bytes()

    return folder, measured


def test_a_cell_is_measured_on_what_it_was_trained_on(runs):
    folder, measured = runs
    content = measured(CELL)
    assert measured(CELL) == content
    record = json.loads(content)
    assert record["cell"] == CELL.id
    assert record["settings"] == {"images": 40, "top_n": 3, "steps": 20, "probes": 16}
    assert [run["seed"] for run in record["runs"]] == [0, 1]

    data, run = load(CELL, folder / "data"), record["runs"][1]
    labels = training_labels(data, CELL.label_noise, seed=1)[:40]
    assert not torch.equal(labels, data.train_y[:40])
    model = models.build(CELL.model, 10, 1).eval()
    model.load_state_dict(load_file(folder / CELL.id / "seed=1/weights.safetensors"))
    named = {k: p.detach() for k, p in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        images = data.normalise(data.train_x[:40])
        return F.cross_entropy(functional_call(model, values, (images,)), labels)

    assert run["sample_loss"] == pytest.approx(float(loss(named)), rel=1e-5)
    random = torch.Generator().manual_seed(0)
    vector = {k: torch.randn(p.shape, generator=random) for k, p in named.items()}
    for _ in range(30):
        norm = math.sqrt(sum(float(v.square().sum()) for v in vector.values()))
        vector = jvp(grad(loss), (named,), ({k: v / norm for k, v in vector.items()},))[1]
    assert max(run["top_eigenvalues"]) == pytest.approx(norm, rel=1e-3)
    assert max(run["residuals"]) < 1e-2 * norm


def test_variants_of_a_seed_share_the_sample(runs):
    _, measured = runs
    sam, sgd = (json.loads(measured(c))["runs"] for c in (CELL, tiny(epochs=2, variant="sgd")))
    digests = [run["sample_digest"] for run in sam]
    assert digests == [run["sample_digest"] for run in sgd]
    assert digests[0] != digests[1]
    assert sam[0]["top_eigenvalues"] != sgd[0]["top_eigenvalues"]


def test_a_run_that_diverged_has_no_curvature(runs):
    _, measured = runs
    (run,) = json.loads(measured(tiny(epochs=2, variant="sgd", lr=1e30), seeds=[0]))["runs"]
    assert run["top_eigenvalues"] == run["residuals"] == [None] * 3
    assert run["trace"] is run["trace_stderr"] is run["sample_loss"] is None


def test_damaged_weights_and_foreign_settings_are_named(runs):
    folder, measured = runs
    cell = tiny(epochs=2, rho=0.5)
    content = measured(cell, seeds=[0])

    def refuses(cell, seeds, settings=SETTINGS) -> str:
        with pytest.raises(InputError) as error:
            measure_cell(cell, seeds, folder / cell.id, folder / "data", settings)
        assert (folder / cell.id / "curvature.json").read_bytes() == content
        return str(error.value)

    assert "1 to 100" in refuses(cell, [0], {**SETTINGS, "images": 101})
    assert "seed=7/weights.safetensors: run: no record" in refuses(cell, [7])
    assert "another run" in refuses(tiny(epochs=3, rho=0.5), [0])
    path = folder / cell.id / "seed=0/weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert f"{path}: run: weights.safetensors is not what was written" in refuses(cell, [0])
    path.unlink()
    assert "weights.safetensors is missing" in refuses(cell, [0])
