"""One Lanczos run: against `eigh`, closed forms and scipy; its bounds, its breakdowns, its stop."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from exact import Matrix, rotated, trained
from samscope.errors import InputError
from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import spectrum
from samscope.measure.objective import MeanLoss
from samscope.measure.vectors import inner, norm, orthogonalise

DOUBLE = torch.float64


def numbers(values) -> torch.Tensor:
    return torch.tensor(values, dtype=DOUBLE)


@pytest.mark.parametrize(("dtype", "error"), [(DOUBLE, 1e-10), (torch.float32, 3e-6)])
def test_both_ends_are_those_of_the_dense_hessian(dtype, error):
    model, x, y, dense = trained()
    exact, basis = torch.linalg.eigh(dense)
    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y), dtype=dtype))
    found = spectrum(hessian, tol=error, eigenvectors=True)
    assert found.converged
    assert found.products == hessian.products < 100
    assert exact[0].abs() < exact[-5]
    for pairs, which in [
        (found.largest, slice(-1, -6, -1)),
        (found.dominant, slice(-1, -6, -1)),
        (found.smallest, slice(0, 1)),
    ]:
        order = range(len(exact))[which]
        torch.testing.assert_close(
            numbers(pairs.values), exact[list(order)], rtol=0, atol=error * float(exact[-1])
        )
        overlap = (pairs.vectors.double() @ basis[:, list(order)]).diagonal().abs()
        torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=100 * error)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_leading_five_take_twenty_products(seed):
    model, x, y, dense = trained()
    exact = torch.linalg.eigvalsh(dense).flip(0)
    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y)))
    found = spectrum(hessian, tol=0, max_products=20, seed=seed)
    assert found.products == hessian.products == 20
    assert not found.converged
    assert found.largest.values == pytest.approx(exact[:5].tolist(), rel=1e-5)
    assert found.ratio(5).value == pytest.approx(float(exact[0] / exact[4]), rel=1e-5)


def test_residuals_are_what_they_say_and_bound_the_error():
    *_, dense = trained()
    exact = torch.linalg.eigvalsh(dense)
    # Rounding makes the products of a network's Hessian unsymmetric: here more, and not too much.
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(dense.shape, generator=random, dtype=DOUBLE)
    noise = 1e-7 * float(exact[-1]) * (noise - noise.T) / math.sqrt(len(exact))
    for operator, floor in ((dense, 0.0), (dense + noise, 1e-8)):
        for products in (6, 12, 25):
            found = spectrum(Matrix(operator), tol=0, max_products=products, eigenvectors=True)
            for pairs in (found.largest, found.dominant, found.smallest):
                values, vectors = numbers(pairs.values), pairs.vectors
                off = vectors @ operator.T - values[:, None] * vectors
                measured = torch.linalg.vector_norm(off, dim=1)
                assert pairs.residuals == pytest.approx(measured.tolist(), rel=1e-6, abs=1e-13)
                errors = (exact - values[:, None]).abs().amin(1)
                assert (errors <= numbers(pairs.residuals)).all()
        assert max(found.largest.residuals) > floor


@pytest.mark.parametrize("ratio", [0.7, 0.9, 0.99])
@pytest.mark.parametrize("seed", [0, 1])
def test_close_eigenvalues(ratio, seed):
    leading = 10.0 * ratio ** torch.arange(6.0, dtype=DOUBLE)
    bulk = torch.linspace(-0.3, 0.5, 2994, dtype=DOUBLE)
    diagonal = torch.cat([leading, bulk]).float()

    class Diagonal(Matrix):
        def matvec(self, vector):
            return self.dense * vector

    found = spectrum(Diagonal(diagonal), tol=0, max_products=30, seed=seed)
    assert found.largest.values == pytest.approx(leading[:5].tolist(), rel=1e-5)
    assert found.ratio().value == pytest.approx(ratio**-4, rel=1e-5)


def test_dominant_ranks_by_magnitude_and_largest_by_value():
    found = spectrum(Matrix(rotated(-5, 3, -1, 0.5, 2, 0.1)), k=3)
    assert found.dominant.values == pytest.approx((-5, 3, 2))
    assert found.largest.values == pytest.approx((3, 2, 0.5))
    assert found.smallest.values == pytest.approx((-5,))
    assert found.ratio(3).value == pytest.approx(6)
    assert found.asymmetry().value == pytest.approx(0.6)


def test_the_uncertainty_of_quotients_holds_the_truth():
    *_, dense = trained()
    exact = torch.linalg.eigvalsh(dense)
    ratio, asymmetry = float(exact[-1] / exact[-5]), float(exact[-1] / exact[0].abs())
    errors = []
    for products in (14, 40, 60):
        for seed in range(3):
            found = spectrum(Matrix(dense), tol=0, max_products=products, seed=seed)
            errors.append(found.ratio(5).error)
            assert abs(found.ratio(5).value - ratio) <= found.ratio(5).error
            if products > 14:
                assert abs(found.asymmetry().value - asymmetry) <= found.asymmetry().error
    assert errors[0] > 1e3 * errors[-1]


def test_a_quotient_by_what_may_be_zero_is_unbounded():
    zero = spectrum(Matrix(rotated(2, 1, 0, 0.5)), k=4)
    assert zero.smallest.values == pytest.approx((0,), abs=1e-14)
    assert zero.asymmetry().error == math.inf
    flat = spectrum(Matrix(torch.zeros(9, 9)), k=2)
    assert math.isnan(flat.ratio(2).value)
    assert flat.ratio(2).error == math.inf


def test_multiple_eigenvalues_and_ranks_end_a_krylov_space():
    # A space with four different eigenvalues is exhausted in four steps; others follow.
    exact = (3, 3, 3, 1, 1, 0, 0, 0, -2, -2)
    found = spectrum(Matrix(rotated(*exact)), k=10, tol=0)
    assert found.largest.values == pytest.approx(exact, abs=1e-12)
    assert max(found.largest.residuals) < 1e-13
    # The density is the start vector's: its space has the four, and is all it sees.
    seen = found.nodes[found.weights > 1e-12]
    assert sorted(set(seen.round(decimals=9).tolist())) == pytest.approx([-2, 0, 1, 3])
    assert float(found.weights.sum()) == pytest.approx(1)
    few = spectrum(Matrix(rotated(*exact)), k=2)
    assert few.converged
    assert few.largest[0].value == pytest.approx(3)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_identity_zero_and_rank_one(dtype):
    identity = spectrum(Matrix(2.5 * torch.eye(40, dtype=dtype)), k=3)
    assert identity.largest.values == pytest.approx((2.5,) * 3, rel=1e-6)
    assert identity.smallest.values == pytest.approx((2.5,), rel=1e-6)
    assert identity.converged
    zero = spectrum(Matrix(torch.zeros(40, 40, dtype=dtype)), k=3)
    assert zero.dominant.values == zero.dominant.residuals == (0.0,) * 3
    assert zero.converged
    direction = torch.ones(40, dtype=dtype) / math.sqrt(40)
    one = spectrum(Matrix(-7 * torch.outer(direction, direction)), k=2)
    assert one.dominant.values == pytest.approx((-7, 0), abs=1e-5)
    assert one.smallest.values == pytest.approx((-7,), rel=1e-6)
    assert one.converged


@pytest.mark.parametrize("size", [1, 2, 5])
def test_fewer_rows_than_products(size):
    dense = rotated(*range(1, size + 1))
    operator = Matrix(dense)
    found = spectrum(operator, k=size, tol=0)
    assert found.products == operator.products == size
    assert found.largest.values == pytest.approx(range(size, 0, -1))
    assert found.nodes.shape == (size,)


def test_a_negative_spectrum_has_its_largest_value_near_zero():
    exact = [-(0.9**i) * 10 for i in range(30)]
    found = spectrum(Matrix(rotated(*exact)), k=2, tol=1e-8)
    assert found.dominant.values == pytest.approx(exact[:2])
    assert found.smallest.values == pytest.approx(exact[:1])
    assert found.largest.values == pytest.approx(exact[:-3:-1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_operator_that_is_not_finite_has_no_spectrum(bad):
    dense = torch.eye(9)
    dense[3, 4] = bad
    operator = Matrix(dense)
    found = spectrum(operator, k=2, eigenvectors=True)
    for pairs in (found.largest, found.dominant, found.smallest):
        assert np.isnan([pairs.values, pairs.residuals]).all()
        assert pairs.vectors.isnan().all()
    assert found.nodes.isnan().all()
    assert found.weights.isnan().all()
    assert not found.converged
    assert found.products == operator.products == 1
    assert math.isnan(found.ratio(2).value)


def test_it_stops_at_the_tolerance_or_the_budget():
    *_, dense = trained()
    used = []
    for tol in (1e-2, 1e-4, 1e-8):
        found = spectrum(Matrix(dense), tol=tol)
        assert found.converged
        bound = tol * found.dominant.values[0]
        residuals = found.largest.residuals + found.dominant.residuals + found.smallest.residuals
        assert max(residuals) <= bound
        used.append(found.products)
        # One product less would not have done.
        short = spectrum(Matrix(dense), tol=tol, max_products=found.products - 1)
        assert not short.converged
        assert short.products == found.products - 1
    assert used[0] < used[1] < used[2] < 100


def test_nodes_and_weights_are_a_quadrature_of_the_density():
    *_, dense = trained()
    exact = torch.linalg.eigvalsh(dense)
    runs = [spectrum(Matrix(dense), tol=0, max_products=50, seed=seed) for seed in range(6)]
    nodes, weights = (torch.stack([getattr(r, k) for r in runs]) for k in ("nodes", "weights"))
    assert nodes.shape == weights.shape == (6, 50)
    assert nodes.dtype == weights.dtype == DOUBLE
    torch.testing.assert_close(weights.sum(1), torch.ones(6, dtype=DOUBLE))
    assert float(weights.min()) >= 0
    distance = scipy.stats.wasserstein_distance(exact, nodes.flatten(), None, weights.flatten())
    assert distance < 5e-3 * float(exact[-1] - exact[0])
    means = (nodes * weights).sum(1)
    assert abs(float(means.mean() - exact.mean())) < 4 * float(means.std()) / math.sqrt(6)


def test_results_follow_the_seed_and_leave_random_numbers_alone():
    *_, dense = trained()
    before = torch.random.get_rng_state()
    first, again, other = (
        spectrum(Matrix(dense), tol=0, max_products=12, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.nodes, again.nodes)
    assert first.largest.values == again.largest.values != other.largest.values


def test_long_float32_vectors_lose_nothing():
    # One float32 sum over these is off by more than 1e-5 of it.
    random = torch.Generator().manual_seed(0)
    rows = torch.rand(3, 4_000_000, generator=random)
    exact = rows.double() @ rows[:1].double().T
    torch.testing.assert_close(inner(rows, rows[:1]), exact, rtol=1e-6, atol=0)
    assert norm(rows[0]) == pytest.approx(float(rows[0].double().norm()), rel=1e-9)
    basis = torch.eye(2, 4_000_000)
    vector = rows[0].clone()
    taken, left = orthogonalise(vector, [basis[:1], basis[1:]])
    assert taken.tolist() == pytest.approx(rows[0, :2].tolist())
    assert vector[:2].abs().max() == 0
    assert left == pytest.approx(float(rows[0, 2:].double().norm()), rel=1e-7)


def test_bad_input_is_named():
    operator = Matrix(torch.eye(9))
    found = spectrum(operator, k=2)
    for call, named in [
        (lambda: spectrum(operator, k=0), "spectrum: k: 0"),
        (lambda: spectrum(operator, k=10), "1 to 9"),
        (lambda: spectrum(operator, k=5, max_products=4), "1 to 4"),
        (lambda: spectrum(operator, tol=math.nan), "spectrum: tol: nan"),
        (lambda: found.ratio(3), "Spectrum.ratio: k: 3"),
        (lambda: found.ratio(0), "1 to 2"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)
