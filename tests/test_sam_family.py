"""The ascents of the sources through the optimizer, by hand in float64, in numpy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

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


@pytest.mark.parametrize("mix", ["sam", "ckpt1"])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 0.4])
def test_friendly_sam_by_hand(sigma, adaptive, mix):
    parts, rho, lr, memory = parameters(), 0.3, 0.2, 0.8
    settings = {"friendly": sigma, "memory": memory, "adaptive": adaptive, "mix": mix}
    optimizer = SAM(parts, SGD, rho=rho, lr=lr, **settings)
    places, factors = [], [1.0]

    def closure():
        optimizer.zero_grad()
        places.append(flat(parts))
        (factors[-1] * loss_of(parts)).backward()

    w = flat(parts)
    m = np.zeros_like(w)
    for factor in (1.0, 2.0, -1.0, 3.0):
        factors.append(factor)
        g = factor * gradient(w)
        m = memory * m + (1 - memory) * g
        scale = np.abs(w) if adaptive else 1.0
        at = w + rho * scale * unit(scale * (g - sigma * m), 2)
        h = factor * gradient(at)
        w = w - lr * np.where(h / g > 1, h, g if mix == "ckpt1" else h)
        optimizer.step(closure)
        np.testing.assert_allclose(places[-1], at, rtol=0, atol=1e-11)
        np.testing.assert_allclose(flat(parts), w, rtol=0, atol=1e-11)
        w = flat(parts)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("broken", [1, 2])
def test_friendly_sam_resumes_and_forgets_a_step_that_is_left_out(broken, scaled):
    """Adam begins the state of a parameter where there is none: not after a step that was not."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None

    def begin(state=None, weights=None):
        parts = parameters()
        settings = {"friendly": 1.0, "skip_nonfinite": not scaled, "lr": 0.01}
        optimizer = SAM(parts, Adam, rho=0.3, **settings)
        if state:
            optimizer.load_state_dict(state)
            for p, w in zip(parts, weights, strict=True):
                p.data.copy_(w)
        return parts, optimizer

    def step(parts, optimizer, broken=0):
        calls = []

        def closure():
            optimizer.zero_grad()
            calls.append(1)
            loss = loss_of(parts)
            (scaler.scale(loss) if scaled else loss).backward()
            if len(calls) == broken:
                parts[0].grad[0, 0] = torch.nan

        optimizer.step(closure, scaler=scaler)
        if scaled:
            scaler.update()

    whole, other = begin(), begin()
    step(*whole, broken=broken)
    assert not whole[1].state
    for pair in (whole, whole, other, other):
        step(*pair)
    np.testing.assert_allclose(flat(whole[0]), flat(other[0]), rtol=0, atol=1e-14)
    half = begin(copy.deepcopy(whole[1].state_dict()), [p.detach().clone() for p in whole[0]])
    for pair in (whole, half):
        step(*pair, broken=broken)
        step(*pair)
    np.testing.assert_array_equal(flat(whole[0]), flat(half[0]))


def test_looksam_by_hand():
    parts, rho, lr, alpha, every = parameters(), 0.3, 0.2, 0.6, 3
    optimizer = SAM(parts, SGD, rho=rho, every=every, look=alpha, lr=lr)
    calls = []

    def closure():
        optimizer.zero_grad()
        calls.append(1)
        loss_of(parts).backward()

    w, v, passes = flat(parts), None, []
    for step in range(8):
        g = gradient(w)
        if step % every == 0:
            u = gradient(climbed(w, rho))
            v = u - np.linalg.lstsq(g[:, None], u, rcond=None)[0][0] * g
        else:
            u = g + alpha * np.linalg.norm(g) / np.linalg.norm(v) * v
        w = w - lr * u
        calls.clear()
        optimizer.step(closure)
        passes.append(len(calls))
        np.testing.assert_allclose(flat(parts), w, rtol=0, atol=1e-11)
    assert passes == [2, 1, 1, 2, 1, 1, 2, 1]


@pytest.mark.parametrize("base", [SGD, Adam])
def test_looksam_resumes_and_begins_again_after_a_skipped_ascent(base):
    def begin(state=None, weights=None):
        parts = parameters()
        optimizer = SAM(parts, base, rho=0.3, every=3, skip_nonfinite=True, lr=0.01)
        if state:
            optimizer.load_state_dict(state)
            for p, w in zip(parts, weights, strict=True):
                p.data.copy_(w)
        return parts, optimizer

    def step(parts, optimizer, broken=False):
        calls = []

        def closure():
            optimizer.zero_grad()
            calls.append(1)
            loss_of(parts).backward()
            if broken and len(calls) == 2:
                parts[0].grad[0, 0] = torch.nan

        optimizer.step(closure)
        return len(calls)

    whole = begin()
    assert [step(*whole, broken=True), step(*whole), step(*whole)] == [2, 2, 1]
    half = begin(copy.deepcopy(whole[1].state_dict()), [p.detach().clone() for p in whole[0]])
    for pair in (whole, half):
        assert [step(*pair) for _ in range(4)] == [1, 2, 1, 1]
    np.testing.assert_array_equal(flat(whole[0]), flat(half[0]))


@pytest.mark.parametrize("name", ["ascent_steps", "every"])
def test_what_is_more_than_two_passes_or_less_needs_the_closure(name):
    parts = parameters()
    optimizer = SAM(parts, SGD, lr=0.1, **{name: 2})
    loss_of(parts).backward()
    with pytest.raises(InputError, match=rf"SAM: {name}: 2 .*1 without a closure"):
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
        ("every", {"every": 0}),
        ("every", {"every": 1.5}),
        ("every", {"every": 2, "mix": "ckpt12"}),
        ("look", {"look": -1.0}),
        ("friendly", {"friendly": -1.0}),
        ("friendly", {"friendly": 1.0, "ascent_steps": 2}),
        ("friendly", {"friendly": 1.0, "direction": "random"}),
        ("every", {"every": 2, "friendly": 1.0}),
        ("memory", {"memory": 1.0}),
        ("memory", {"memory": 0}),
    ],
)
def test_ascents_that_are_none_are_refused(field, settings):
    with pytest.raises(InputError, match=rf"\A[^\n]*: {field}: [^\n]+; allowed: [^\n]+\Z"):
        SAM(parameters(), SGD, lr=0.1, **settings)
