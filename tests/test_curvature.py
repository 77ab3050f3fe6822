"""The curvature of any model: against dense Hessians, PyHessian, and its command's mistakes."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from exact import dense_hessian, trained
from samscope import models
from samscope.errors import InputError
from samscope.measure.curvature import measure, pooled
from samscope.measure.objective import MeanLoss
from samscope.measure.vectors import random_direction
from samscope.run import cli


def eigenvalues(dense: torch.Tensor) -> list[float]:
    return torch.linalg.eigvalsh(dense).flip(0).tolist()


def test_it_is_the_dense_hessians():
    model, x, y, dense = trained()
    exact = eigenvalues(dense)
    found = measure(MeanLoss(model, F.cross_entropy, (x, y)), top_n=5, rho=0.1)
    record = found.record()
    assert record["largest"] == pytest.approx(exact[:5], rel=1e-5)
    assert record["lambda_min"]["value"] == pytest.approx(exact[-1], rel=1e-3)
    assert record["leading_ratio"]["value"] == pytest.approx(exact[0] / exact[4], rel=1e-5)
    assert record["asymmetry"]["value"] == pytest.approx(abs(exact[0] / exact[-1]), rel=1e-3)
    assert record["trace"]["low"] < float(dense.trace()) < record["trace"]["high"]
    assert record["trace"]["value"] == pytest.approx(float(dense.trace()), rel=0.02)
    assert 0 < record["worst_case"]["one_step"] <= record["worst_case"]["value"]
    # Of a convex quadratic the worst case would be rho^2 / 2 lambda_1 and the slope's part.
    assert record["worst_case"]["value"] > 0.9 * 0.1**2 / 2 * exact[0]
    nodes, weights = (torch.tensor(record["density"][k]) for k in ("nodes", "weights"))
    # A quadrature: its first moment is that of the start vector.
    v = random_direction(359, dense, 0, "lanczos", 0)
    assert float((nodes * weights).sum()) == pytest.approx(float(v @ dense @ v), rel=1e-4)
    assert record["converged"]
    assert json.loads(json.dumps(record)) is not None


def test_it_repeats_by_seed_and_runs_to_its_tolerance():
    model, x, y, _ = trained()
    mean_loss = MeanLoss(model, F.cross_entropy, (x, y))
    first, again, other = (measure(mean_loss, seed=seed).record() for seed in (0, 0, 1))
    assert first == again
    assert first["trace"] != other["trace"]
    assert first["largest"] == pytest.approx(other["largest"], rel=1e-5)
    assert max(first["largest_residuals"]) <= 1e-3 * first["largest"][0]
    # Cut short, it says so, and its bounds hold all the same.
    short = measure(mean_loss, products=8).record()
    assert (short["converged"], short["products"]) == (False, 8)
    for value, bound in zip(short["largest"], short["largest_residuals"], strict=True):
        assert min(abs(value - exact) for exact in eigenvalues(trained()[3])) <= bound


def test_pooled_is_each_batchs_own():
    model, x, y, dense = trained()
    batches = list(zip(x.split(50), y.split(50), strict=True))
    found = pooled(model, F.cross_entropy, batches, top_n=3)
    exact = []
    for values, batch in zip(found.values, batches, strict=True):
        spectrum = eigenvalues(dense_hessian(model, *batch))
        exact.append(sorted(spectrum, key=abs, reverse=True)[:3])
        assert values == pytest.approx(exact[-1], rel=1e-3)
    record = found.record()
    every = [value for batch in exact for value in batch]
    assert record["largest"] == pytest.approx(max(every), rel=1e-3)
    assert record["smallest"] == pytest.approx(min(every), rel=1e-3)
    positive = [value for value in every if value > 0]
    assert record["mean_of_positive"] == pytest.approx(sum(positive) / len(positive), rel=1e-3)
    assert record["negative_percent"] == 100 * (len(every) - len(positive)) / len(every)
    # Another quantity than the whole sample's, and above it (Jensen).
    assert record["mean_of_largest"] > 1.01 * eigenvalues(dense)[0]


def test_pyhessian_agrees():
    model, x, y, _ = trained()
    batches = list(zip(x.split(50), y.split(50), strict=True))
    ours = pooled(model, F.cross_entropy, batches, top_n=3)
    theirs = pooled(model, F.cross_entropy, batches, top_n=3, backend="pyhessian")
    for a, b in zip(ours.values, theirs.values, strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    assert ours.products > 0
    assert theirs.products is None
    with pytest.raises(InputError, match="backend: hessian is not allowed; allowed: lanczos or"):
        pooled(model, F.cross_entropy, batches, backend="hessian")
    with pytest.raises(InputError, match="batches: none"):
        pooled(model, F.cross_entropy, [])


def test_what_is_not_finite_is_null_for_json():
    model, x, y, _ = trained()
    broken = pooled(model, lambda outputs, _: outputs.sum() * math.inf, [(x[:9], y[:9])], top_n=2)
    record = broken.record()
    assert math.isnan(record["largest"])
    assert math.isnan(record["mean_of_positive"])
    assert math.isnan(record["negative_percent"])


# Weights of the user's own


@pytest.fixture
def weights(tmp_path, data_dir, monkeypatch):
    """Weights of a cnn3, as a state dict; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    model = models.build("cnn3", 10, 1)
    return model, tmp_path, ["--data-dir", str(data_dir)]


