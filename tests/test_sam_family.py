"""The ascents of the sources through the optimizer, by hand in float64, in numpy."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from samscope.errors import InputError
from samscope.optim import SAM, Scaling

torch.set_num_threads(1)
SHAPES = ((4, 6), (6,), (6, 3))


def parameters():
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(s, dtype=torch.float64, generator=generator) / 2 for s in SHAPES]
    return [nn.Parameter(p) for p in draw]


def loss_of(parts):
    a, b, c = parts
    x = torch.randn(16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return nn.functional.cross_entropy(torch.tanh(x @ a + b) @ c, torch.arange(16) % 3)


def flat(parts):
    return torch.cat([p.detach().flatten() for p in parts]).numpy()


def gradient(at):
    at = torch.from_numpy(at).requires_grad_()
    pieces = at.split([torch.Size(shape).numel() for shape in SHAPES])
    loss = loss_of([p.view(shape) for p, shape in zip(pieces, SHAPES, strict=True)])
    return torch.autograd.grad(loss, at)[0].numpy()


def unit(x, p):
    """Of p-norm 1, along x as far as can be."""
    if p == np.inf:
        return np.sign(x)
    q = p / (p - 1)
    return np.sign(x) * np.abs(x) ** (q - 1) / np.sum(np.abs(x) ** q) ** (1 / p)


def climbed(w, rho, norm=2.0, steps=1, rule="sum", scale=1.0):
    """Where the last gradient is taken."""
    reached = np.zeros_like(w)
    for _ in range(steps):
        length = rho if rule == "projected" else rho / steps
        reached = reached + length * unit(scale * gradient(w + scale * reached), norm)
        if rule == "projected":
            reached = reached * min(1.0, rho / np.linalg.norm(reached))
    return w + scale * reached


FORMS = [
    {"norm": np.inf},
    {"norm": 1.5},
    {"norm": 4.0},
    {"ascent_steps": 3},
    {"ascent_steps": 2, "norm": np.inf},
    {"ascent_steps": 3, "ascent_rule": "projected"},
]


@pytest.mark.parametrize("adaptive", [False, True, "kwon2021"])
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("mix", ["sam", "ckpt1"])
def test_ascents_by_hand(form, adaptive, mix):
    parts, rho, lr = parameters(), 0.3, 0.2
    optimizer = SAM(parts, SGD, rho=rho, mix=mix, adaptive=adaptive, lr=lr, **form)
    calls = []

    def closure():
        optimizer.zero_grad()
        calls.append(flat(parts))
        loss = loss_of(parts)
        loss.backward()
        return loss

    w = flat(parts)
    for _ in range(3):
        scale = np.ones_like(w) if adaptive is False else np.abs(w)
        if adaptive == "kwon2021":
            two = np.concatenate([np.full(np.prod(s), len(s) > 1) for s in SHAPES])
            scale = np.where(two, np.abs(w) + 0.01, 1.0)
        names = {"norm": "norm", "ascent_steps": "steps", "ascent_rule": "rule"}
        at = climbed(w, rho, scale=scale, **{names[k]: v for k, v in form.items()})
        calls.clear()
        optimizer.step(closure)
        assert len(calls) == form.get("ascent_steps", 1) + 1
        np.testing.assert_allclose(calls[-1], at, rtol=0, atol=1e-11)
        g, h = gradient(w), gradient(at)
        w = w - lr * np.where(h / g > 1, h, g if mix == "ckpt1" else h)
        np.testing.assert_allclose(flat(parts), w, rtol=0, atol=1e-11)
        w = flat(parts)


@pytest.mark.parametrize("form", ["closure", "two calls"])
def test_a_random_ascent_ends_on_the_sphere(form):
    parts, places = parameters(), []
    optimizer = SAM(parts, SGD, rho=0.3, direction="random", lr=0.0)
    start = flat(parts)

    def closure():
        optimizer.zero_grad()
        places.append(flat(parts))
        loss_of(parts).backward()

    torch.manual_seed(3)
    for _ in range(2):
        if form == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.first_step()
            closure()
            optimizer.second_step()
    first, second = places[1] - start, places[3] - start
    assert np.linalg.norm(first) == pytest.approx(0.3)
    assert np.linalg.norm(second) == pytest.approx(0.3)
    assert abs(first @ second) < 0.5 * 0.09
    assert abs(first @ gradient(start)) < 0.5 * 0.3 * np.linalg.norm(gradient(start))
    np.testing.assert_array_equal(flat(parts), start)


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_gsam_by_hand(clip):
    parts, rho, lr, alpha = parameters(), 0.3, 0.2, 0.7
    optimizer = SAM(parts, SGD, rho=rho, gap=alpha, clip=clip, counts=True, lr=lr)

    def closure():
        optimizer.zero_grad()
        loss_of(parts).backward()

    w = flat(parts)
    for _ in range(3):
        g = gradient(w)
        h = gradient(climbed(w, rho))
        along = np.linalg.lstsq(h[:, None], g, rcond=None)[0][0] * h
        u = h - alpha * (g - along)
        assert abs((g - along) @ h) < 1e-12 < np.linalg.norm(g - along)
        if clip:
            u = u * min(1.0, clip / np.linalg.norm(u))
        w = w - lr * u
        optimizer.step(closure)
        np.testing.assert_allclose(flat(parts), w, rtol=0, atol=1e-11)
        ratio = h / g
        assert optimizer.counts[0] == np.sum(ratio > 1)
        assert optimizer.counts[1] == np.sum((ratio > 0) & (ratio < 1))
        w = flat(parts)


def test_several_steps_need_the_closure():
    parts = parameters()
    optimizer = SAM(parts, SGD, ascent_steps=2, lr=0.1)
    loss_of(parts).backward()
    with pytest.raises(InputError, match=r"SAM: ascent_steps: 2 .*1 without a closure"):
        optimizer.first_step()


def test_an_error_on_the_way_up_leaves_w():
    parts = parameters()
    optimizer = SAM(parts, SGD, rho=0.3, ascent_steps=3, lr=0.1)
    losses = iter([loss_of, loss_of])

    def closure():
        optimizer.zero_grad()
        next(losses)(parts).backward()

    with pytest.raises(StopIteration):
        optimizer.step(closure)
    np.testing.assert_array_equal(flat(parts), flat(parameters()))


def test_groups_with_a_rho_each_have_sams_own_ascent_alone():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [a], "rho": 0.1}, {"params": [b]}]
    optimizer = SAM(groups, SGD, norm=np.inf, lr=0.1)
    (a.sum() + b.sum()).backward()
    with pytest.raises(InputError, match=r"SAM: rho: \[0.05, 0.1\] .*one for all groups"):
        optimizer.first_step()
    assert torch.equal(a, torch.ones(2))


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("adaptive", {"adaptive": Scaling(eta=0.5, matrices_only=False), "ascent_steps": 2}),
        ("adaptive", {"adaptive": True, "direction": "random"}),
        ("norm", {"norm": 4.0, "ascent_rule": "projected"}),
        ("ascent_steps", {"ascent_steps": 0}),
        ("direction", {"direction": "down"}),
        ("gap", {"gap": 0.5, "mix": "ckpt12"}),
        ("gap", {"gap": -0.5}),
    ],
)
def test_ascents_that_are_none_are_refused(field, settings):
    with pytest.raises(InputError, match=rf"\A[^\n]*: {field}: [^\n]+; allowed: [^\n]+\Z"):
        SAM(parameters(), SGD, lr=0.1, **settings)
