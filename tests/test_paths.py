"""Paths between two solutions: their points, gradients of their bends, means over their length."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from samscope.errors import InputError
from samscope.measure import paths
from samscope.optim.batchnorm import refresh
from samscope.spec import curve as spec


def vectors(count: int, size: int = 7) -> torch.Tensor:
    random = torch.Generator().manual_seed(count)
    return torch.randn(count, size, generator=random, dtype=torch.float64)


def test_the_plan_knows_the_paths_without_torch():
    assert tuple(paths.PATHS) == spec.PATHS


@pytest.mark.parametrize(("path", "n"), [("bezier", 2), ("bezier", 4), ("chain", 2), ("line", 1)])
def test_a_path_begins_and_ends_at_its_ends_bit_for_bit(path, n):
    points = vectors(n + 1).float()
    points[0, 0], points[-1, 1], points[1, 2] = -0.0, -0.0, math.inf
    shares = paths.PATHS[path]
    for t, end in ((0.0, points[0]), (1.0, points[-1])):
        found = paths.at(points, shares(t, n))
        assert torch.equal(found.view(torch.int32), end.view(torch.int32))
    points[1, 2] = 0.0
    for t in (0.1, 0.5, 0.83):
        assert math.fsum(shares(t, n)) == pytest.approx(1.0, abs=1e-15)


def test_a_bezier_curve_is_de_casteljaus():
    points, t = vectors(4), 0.3
    left = list(points)
    while len(left) > 1:
        left = [(1 - t) * a + t * b for a, b in itertools.pairwise(left)]
    assert torch.allclose(paths.at(points, paths.bezier(t, 3)), left[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.75, 1.0])
def test_a_chain_is_straight_from_point_to_point(t):
    points = vectors(3)
    a, b, s = (points[0], points[1], 2 * t) if t <= 0.5 else (points[1], points[2], 2 * t - 1)
    assert torch.allclose(paths.at(points, paths.chain(t, 2)), a + s * (b - a), rtol=0, atol=1e-15)


def test_a_path_begins_as_the_straight_line():
    ends = vectors(2)
    points = paths.straight(*ends, bends=3)
    assert torch.equal(points[0], ends[0])
    assert torch.equal(points[-1], ends[1])
    for t in (0.1, 0.6):
        for path in (paths.bezier, paths.chain):
            found = paths.at(points, path(t, 4))
            assert torch.allclose(found, ends[0] + t * (ends[1] - ends[0]), rtol=0, atol=1e-14)


def test_ends_of_two_architectures_are_refused():
    told = r"path: ends: \[7\] and \[8\] is not allowed; allowed: the weights of one model, twice"
    with pytest.raises(InputError, match=told):
        paths.straight(torch.zeros(7), torch.zeros(8), 1)


@pytest.mark.parametrize("path", ["bezier", "chain"])
def test_steps_of_bends_are_those_of_sgd_through_phi(path):
    """torch's SGD on the bends, with autograd through the path, at random t."""
    w, target = vectors(4), vectors(1, 7)[0]
    bends = w[1:-1].clone().requires_grad_()
    sgd = torch.optim.SGD([bends], lr=0.05, momentum=0.9)
    points, motion = w.clone(), torch.zeros_like(w[1:-1])
    loss = lambda phi: (phi - target).pow(4).sum() + 0.5 * 0.1 * phi.square().sum()  # noqa: E731
    for t in (0.2, 0.9, 0.4, 0.61):
        shares = paths.PATHS[path](t, 3)
        sgd.zero_grad()
        whole = [w[0], *bends, w[-1]]
        loss(sum(c * v for c, v in zip(shares, whole, strict=True))).backward()
        sgd.step()
        phi = paths.at(points, shares).requires_grad_()
        (g,) = torch.autograd.grad(loss(phi), phi)
        paths.descend(points, motion, shares, g, 0.05, 0.9)
    assert torch.allclose(points[1:-1], bends.detach(), rtol=1e-12, atol=1e-13)
    assert torch.equal(points[[0, -1]], w[[0, -1]])


def test_the_best_bezier_curve_of_a_quadratic_loss():
    """The bend that minimises the mean over t of |phi(t) - m|^2 is (5 m - 1.5 (w0 + w2)) / 2.

    Its condition is E c1 (c0 w0 + c1 b + c2 w2 - m) = 0, where E c1 = 1/3, E c1^2 = 2/15 and
    E c0 c1 = E c1 c2 = 1/10.
    """
    w, m = vectors(3), vectors(1, 7)[0]
    points, motion = paths.straight(w[0], w[2], 1), torch.zeros(1, 7, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    for step, t in enumerate(torch.rand(8000, generator=random, dtype=torch.float64).tolist()):
        shares = paths.bezier(t, 2)
        g = 2 * (paths.at(points, shares) - m)
        paths.descend(points, motion, shares, g, 0.02 / (1 + step / 100), 0.9)
    best = 0.5 * (5 * m - 1.5 * (w[0] + w[2]))
    assert torch.allclose(points[1], best, atol=0.05)
    assert (points[1] - best).norm() < 0.01 * (0.5 * (w[0] + w[2]) - best).norm()


def test_means_over_the_length_are_the_closed_form():
    """A quarter of a circle, at uneven places, and its height: the mean is 2 / pi."""
    angles = torch.linspace(0, 1, 2001, dtype=torch.float64).square() * math.pi / 2
    along = torch.stack([angles.cos(), angles.sin()], 1)
    steps = paths.steps(list(along))
    assert sum(steps) == pytest.approx(math.pi / 2, rel=1e-6)
    assert paths.over_length(angles.sin().tolist(), steps) == pytest.approx(2 / math.pi, rel=1e-6)


def test_a_barrier_is_above_the_line_between_the_ends():
    t = [0.0, 0.25, 0.5, 1.0]
    assert paths.barrier(t, [1.0, 1.5, 4.0, 3.0]) == 2.0
    assert paths.barrier(t, [1.0, 0.5, 0.2, 3.0]) == 0.0
    assert math.isnan(paths.barrier(t, [1.0, math.nan, 0.2, 3.0]))


def test_batch_statistics_are_those_of_torch_for_even_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    batches = [torch.randn(10, 1, 6, 6) * i for i in (1, 2, 3)]
    update_bn(batches, model)
    expected = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(10, 1, 6, 6))
    refresh(model, ((x,) for x in batches))
    assert not model.training
    assert model[1].momentum == 0.1
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, expected[name])


def test_a_batch_weighs_by_its_samples():
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False))
    small, large = torch.full((2, 1), 3.0), torch.full((6, 1), -1.0)
    refresh(model, [(small,), (large,)])
    assert model[0].running_mean.item() == 0.0