def command(*arguments: object) -> list[str]:
    return ["measure", "curvature", *map(str, arguments)]


def test_weights_in_either_format_give_the_same_numbers(weights, capsys):
    model, folder, where = weights
    save_file(model.state_dict(), folder / "w.safetensors")
    torch.save(model.state_dict(), folder / "w.pt")
    names = ["--model", "cnn3", "--data", "digits", "--images", 60, "--top", 2, *where]
    records = []
    for name in ("w.safetensors", "w.pt"):
        assert cli.main(command("--weights", name, *names)) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "cnn3 on 60 images of digits, 8,474 parameters"
        assert lines[2].split()[0] == "lambda_1"
        assert lines[-1].endswith(f"written to {name}.curvature.json")
        records.append(json.loads((folder / f"{name}.curvature.json").read_text()))
    for record in records:
        record.pop("weights"), record.pop("seconds")
    assert records[0] == records[1]
    assert records[0]["images"] == 60
    assert records[0]["largest"][0] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--weights": "none.pt"}, "weights: none.pt is not allowed; allowed: a file"),
        ({"--weights": "text.pt"}, "weights: text.pt ("),
        ({"--weights": "text.safetensors"}, "weights: text.safetensors ("),
        ({"--weights": "list.pt"}, "weights: list.pt (holds list)"),
        ({"--weights": "nested.pt"}, "weights: nested.pt (holds epoch, weights)"),
        ({"--weights": "other.pt"}, "conv1.weight: (2, 2) is not allowed; allowed: none"),
        ({"--model": "cnn5"}, "is not allowed; allowed: "),
        ({"--model": "vgg"}, "model: vgg is not allowed; allowed: "),
        ({"--data": "mnist"}, "data: mnist is not allowed; allowed: digits"),
        ({"--images": 1}, "images: 1 is not allowed; allowed: 2 at least"),
        ({"--images": 5000}, "images: 5000 is not allowed; allowed: no more than"),
        ({"--top": 0}, "k: 0 is not allowed"),
        ({"--rho": -1}, "rho: -1.0 is not allowed"),
        ({"--model": None}, "arguments: --weights --data is not allowed; allowed: a cell, or"),
        ({"--weights": None, "--model": None, "--data": None}, "arguments: nothing is not"),
    ],
)
def test_a_mistake_is_one_line(weights, capsys, change, words):
    model, folder, where = weights
    torch.save(model.state_dict(), folder / "w.pt")
    torch.save({"conv1.weight": torch.zeros(2, 2)}, folder / "other.pt")
    torch.save([1], folder / "list.pt")
    torch.save({"epoch": 1, "weights": model.state_dict()}, folder / "nested.pt")
    for name in ("text.pt", "text.safetensors"):
        (folder / name).write_text("not weights")
    given = {"--weights": "w.pt", "--model": "cnn3", "--data": "digits", "--images": 60, **change}
    flat = [part for pair in given.items() if pair[1] is not None for part in pair]
    assert cli.main(command(*flat, *where)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not list(folder.glob("*.json"))


def test_a_file_that_would_run_code_is_refused(weights, capsys):
    _, folder, where = weights
    torch.save(print, folder / "code.pt")
    names = ["--model", "cnn3", "--data", "digits", *where]
    assert cli.main(command("--weights", "code.pt", *names)) == 2
    assert "weights: code.pt (" in capsys.readouterr().err
