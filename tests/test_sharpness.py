"""Sharpness: quadratics whose maximum in a ball is known, and what must stay as it was."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import nn

from exact import flat, trained
from samscope.errors import InputError
from samscope.measure.objective import MeanLoss
from samscope.measure.sharpness import average_case, worst_case

DOUBLE = torch.float64
NOTHING = torch.zeros(1), torch.zeros(1)
SPECTRA = {
    "convex": [5.0, 4.0, 1.0, 0.3, 0.1, 0.0],
    "indefinite": [3.0, 1.0, 0.2, -0.5, -1.0, -2.0],
    "concave": [-0.5, -1.0, -1.5, -2.0, -3.0, -4.0],
    "mostly concave": [1.0, 0.5, 0.1, -8.0, -9.0, -10.0],
}
SLOPE = [0.02, -0.05, 0.1, 0.04, -0.03, 0.06]


class Quadratic(nn.Module):
    """``g'w + 1/2 sum_i d_i w_i^2`` at w = 0, whatever the input."""

    def __init__(self, curvatures: list[float], slope: list[float]) -> None:
        super().__init__()
        self.register_buffer("d", torch.tensor(curvatures, dtype=DOUBLE))
        self.register_buffer("g", torch.tensor(slope, dtype=DOUBLE))
        self.w = nn.Parameter(torch.zeros_like(self.d))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.g * self.w).sum() + 0.5 * (self.d * self.w.square()).sum()


def quadratic(curvatures: list[float], slope: list[float]) -> MeanLoss:
    return MeanLoss(Quadratic(curvatures, slope), lambda outputs, _: outputs, NOTHING)


def maximum(curvatures: list[float], slope: list[float], rho: float) -> float:
    """Of the quadratic in the ball: e = g / (mu - d) with |e| = rho, or inside it with mu = 0."""
    d, g = torch.tensor(curvatures, dtype=DOUBLE), torch.tensor(slope, dtype=DOUBLE)
    low = max(float(d.max()), 0.0)
    if d.max() < 0 and float((g / d).norm()) <= rho:
        e = -g / d
    else:
        mu = brentq(lambda mu: float((g / (mu - d)).norm()) - rho, low + 1e-12, 1e6, xtol=1e-14)
        e = g / (mu - d)
    return float(g @ e + 0.5 * (d * e.square()).sum())


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("rho", [0.01, 0.2])
def test_the_worst_case_of_a_quadratic_is_its_maximum_in_the_ball(name, rho):
    curvatures = SPECTRA[name]
    found = worst_case(quadratic(curvatures, SLOPE), rho, steps=100)
    assert found.value == pytest.approx(maximum(curvatures, SLOPE, rho), rel=1e-4)
    d, g = torch.tensor(curvatures, dtype=DOUBLE), torch.tensor(SLOPE, dtype=DOUBLE)
    e = rho * g / g.norm()
    assert found.one_step == pytest.approx(float(g @ e + 0.5 * (d * e.square()).sum()))
    assert found.one_step <= found.value
    assert (found.loss, found.rho, found.gradients) == (0, rho, 201)


def test_the_maximum_inside_the_ball_is_found():
    curvatures, slope = SPECTRA["concave"], SLOPE
    exact = sum(g * g / -d for d, g in zip(curvatures, slope, strict=True)) / 2
    assert maximum(curvatures, slope, 5.0) == pytest.approx(exact)
    found = worst_case(quadratic(curvatures, slope), 5.0, steps=60)
    assert found.value == pytest.approx(exact, rel=1e-6)
    short = worst_case(quadratic(curvatures, slope), 5.0, steps=1, restarts=0)
    # The centre of the ball is in the ball.
    assert short.one_step == found.one_step < 0 == short.value


def test_at_a_minimum_only_random_starts_rise():
    mean_loss = quadratic(SPECTRA["convex"], [0.0] * 6)
    assert worst_case(mean_loss, 0.1, restarts=0).value == 0
    found = worst_case(mean_loss, 0.1, steps=40, restarts=1)
    assert found.value == pytest.approx(0.5 * 5.0 * 0.1**2, rel=1e-6)
    assert found.one_step == 0
    top = worst_case(quadratic(SPECTRA["concave"], [0.0] * 6), 0.1)
    assert top.value == pytest.approx(0, abs=1e-4)
    assert top.value >= 0


def test_more_steps_and_restarts_never_find_less():
    model, x, y, _ = trained()
    mean_loss = MeanLoss(model, F.cross_entropy, (x, y))
    rises = [worst_case(mean_loss, 0.3, steps, restarts=0).value for steps in (1, 3, 10, 25)]
    assert rises == sorted(rises)
    assert rises[0] == worst_case(mean_loss, 0.3).one_step
    assert rises[-1] > 1.2 * rises[0]
    more = worst_case(mean_loss, 0.3, steps=25, restarts=2)
    assert more.value >= rises[-1]


def test_the_network_s_one_step_is_sam_s():
    model, x, y, _ = trained()
    found = worst_case(MeanLoss(model, F.cross_entropy, (x, y), held=64), 0.05, steps=1)
    model.eval()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    norm = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(p.grad, alpha=0.05 / float(norm))
        rise = F.cross_entropy(model(x), y) - loss
    assert found.loss == pytest.approx(float(loss), rel=1e-5)
    assert found.one_step == pytest.approx(float(rise), rel=1e-4)


