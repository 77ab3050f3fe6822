"""XTrace: against its definition and exact traces; how often its interval holds."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t as student

from exact import Matrix, rotated, trained
from samscope.errors import InputError
from samscope.measure.hessian import Hessian
from samscope.measure.objective import MeanLoss
from samscope.measure.trace import _quantile, xtrace
from samscope.measure.vectors import random_direction

SPECTRA = {
    "slow decay": [i**-2.0 for i in range(1, 201)],
    "fast decay": [0.7**i for i in range(200)],
    "no decay": [1 + i / 200 for i in range(200)],
    "both signs": [*(100, -50, 20, -10, 5), *np.linspace(-0.2, 0.2, 195)],
}


def estimates(dense: torch.Tensor, products: int, seeds: int) -> list:
    return [xtrace(Matrix(dense), products, seed) for seed in range(seeds)]


def hutchinson(dense: torch.Tensor, products: int) -> float:
    """The standard error of Hutchinson's estimator with vectors of +-1 (Hutchinson 1990)."""
    off = dense.square().sum() - dense.diagonal().square().sum()
    return math.sqrt(2 * float(off) / products)


def by_definition(dense: torch.Tensor, products: int, seed: int) -> np.ndarray:
    """Each vector left out in turn, with a factorisation of its own (section 2.1 of the paper)."""
    matrix, n, m = dense.numpy(), len(dense), products // 2
    like = torch.empty(0, dtype=torch.float64)
    drawn = [random_direction(n, like, seed, "xtrace", i).numpy() for i in range(m)]
    found = []
    for i in range(m):
        others = np.stack([v for j, v in enumerate(drawn) if j != i], axis=1)
        q, _ = np.linalg.qr(matrix @ others)
        rest = drawn[i] - q @ (q.T @ drawn[i])
        mean = rest @ matrix @ rest / (rest @ rest)
        found.append(np.trace(q.T @ matrix @ q) + (n - m + 1) * mean)
    return np.array(found)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("products", [4, 20])
def test_it_is_its_definition(name, products):
    dense = rotated(*SPECTRA[name])
    expected = by_definition(dense, products, seed=3)
    found = xtrace(Matrix(dense), products, seed=3)
    assert found.value == pytest.approx(expected.mean(), rel=1e-8)
    stderr = expected.std(ddof=1) / math.sqrt(len(expected))
    assert found.stderr == pytest.approx(stderr, rel=1e-5)
    assert found.low < found.value < found.high
    assert found.value - found.low == pytest.approx(found.high - found.value)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("products", [8, 40])
def test_the_interval_holds_the_trace_as_often_as_it_says(name, products):
    dense = rotated(*SPECTRA[name])
    exact, found = float(dense.trace()), estimates(dense, products, seeds=150)
    covered = np.mean([one.low <= exact <= one.high for one in found])
    # 95 % of 150 have a standard error of 1.8 %; three of them below.
    assert covered >= 0.89
    errors = np.array([one.value - exact for one in found])
    assert abs(errors.mean()) < 4 * errors.std() / math.sqrt(150)
    # Not by being wide: t is 3.2 at 8 products and 2.1 at 40.
    width = np.mean([one.high - one.value for one in found])
    assert width < (6 if products == 8 else 4) * math.sqrt(np.mean(errors**2))


def test_a_network_s_trace_has_less_than_half_of_hutchinson_s_error():
    *_, dense = trained()
    exact, found = float(dense.trace()), estimates(dense, 60, seeds=60)
    error = math.sqrt(np.mean([(one.value - exact) ** 2 for one in found]))
    assert error < 0.02 * exact
    assert error < hutchinson(dense, 60) / 2
    assert np.mean([one.low <= exact <= one.high for one in found]) >= 0.86


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_the_hessian_of_a_network(dtype):
    model, x, y, dense = trained()
    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y), dtype=dtype))
    found = xtrace(hessian, 40)
    assert found.products == hessian.products == 40
    assert found.low <= float(dense.trace()) <= found.high
    same = xtrace(Matrix(dense), 40)
    assert found.value == pytest.approx(same.value, rel=1e-4 if dtype is None else 1e-9)


def test_a_negative_trace_is_the_mirror_image():
    *_, dense = trained()
    up, down = xtrace(Matrix(dense), 20), xtrace(Matrix(-dense), 20)
    assert down.value == pytest.approx(-up.value)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))
    assert down.stderr == pytest.approx(up.stderr)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_no_more_rows_than_products_is_exact(size):
    operator = Matrix(rotated(*range(-3, size - 3)))
    found = xtrace(operator, 10)
    assert found.low < sum(range(-3, size - 3)) < found.high
    assert found.high - found.low < 1e-13 * size**2
    assert found.stderr == 0
    assert found.products == operator.products == size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rank_below_the_number_of_vectors_is_exact(dtype):
    error = 100 * torch.finfo(dtype).eps
    dense = rotated(5, -3, 1, *[0] * 47).to(dtype)
    diagonal = torch.diag(torch.tensor([5.0, -3, 1] + [0.0] * 47, dtype=dtype))
    for matrix in (dense, diagonal):
        found = xtrace(Matrix(matrix), 16)
        assert found.value == pytest.approx(3, abs=10 * error)
        assert found.high - found.low < 100 * error
    zero = xtrace(Matrix(torch.zeros(50, 50, dtype=dtype)), 16)
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)


@pytest.mark.parametrize("size", [9, 50])
def test_an_operator_that_is_not_finite_has_no_trace(size):
    dense = torch.eye(size)
    dense[2, 2] = math.inf
    found = xtrace(Matrix(dense), 10)
    assert np.isnan([found.value, found.stderr, found.low, found.high]).all()


def test_results_follow_the_seed_and_leave_random_numbers_alone():
    dense = rotated(*SPECTRA["no decay"])
    before = torch.random.get_rng_state()
    first, again, other = (xtrace(Matrix(dense), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == again != other


@pytest.mark.parametrize("products", [0, 2, 7])
def test_bad_input_is_named(products):
    with pytest.raises(InputError) as error:
        xtrace(Matrix(torch.eye(9)), products)
    assert f"xtrace: products: {products}" in str(error.value)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 49])
def test_the_interval_is_students(freedom):
    assert _quantile(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=1e-10)
