"""The ascent against duality, closed forms on a quadratic, and SAM parameter by parameter."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from samscope.optim import SAM
from samscope.optim.ascent import ascend, global_norm, matrices, steepest
from samscope.optim.method import Ascent

torch.set_num_threads(1)

NORMS = (1.0, 1.01, 1.5, 2.0, 3.0, 10.0, math.inf)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dual(p):
    return {1.0: math.inf, math.inf: 1.0}.get(p) or p / (p - 1)


def climbed(ascent, w, gradient, rho=0.3, **more):
    """e of an ascent from w, where ``gradient`` is a function of the weights; and what it read."""
    w, start, read = w.clone(), torch.empty_like(w), []

    def gradient_of():
        read.append(w.clone())
        return gradient(w)

    norm = ascend(w, start, gradient(w), rho, ascent, gradient_of, **more)
    assert norm.item() == pytest.approx(gradient(start).norm().item())
    return w - start, read


@pytest.fixture
def quadratic():
    """w, and the gradient H w of a loss that is bent upwards everywhere."""
    root = draw(7, 7)
    hessian = root @ root.T + torch.eye(7)
    return draw(7, seed=1), lambda w: hessian @ w


@pytest.mark.parametrize("p", NORMS)
def test_no_direction_of_the_same_norm_rises_more(p):
    x = draw(40)
    x[3] = 0.0
    d = steepest(x, p)
    assert torch.linalg.vector_norm(d, p).item() == pytest.approx(1.0)
    # Hoelder's inequality, reached: the largest product is the dual norm.
    assert (x @ d).item() == pytest.approx(torch.linalg.vector_norm(x, dual(p)).item())
    others = draw(500, 40, seed=2)
    others /= torch.linalg.vector_norm(others, p, dim=1, keepdim=True)
    assert (others @ x).max() < x @ d


@pytest.mark.parametrize("p", NORMS[1:-1])
def test_the_formula_of_the_paper(p):
    g, q = draw(30).numpy(), dual(p)
    e = 0.3 * np.sign(g) * np.abs(g) ** (q - 1) / (np.abs(g) ** q).sum() ** (1 / p)
    found, _ = climbed(Ascent(norm=p), torch.zeros(30).double(), lambda w: torch.from_numpy(g))
    np.testing.assert_allclose(found.numpy(), e, rtol=1e-10, atol=1e-15)


def test_the_ends_are_the_limits_of_what_lies_between():
    x = torch.tensor([0.5, -3.0, 0.0, 3.0, 1.0]).double()
    torch.testing.assert_close(steepest(x, 1.0), steepest(x, 1 + 1e-4), rtol=0, atol=1e-3)
    assert steepest(x, 1.0).tolist() == [0.0, -0.5, 0.0, 0.5, 0.0]
    torch.testing.assert_close(steepest(x, math.inf), steepest(x, 1e6), rtol=0, atol=1e-4)
    assert steepest(x, math.inf).tolist() == [1.0, -1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("size", [1e-25, 1e-3, 1e25])
def test_the_size_of_a_gradient_does_not_matter(p, size):
    x = draw(1000).float()
    d = steepest(x * size, p)
    if p == 2:  # SAM's own formula: squares overflow, and 1e-12 is added to the norm
        size = min(max(size, 1e-6), 1e15)
        d = steepest(x * size, p)
    torch.testing.assert_close(d, steepest(x, p), rtol=1e-4, atol=1e-7)
    assert not steepest(x * 0, p).any()


@pytest.mark.parametrize("size", [1000, 70_000])
def test_one_plain_step_has_the_bits_of_sam(size):
    w, g = (draw(size, seed=n).float() for n in range(2))
    parameter = nn.Parameter(w.clone())
    parameter.grad = g.clone()
    SAM([parameter], torch.optim.SGD, rho=0.2, lr=0.1).first_step()
    start = torch.empty_like(w)
    norm = ascend(w, start, g, 0.2)
    assert torch.equal(w, parameter)
    assert torch.equal(norm, global_norm([g]))
    assert torch.equal(w, torch.addcmul(start, g, 0.2 / (norm + 1e-12)))


@pytest.mark.parametrize("adaptive", ["davda54", "kwon2021"])
def test_a_flat_adaptive_step_is_sams_parameter_by_parameter(adaptive):
    shapes = ((5, 4), (4,), (4, 3, 2, 2), (3,), ())
    parts = [nn.Parameter(draw(*shape, seed=n)) for n, shape in enumerate(shapes)]
    w = torch.cat([p.detach().flatten() for p in parts])
    for n, p in enumerate(parts):
        p.grad = draw(*p.shape, seed=10 + n)
    g = torch.cat([p.grad.flatten() for p in parts])
    SAM(parts, torch.optim.SGD, rho=0.4, adaptive=adaptive, lr=0.1).first_step()
    expected = torch.cat([p.detach().flatten() for p in parts])
    ascend(w, torch.empty_like(w), g, 0.4, Ascent(adaptive=adaptive), matrices=matrices(parts))
    torch.testing.assert_close(w, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("adaptive", ["davda54", "kwon2021"])
@pytest.mark.parametrize("p", NORMS)
def test_an_adaptive_step_reaches_the_edge_of_its_ball(adaptive, p):
    w, g = draw(30), draw(30, seed=1)
    two = torch.arange(30) < 20
    scale = w.abs() if adaptive == "davda54" else torch.where(two, w.abs() + 0.01, 1.0)
    e, _ = climbed(Ascent(norm=p, adaptive=adaptive), w, lambda _: g, matrices=two)
    # max g e over ||e / T||_p <= rho
    assert torch.linalg.vector_norm(e / scale, p).item() == pytest.approx(0.3)
    largest = 0.3 * torch.linalg.vector_norm(scale * g, dual(p))
    assert (g @ e).item() == pytest.approx(largest.item())


@pytest.mark.parametrize("adaptive", ["", "davda54"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_that_add_up(quadratic, steps, adaptive):
    w, gradient = quadratic
    scale = w.abs() if adaptive else torch.ones_like(w)
    found, read = climbed(Ascent(ascent_steps=steps, adaptive=adaptive), w, gradient)
    e = torch.zeros_like(w)
    for step in range(steps):
        if step:
            torch.testing.assert_close(read[step - 1], w + e, rtol=0, atol=1e-12)
        g = gradient(w + e)
        e = e + 0.3 / steps * scale**2 * g / (scale * g).norm()
    torch.testing.assert_close(found, e, rtol=0, atol=1e-12)
    assert len(read) == steps - 1
    assert (found / scale).norm() <= 0.3 + 1e-12


def test_projected_steps_find_the_worst_of_the_ball(quadratic):
    w, gradient = quadratic
    loss = lambda e: ((w + e) @ gradient(w + e)).item() / 2  # noqa: E731
    ascents = [Ascent(ascent_steps=n, ascent_rule="projected") for n in (1, 2, 3, 5, 300)]
    found = [climbed(ascent, w, gradient, rho=2.0)[0] for ascent in ascents]
    losses = [loss(e) for e in found]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]
    # One step is SAM's; the last ones end where the gradient points out of the ball.
    single, _ = climbed(Ascent(), w, gradient, rho=2.0)
    torch.testing.assert_close(found[0], single, rtol=0, atol=1e-12)
    worst, outward = found[-1], gradient(w + found[-1])
    assert worst.norm().item() == pytest.approx(2.0)
    assert torch.cosine_similarity(worst, outward, dim=0).item() == pytest.approx(1.0, abs=1e-12)
    # The multiplier is above the largest eigenvalue: the maximum, not another stationary point.
    hessian = torch.stack([gradient(unit) for unit in torch.eye(7).double()])
    assert outward.norm() / 2.0 > torch.linalg.eigvalsh(hessian)[-1]


@pytest.mark.parametrize("adaptive", ["davda54", "kwon2021"])
def test_adaptive_projected_steps_stay_within_their_ball(quadratic, adaptive):
    w, gradient = quadratic
    w[2] = 0.0
    two = torch.arange(7) < 4
    scale = w.abs() if adaptive == "davda54" else torch.where(two, w.abs() + 0.01, 1.0)
    ascent = Ascent(adaptive=adaptive, ascent_steps=200, ascent_rule="projected")
    e, _ = climbed(ascent, w, gradient, matrices=two)
    moving = scale > 0
    assert (e / scale)[moving].norm().item() == pytest.approx(0.3)
    assert not e[~moving].any()
    # In the coordinates e / T the gradient is T g, and points out of the ball.
    outward = (scale * gradient(w + e))[moving]
    cosine = torch.cosine_similarity((e / scale)[moving], outward, dim=0)
    assert cosine.item() == pytest.approx(1.0, abs=1e-9)


def test_a_random_direction_is_that_of_the_noise(quadratic):
    w, gradient = quadratic
    noise = draw(7, seed=5)
    e, read = climbed(Ascent(direction="random"), w, gradient, noise=noise)
    torch.testing.assert_close(e, 0.3 * noise / noise.norm(), rtol=0, atol=1e-12)
    assert not read


ALL = [
    *(Ascent(norm=p) for p in (1.0, 1.5, 2.0, math.inf)),
    *(Ascent(norm=p, adaptive="kwon2021") for p in (1.0, 1.5, 2.0, math.inf)),
    Ascent(ascent_steps=3),
    Ascent(ascent_steps=3, ascent_rule="projected", adaptive="davda54"),
    Ascent(direction="random"),
]


@pytest.mark.parametrize("ascent", ALL, ids=str)
def test_an_ascent_reads_no_number_on_the_host(ascent):
    w, g, noise = (torch.empty(70_000, device="meta") for _ in range(3))
    rho, two = torch.empty((), device="meta"), torch.empty(70_000, device="meta", dtype=bool)
    ascend(w, torch.empty_like(w), g, rho, ascent, lambda: g, two, noise)


@pytest.mark.parametrize("ascent", ALL, ids=str)
def test_an_ascent_compiles_whole(ascent):
    w, g, noise, other = (draw(50, seed=n).float() for n in range(4))
    two, rho = torch.arange(50) < 30, torch.tensor(0.2)

    def moved(w):
        w = w.clone()
        norm = ascend(w, torch.empty_like(w), g, rho, ascent, lambda: other * w, two, noise)
        return w, norm

    torch._dynamo.reset()
    compiled = torch.compile(moved, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(w), moved(w))


@pytest.mark.parametrize("rho", [0.0, torch.tensor(0.0)], ids=["number", "tensor"])
@pytest.mark.parametrize("ascent", ALL, ids=str)
def test_a_radius_of_zero_moves_nothing(ascent, rho):
    w, g = draw(20), draw(20, seed=1)
    moved = w.clone()
    two = torch.arange(20) < 10
    ascend(moved, torch.empty_like(w), g, rho, ascent, lambda: g, two, g)
    assert torch.equal(moved, w)
