"""The curvature of any model: against dense Hessians, PyHessian, and its command's mistakes."""

import functools
import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

import tiny_molecules
from exact import dense_hessian, trained
from samscope import models, tasks
from samscope.errors import InputError
from samscope.measure.flatness import TOLERANCE, measure, pooled
from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import spectrum
from samscope.measure.objective import MeanLoss, own_loss
from samscope.measure.vectors import random_direction
from samscope.run import cli
from samscope.seeding import derive


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


def test_pooled_takes_batches_of_every_form_and_their_weight():
    model, x, y, _ = trained()

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, pixels, labels):
            return F.cross_entropy(self.body(pixels), labels)

    expected = pooled(model, F.cross_entropy, [(x, y)], top_n=2).values[0]
    assert pooled(model, F.cross_entropy, (x, y), top_n=2).values[0] == expected
    found = pooled(Own(), own_loss, [{"pixels": x, "labels": y}], top_n=2).values[0]
    assert found == pytest.approx(expected, rel=1e-5)
    summed = functools.partial(F.cross_entropy, reduction="sum")
    found = pooled(model, summed, [(x, y)], top_n=2, weight=len).values[0]
    assert found == pytest.approx([len(y) * value for value in expected], rel=1e-4)


def test_both_ends_of_each_batch_and_how_their_ratio_scatters():
    model, x, y, _ = trained()
    batches = list(zip(x.split(30), y.split(30), strict=True))
    found = pooled(model, F.cross_entropy, batches, top_n=3)
    record, exact = found.record()["asymmetry"], []
    for index, batch in enumerate(batches):
        spectrum = eigenvalues(dense_hessian(model, *batch))
        exact.append(abs(spectrum[0] / spectrum[-1]))
        assert record["largest"][index] == pytest.approx(spectrum[0], rel=1e-5)
        assert record["smallest"][index] == pytest.approx(spectrum[-1], rel=1e-4)
        assert abs(record["ratios"][index] - exact[-1]) <= record["errors"][index]
        assert record["errors"][index] < 3e-3 * exact[-1]
    assert record["error"] == pytest.approx(max(record["errors"]), rel=1e-6)
    low, median, high = (torch.tensor(exact).quantile(at).item() for at in (0.25, 0.5, 0.75))
    names = ("low_quartile", "median", "high_quartile")
    assert [record[name] for name in names] == pytest.approx([low, median, high], rel=1e-3)
    assert high > 1.1 * low
    # What the ends took on top of the top n, in products as well, is apart from it.
    without = [spectrum_of(model, batch, index) for index, batch in enumerate(batches)]
    assert found.values == tuple(at.dominant.values for at in without)
    assert found.residuals == tuple(at.dominant.residuals for at in without)
    assert found.products == sum(at.products for at in without)
    assert record["products"] > 0
    json.loads(json.dumps(found.record()))


def spectrum_of(model, batch, index):
    """As it was before the ends were asked for."""
    hessian = Hessian(MeanLoss(model, F.cross_entropy, batch))
    return spectrum(hessian, 3, TOLERANCE, seed=derive(0, "pooled", index))


def test_a_batch_without_a_smallest_eigenvalue_below_0_has_no_certain_ratio():
    model = torch.nn.Linear(2, 1, bias=False)
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    record = pooled(model, F.mse_loss, [(x, torch.zeros(2, 1))], top_n=1).record()["asymmetry"]
    assert record["largest"] == pytest.approx([2.0])
    assert record["smallest"] == pytest.approx([0.0], abs=1e-6)
    assert not record["error"] < math.inf


def test_pyhessian_agrees():
    model, x, y, _ = trained()
    batches = list(zip(x.split(50), y.split(50), strict=True))
    ours = pooled(model, F.cross_entropy, batches, top_n=3)
    theirs = pooled(model, F.cross_entropy, batches, top_n=3, backend="pyhessian")
    for a, b in zip(ours.values, theirs.values, strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    assert ours.products > 0
    assert theirs.products is None
    assert "asymmetry" not in theirs.record()
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
        ({"--weights": "nested.pt"}, "weights: nested.pt (holds student, teacher)"),
        ({"--weights": "other.pt"}, "and 14 more missing; conv1.weight unknown is not allowed"),
        ({"--model": "cnn5"}, "is not allowed; allowed: "),
        ({"--model": "vgg"}, "model: vgg is not allowed; allowed: "),
        ({"--data": "svhn"}, "data: svhn is not allowed; allowed: digits"),
        ({"--images": 1}, "images: 1 is not allowed; allowed: 2 at least"),
        ({"--images": 5000}, "images: 5000 is not allowed; allowed: no more than"),
        ({"--top": 0}, "top: 0 is not allowed"),
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
    torch.save(dict.fromkeys(("student", "teacher"), model.state_dict()), folder / "nested.pt")
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


def test_weights_of_a_network_of_graphs(tmp_path, monkeypatch, capsys):
    """Which is called with atoms and bonds."""
    monkeypatch.chdir(tmp_path)
    tiny_molecules.write(tmp_path, tiny_molecules.random_texts(60))
    model = models.build("gcn", 2, 14, seed=3)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    names = ["--weights", "w.pt", "--model", "gcn", "--data", "mutagenicity", "--images", 30]
    assert cli.main(command(*names, "--top", 2, "--data-dir", tmp_path)) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line == "gcn on 30 molecules of mutagenicity, 92,546 parameters"
    record = json.loads((tmp_path / "w.pt.curvature.json").read_text())
    task = tasks.Task("mutagenicity", "none", 0.0, 30, 0, split_seed=0, name="molecules")
    train = tasks.load(task, tmp_path).train
    with torch.no_grad():
        exact = F.cross_entropy(model.eval()(*train.inputs), train.targets).item()
    assert record["loss"] == pytest.approx(exact, rel=1e-5)
    assert (record["images"], record["parameters"]) == (30, 92_546)
    names[3] = "cnn3"
    assert cli.main(command(*names, "--data-dir", tmp_path)) == 2
    assert "allowed: one that takes molecules, of mutagenicity" in capsys.readouterr().err