@pytest.mark.parametrize("name", SPECTRA)
def test_the_average_of_a_quadratic_is_its_mean_curvature(name):
    curvatures = SPECTRA[name]
    exact = 0.3**2 / 2 * sum(curvatures) / 6
    found = average_case(quadratic(curvatures, SLOPE), 0.3, directions=400)
    assert abs(found.value - exact) < 4 * found.stderr
    # The variance of sum_i d_i u_i^2 over the sphere, u uniform.
    d = torch.tensor(curvatures, dtype=DOUBLE)
    variance = 2 * (6 * float(d.square().sum()) - float(d.sum()) ** 2) / (6 * 6 * 8)
    assert found.stderr == pytest.approx(0.3**2 / 2 * math.sqrt(variance / 400), rel=0.15)
    # The slope cancels between e and -e.
    steep = average_case(quadratic(curvatures, [100 * g for g in SLOPE]), 0.3, directions=400)
    assert steep.value == pytest.approx(found.value)


def test_the_average_of_a_network_follows_its_trace():
    model, x, y, dense = trained()
    mean_loss = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE)
    # So near that hardly a ReLU switches: the Hessian does not see that, the average does.
    found = average_case(mean_loss, 1e-5, directions=300)
    exact = 1e-5**2 / 2 * float(dense.trace()) / len(dense)
    assert abs(found.value - exact) < 4 * found.stderr < exact


def test_filter_normalised_directions_move_filters_by_their_norms():
    """Of |W|^2 / 2 a filter-normalised step of rho rises by rho^2 |W|^2 / 2, wherever it goes.

    Both ways are taken, so that what is linear in it cancels; the bias, of one dimension, stays.
    """

    class Squares(nn.Linear):
        def forward(self, x):
            return (self.weight.square().sum() + self.bias.square().sum()) / 2

    model = Squares(3, 4).double()
    mean_loss = MeanLoss(model, lambda value, _: value, NOTHING)
    found = average_case(mean_loss, 0.3, directions=5, filtered=True)
    expected = 0.09 * model.weight.square().sum().item() / 2
    assert found.value == pytest.approx(expected)
    assert found.stderr == pytest.approx(0.0, abs=1e-12)


def test_filter_normalised_sharpness_is_blind_to_a_shift_of_scale_between_layers():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 5, generator=random), torch.randint(0, 3, (50,), generator=random)
    values = {}
    for scale in (1.0, 7.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
        with torch.no_grad():
            model[0].weight *= scale
            model[2].weight /= scale
        mean_loss = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE)
        for filtered in (True, False):
            values[scale, filtered] = average_case(mean_loss, 0.1, 10, filtered=filtered).value
    assert values[1.0, True] == pytest.approx(values[7.0, True], rel=1e-6)
    assert values[7.0, False] > 1.5 * values[1.0, False]


def test_results_follow_the_seed():
    mean_loss = quadratic(SPECTRA["indefinite"], [0.0] * 6)
    for measure in (worst_case, average_case):
        first, again, other = (measure(mean_loss, 0.3, 2, seed=seed) for seed in (1, 1, 2))
        assert first == again != other


def test_nothing_of_the_caller_changes():
    model, x, y, _ = trained()
    F.cross_entropy(model(x), y).backward()

    def state() -> list[object]:
        tensors = [*model.state_dict().values(), torch.random.get_rng_state()]
        return [
            [tensor.numpy().tobytes() for tensor in tensors],
            [module.training for module in model.modules()],
            [(id(p.grad), p.grad.tolist(), p.requires_grad) for p in model.parameters()],
        ]

    before, calls = state(), []

    def fails_late(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        if len(calls) > 4:
            raise KeyError("on purpose")
        return F.cross_entropy(outputs, targets)

    mean_loss = MeanLoss(model, F.cross_entropy, (x, y), held=64)
    weights = mean_loss.weights.clone()
    for measure in (worst_case, average_case):
        assert measure(mean_loss, 0.3, 3) == measure(mean_loss, 0.3, 3)
        with pytest.raises(KeyError):
            measure(MeanLoss(model, fails_late, (x, y), held=64), 0.3)
        calls.clear()
    assert state() == before
    assert torch.equal(mean_loss.weights, weights)
    assert torch.equal(mean_loss.weights, flat(model))


def test_a_loss_that_is_not_finite_has_no_sharpness():
    model, x, y, _ = trained()
    mean_loss = MeanLoss(model, F.cross_entropy, (x * math.nan, y))
    assert math.isnan(worst_case(mean_loss, 0.1, steps=2).value)
    assert math.isnan(average_case(mean_loss, 0.1, 2).value)


def test_bad_input_is_named():
    mean_loss = quadratic(SPECTRA["convex"], SLOPE)
    for call, named in [
        (lambda: worst_case(mean_loss, 0.0), "worst_case: rho: 0.0"),
        (lambda: worst_case(mean_loss, math.nan), "a positive number"),
        (lambda: worst_case(mean_loss, 0.1, steps=0), "worst_case: steps: 0"),
        (lambda: worst_case(mean_loss, 0.1, restarts=-1), "restarts: -1"),
        (lambda: average_case(mean_loss, -0.1), "average_case: rho: -0.1"),
        (lambda: average_case(mean_loss, 0.1, directions=1), "2 at least"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)
