"""Fits of random features: least squares against NumPy, features against closed forms, records."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from samscope.errors import InputError
from samscope.measure.features import directions, fourier, least_norm
from samscope.spec import SPECS, Fit
from samscope.stages import fit as stage
from samscope.stages.bench import Bench
from samscope.stages.run import Run
from samscope.tasks import noise

FIT = Fit("random_fourier", "digits", 300, 0, 0.5, 1.0, 0.2)


def but(**changes: object) -> Fit:
    return Fit.from_dict(FIT.to_dict() | changes)


def numbers(fit: Fit, data_dir: Path, seed: int = 0) -> dict[str, float]:
    return dict(stage.numbers(Run(Path("run"), fit, seed), Bench(data_dir)))


# Least squares


@pytest.mark.parametrize("count", [3, 19, 20, 21, 90])
def test_least_norm_is_that_of_numpy(count):
    random = np.random.default_rng(count)
    features, targets = random.normal(size=(20, count)), random.normal(size=(20, 4))
    found = least_norm(torch.from_numpy(features), torch.from_numpy(targets))
    expected = np.linalg.lstsq(features, targets)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("count", [6, 40])
def test_features_and_samples_that_repeat_have_a_least_norm_too(count):
    random = np.random.default_rng(1)
    features = random.normal(size=(12, count))
    features[:, -1] = features[:, 0]
    features[7:] = features[:5]  # with other targets: nothing interpolates
    targets = random.normal(size=(12, 2))
    found = least_norm(torch.from_numpy(features), torch.from_numpy(targets))
    np.testing.assert_allclose(found, np.linalg.lstsq(features, targets)[0], atol=1e-10)


# Features


def test_features_are_cosines_and_sines():
    x, v = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[0.5, 0.25], [3.0, -1.0]]).double()
    expected = [math.cos(1), math.cos(1), math.sin(1), math.sin(1)]
    assert fourier(x, v)[0].tolist() == pytest.approx(expected)


def test_directions_are_one_sequence_of_a_seed():
    few, many = directions(3, 10, 64, 0.5), directions(3, 4000, 64, 0.5)
    assert torch.equal(few, many[:10])
    assert not torch.equal(few, directions(4, 10, 64, 0.5))
    assert many.dtype == torch.float64
    assert many.mean().item() == pytest.approx(0, abs=0.005)
    assert many.std().item() == pytest.approx(0.5, abs=0.005)
    assert torch.equal(directions(3, 10, 64, 0.5, 0.25), 0.25 + few)


def test_many_features_are_regression_with_a_gaussian_kernel():
    """Their kernel is exp(-scale^2 d^2 / 2); interpolation with it is what the fit tends to."""
    random = torch.Generator().manual_seed(0)
    x, new = (torch.randn(n, 16, generator=random).double() for n in (20, 50))
    y = torch.randn(20, 3, generator=random).double()
    v = directions(0, 100_000, 16, 0.3)
    features, fresh = fourier(x, v), fourier(new, v)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(0.3**2) * torch.cdist(a, b) ** 2 / 2)

    assert (features @ features.T / len(v) - kernel(x, x)).abs().max() < 0.02
    a = least_norm(features, y)
    limit = kernel(new, x) @ torch.linalg.solve(kernel(x, x), y)
    assert (fresh @ a - limit).abs().max() < 0.1 * limit.abs().max()
    # The norm of the coefficients is that of the function in the kernel's space, over the width.
    expected = (y * torch.linalg.solve(kernel(x, x), y)).sum() / len(v)
    assert a.square().sum().item() == pytest.approx(expected.item(), rel=0.05)


# Runs


@pytest.mark.parametrize("width", [0.3, 1.3])
def test_a_run_is_what_numpy_makes_of_the_digits(data_dir, width):
    fit = but(width=width)
    found = numbers(fit, data_dir, seed=5)
    splits = Bench(data_dir).splits(fit.task)
    x, new = (s.inputs[0].numpy().reshape(-1, 64) / 16 for s in (splits.train, splits.test))
    labels = noise.training_targets(splits, 0.2, 5).numpy()
    assert (labels != splits.train.targets.numpy()).sum() == 60
    v = directions(5, fit.count // 2, 64, 0.5).numpy()
    features, fresh = (np.hstack([np.cos(z @ v.T), np.sin(z @ v.T)]) for z in (x, new))
    a = np.linalg.lstsq(features, np.eye(10)[labels])[0]
    true = splits.test.targets.numpy()
    assert found["features"] == features.shape[1] == {0.3: 90, 1.3: 390}[width]
    assert found["norm"] == pytest.approx(np.linalg.norm(a))
    assert found["test_loss"] == pytest.approx(
        np.square(fresh @ a - np.eye(10)[true]).sum(1).mean()
    )
    wrong = 100 * np.mean((fresh @ a).argmax(1) != true)
    assert found["test_error_percent"] == pytest.approx(wrong)
    fitted = features @ a
    loss = np.square(fitted - np.eye(10)[labels]).sum(1).mean()
    assert found["train_loss"] == pytest.approx(loss, abs=1e-12)
    assert found["train_error_percent"] == pytest.approx(100 * np.mean(fitted.argmax(1) != labels))


def test_from_the_threshold_on_wrong_labels_are_interpolated(data_dir):
    below, above = (numbers(but(width=width), data_dir) for width in (0.9, 1.0))
    assert above["train_loss"] < 1e-12 < 1e-3 < below["train_loss"]
    assert above["train_error_percent"] == 0


def test_a_run_repeats_its_bits(data_dir):
    assert numbers(FIT, data_dir) == numbers(FIT, data_dir)
    assert numbers(FIT, data_dir) != numbers(FIT, data_dir, seed=1)


# What it is made from


def test_a_fit_is_told_apart_from_others():
    assert FIT.id == "random_fourier-digits/noise=0.2/width=1"
    shown = Fit.from_dict(FIT.to_dict(), shown=("label_noise", "width", "train_size"))
    assert shown.id == "random_fourier-digits/noise=0.2/width=1,train_size=300"
    assert shown == FIT
    others = [but(data="mnist"), but(train_size=301), but(split_seed=1), but(scale=0.4)]
    others += [but(width=2), but(label_noise=0.1), but(mean=0.1)]
    digests = {FIT.digest(0), FIT.digest(1), *(other.digest(0) for other in others)}
    assert len(digests) == 9
    assert shown.digest(0) == FIT.digest(0)
    assert SPECS["fit"] is Fit
    assert FIT.needs(0) == ()


@pytest.mark.parametrize(
    ("width", "count"), [(0.02, 6), (1.0, 300), (1.01, 304), (2 / 300, 2), (20.0, 6000)]
)
def test_features_come_in_pairs(width, count):
    assert but(width=width).count == count


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"width": 0}, "fit: width: 0.0 is not allowed; allowed: 0.00666"),
        ({"width": 0.005}, "fit: width: 0.005 is not allowed; allowed: 0.00666"),
        ({"width": math.inf}, "fit: width: inf is not allowed"),
        ({"scale": 0.0}, "fit: scale: 0.0 is not allowed"),
        ({"label_noise": 1.5}, "task: label_noise: 1.5 is not allowed; allowed: 0.0 to 1.0"),
        ({"model": "fourier"}, "fit: model: fourier is not allowed; allowed: random_fourier"),
        ({"data": "mitbih"}, "task images: data: mitbih is not allowed; allowed: digits"),
        ({"train_size": 1}, "task: train_size: 1 is not allowed"),
        ({"count": 300}, "fit: count: 300 is not allowed; allowed: the fields data"),
    ],
)
def test_what_is_no_fit_is_told_in_a_line(change, told):
    with pytest.raises(InputError) as caught:
        but(**change)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_more_samples_than_the_data_have_are_refused(data_dir):
    with pytest.raises(
        InputError, match=r"task images: train_size: 1797 .* allowed: 1 to 1796, of"
    ):
        numbers(but(train_size=1797, width=0.1), data_dir)


def test_more_features_than_memory_are_refused_before_they_are_made(data_dir, monkeypatch):
    monkeypatch.setattr(stage, "memory", lambda bench: 2**30)
    with pytest.raises(InputError) as caught:
        numbers(but(width=2000), data_dir)
    told = "allowed: at most 497, of 300 samples in 1.0 GiB of memory"
    assert str(caught.value) == f"fit: width: 2000.0 is not allowed; {told}"
    assert stage.memory(Bench(data_dir)) > 2**20
    stage.check_memory(but(width=497), 2**30)
