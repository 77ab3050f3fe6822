"""The curvature of a cell's runs: what is measured, on which images, and what is refused."""

import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.func import functional_call, grad, jvp

from samscope import models
from samscope.data import load, training_labels
from samscope.errors import InputError
from samscope.fingerprint import fingerprint
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
    for path in (folder / CELL.id).rglob("curvature.json"):
        path.unlink()
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
    message = refuses(cell, [0], {**SETTINGS, "images": 30})
    assert f"{path}: curvature: not measured before the weights went" in message
    assert f"delete {path.parent} and train the cell again" in message


def test_the_record_of_a_run_does_without_its_weights(runs):
    folder, measured = runs
    cell = tiny(epochs=2, rho=0.6)
    content, lines = measured(cell), []
    run, out = folder / cell.id / "seed=1", folder / cell.id

    def again(**options) -> str:
        """Measure once more; what is said of the run with seed 1."""
        lines.clear()
        measure_cell(cell, (0, 1), out, folder / "nowhere", SETTINGS, lines.append, **options)
        return lines[1]

    record = json.loads((run / "curvature.json").read_text())
    expected = json.loads(content)
    assert record.pop("settings") == expected["settings"]
    assert record.pop("code") == fingerprint("samscope.measure.curvature")
    assert {"seed": 1, **record} == expected["runs"][1]
    assert record["digest"] == cell.digest(1)

    (out / "curvature.json").unlink()
    assert again(keep_weights=False).endswith("curvature kept")
    assert not list(out.rglob("weights.safetensors"))
    assert (out / "curvature.json").read_bytes() == content
    # Of other code than today's it is good for as long as there is nothing to measure it on.
    older = {**record, "settings": expected["settings"], "code": "older"}
    (run / "curvature.json").write_text(json.dumps(older))
    assert again().endswith("curvature kept")
    shutil.rmtree(run)
    measured(cell)
    assert json.loads((run / "curvature.json").read_text())["code"] != "older"
    (run / "curvature.json").write_text(json.dumps(older))
    assert measured(cell) == content
    assert json.loads((run / "curvature.json").read_text())["code"] != "older"


@pytest.mark.parametrize(
    ("old", "new"), [('"digest": "', '"digest": "0'), ('"steps": 20', '"steps": 19'), ("{", "")]
)
def test_a_record_of_another_run_or_settings_is_measured_again(runs, old, new):
    folder, measured = runs
    cell = tiny(epochs=2, rho=0.7)
    content = measured(cell, seeds=[0])
    path = folder / cell.id / "seed=0/curvature.json"
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new, 1))
    assert measured(cell, seeds=[0]) == content
    assert path.read_text() == whole
