import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from samscope.errors import InputError
from samscope.optim import SAM, Mix, Scaling

torch.set_num_threads(1)  # on a busy machine two threads are ten times slower than one

SETS = ["".join(s) for n in (1, 2, 3, 4) for s in itertools.combinations("1234", n)]
FORMS = ("ckpt{}", "ckpt{}-magnitude", "sameckpt{}")
NAMES = ["sgd", "sam", "direction", "magnitude", *(f.format(s) for f in FORMS for s in SETS)]
SHAPES = ((5, 7), (7,), (7, 3))


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def loss_of(parts):
    """The loss of a small smooth network (no exact zeros in its gradients)."""
    a, b, c = parts
    logits = torch.tanh(draw(16, 5, seed=1).to(a) @ a + b) @ c
    return nn.functional.cross_entropy(logits, torch.arange(16) % 3)


def parameters(dtype=torch.float64):
    return [nn.Parameter((draw(*shape, seed=n) / 2).to(dtype)) for n, shape in enumerate(SHAPES)]


def flat(parts):
    return torch.cat([p.detach().flatten() for p in parts])


def closure_of(optimizer, parts, loss_of=loss_of):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(parts)
        loss.backward()
        return loss

    return closure


def by_hand(name, condition, steps, rho, lr, momentum, weight_decay):
    """The protocol of the sources on one flat float64 vector, in numpy, with their division."""
    w, v = flat(parameters()).numpy(), 0.0

    def gradient(at):
        at = torch.from_numpy(at).requires_grad_()
        pieces = at.split([torch.Size(shape).numel() for shape in SHAPES])
        loss = loss_of([p.view(shape) for p, shape in zip(pieces, SHAPES, strict=True)])
        return torch.autograd.grad(loss, at)[0].numpy()

    for _ in range(steps):
        g = gradient(w)
        h = gradient(w + rho * g / (np.sqrt(np.sum(g * g)) + 1e-12))
        r = h / (g + 1e-8)
        masks = {"1": r > 1, "2": (r > 0) & (r < 1), "3": r < -1, "4": (r < 0) & (r > -1)}
        inside = np.any([masks[digit] for digit in name if digit.isdigit()] or [r != r], axis=0)
        direction = np.sign(h) * np.abs(g)
        if name.startswith("sameckpt"):
            u = condition * h * inside + h * ~inside
        elif name.startswith("ckpt"):
            u = np.where(inside, h, direction if name.endswith("-magnitude") else g)
        else:
            magnitude = np.sign(g) * np.abs(h)
            u = {"sgd": g, "sam": h, "direction": direction, "magnitude": magnitude}[name]
        v = momentum * v + (u + weight_decay * w)
        w = w - lr * v
    return torch.from_numpy(w)


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_are_those_of_the_protocol(name):
    condition = 0.3 if name.startswith("same") else None
    settings = {"rho": 0.3, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    parts = parameters()
    optimizer = SAM(parts, SGD, mix=name, condition=condition, **settings)
    for _ in range(20):
        optimizer.step(closure_of(optimizer, parts))
    expected = by_hand(name, condition, 20, **settings)
    torch.testing.assert_close(flat(parts), expected, rtol=0, atol=1e-12)


def test_the_step_on_a_quadratic_has_a_closed_form():
    root = draw(6, 6)
    hessian, start = root @ root.T, draw(6, seed=1)
    w = nn.Parameter(start.clone())
    optimizer = SAM([w], SGD, rho=0.2, counts=True, lr=0.01, weight_decay=0.1)
    loss = optimizer.step(closure_of(optimizer, [w], lambda p: p[0] @ hessian @ p[0] / 2))
    g = hessian @ start
    h = hessian @ (start + 0.2 * g / g.norm())
    assert loss.item() == pytest.approx((start @ g / 2).item())
    torch.testing.assert_close(w.data, start - 0.01 * (h + 0.1 * start), rtol=0, atol=1e-12)
    torch.testing.assert_close(optimizer.norms, (g.norm(), h.norm()))
    assert optimizer.counts.sum() == 6


@pytest.mark.parametrize(("mix", "rho"), [("sgd", 0.2), ("sam", 0.0), ("ckpt12", 0.0)])
def test_without_a_perturbation_it_is_the_base_optimizer_bit_for_bit(mix, rho):
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    sam = SAM(ours, SGD, rho=rho, mix=mix, counts=True, **settings)
    sgd = SGD(theirs, **settings)
    calls = []
    for _ in range(10):
        sam.step(closure_of(sam, ours, lambda parts: calls.append(1) or loss_of(parts)))
        sgd.step(closure_of(sgd, theirs))
    assert torch.equal(flat(ours), flat(theirs))
    assert len(calls) == (10 if mix == "sgd" else 20)
    assert (sam.counts is None) == (mix == "sgd")


def test_two_calls_are_the_closure_step():
    one, two = parameters(), parameters()
    first, second = (SAM(p, SGD, rho=0.3, mix="ckpt1", lr=0.1) for p in (one, two))
    for _ in range(3):
        first.step(closure_of(first, one))
        loss_of(two).backward()
        second.first_step(zero_grad=True)
        with pytest.raises(RuntimeError, match="before second_step or abort"):
            second.first_step()
        loss_of(two).backward()
        second.second_step(zero_grad=True)
        assert all(p.grad is None for p in two)
    assert torch.equal(flat(one), flat(two))
    with pytest.raises(RuntimeError, match="without first_step"):
        second.second_step()


def test_epsilon_reaches_the_regions():
    w = nn.Parameter(torch.zeros(2))
    optimizer = SAM([w], SGD, rho=1.0, counts=True, lr=0.1, epsilon=1e-8)
    gradients = iter([torch.tensor([0.0, 1.0]), torch.tensor([1e-9, 2.0])])

    def closure():
        w.grad = next(gradients)

    optimizer.step(closure)
    assert optimizer.counts.tolist() == [1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("mix", ["sam", "ckpt1"])
@pytest.mark.parametrize("passes", [(1, 2), (1,), (2,), ()])
def test_weights_come_back_bit_for_bit_at_learning_rate_zero(mix, passes, counts):
    parts = parameters(torch.float32)
    before, places = flat(parts), [p.data_ptr() for p in parts]
    settings = {"lr": 0.0, "momentum": 0.9, "weight_decay": 1e-3}
    optimizer = SAM(parts, SGD, rho=0.7, mix=mix, counts=counts, **settings)
    for _ in range(3):
        calls, moved = itertools.count(1), []

        def loss(parts, calls=calls, moved=moved):
            moved.append(not torch.equal(flat(parts), before))
            a, b, c = parts
            return loss_of([a, b if next(calls) in passes else b.detach(), c])

        optimizer.step(closure_of(optimizer, parts, loss))
        assert moved == [False, True]
        assert torch.equal(flat(parts), before)
        if counts:
            assert optimizer.counts.sum() == sum(p.numel() for p in parts if p.grad is not None)
    assert [p.data_ptr() for p in parts] == places
    # What has g alone: a mix makes do with it, SAM has no use for it.
    assert (parts[1].grad is None) == (passes == () or (passes == (1,) and mix == "sam"))


@pytest.mark.parametrize("mix", ["sam", "ckpt34", "ckpt1-magnitude", "magnitude"])
@pytest.mark.parametrize("only", [0, 1])
def test_a_gradient_of_one_pass_alone_stands_for_both(mix, only):
    w, other = nn.Parameter(torch.tensor([1.0, -2.0, 3.0])), nn.Parameter(torch.zeros(1))
    optimizer = SAM([w, other], SGD, rho=0.1, mix=mix, counts=True, lr=0.5)
    gradients = [None, None]
    gradients[only] = torch.tensor([2.0, 4.0, -6.0])
    source = iter(gradients)

    def closure():
        w.grad, other.grad = next(source), torch.ones(1)

    optimizer.step(closure)
    if mix == "sam" and only == 0:
        assert w.tolist() == [1.0, -2.0, 3.0]
        assert optimizer.counts.tolist() == [0, 0, 0, 0, 1, 0, 0]
    else:
        assert w.tolist() == [0.0, -4.0, 6.0]
        assert optimizer.counts.tolist() == [0, 0, 0, 0, 4, 0, 0]


def test_a_zero_gradient_perturbs_nothing():
    w = nn.Parameter(torch.tensor([1.0, -0.0]))
    optimizer = SAM([w], SGD, rho=0.5, counts=True, lr=0.1)
    optimizer.step(closure_of(optimizer, [w], lambda parts: 0 * parts[0].sum()))
    assert w.tolist() == [1.0, 0.0]
    assert optimizer.counts.tolist() == [0, 0, 0, 0, 0, 2, 0]


def test_an_error_in_the_second_pass_leaves_the_weights_restored():
    parts = parameters()
    optimizer = SAM(parts, SGD, rho=0.5, lr=0.1)
    losses = iter([loss_of])  # none for the second pass
    with pytest.raises(StopIteration):
        optimizer.step(closure_of(optimizer, parts, lambda parts: next(losses)(parts)))
    assert torch.equal(flat(parts), flat(parameters()))
    optimizer.step(closure_of(optimizer, parts))


@pytest.mark.parametrize("mix", ["sgd", "sam", "ckpt12"])
def test_a_closure_without_backward_is_refused(mix):
    parts = parameters()
    optimizer = SAM(parts, SGD, rho=0.5, mix=mix, lr=0.1)
    with pytest.raises(InputError, match="SAM: closure: no gradient of any parameter"):
        optimizer.step(lambda: loss_of(parts))
    assert torch.equal(flat(parts), flat(parameters()))
    optimizer.step(closure_of(optimizer, parts))
    assert not torch.equal(flat(parts), flat(parameters()))


@pytest.mark.parametrize("base", [SGD(parameters(), lr=0.1), "sgd", None])
def test_a_base_optimizer_that_is_no_class_is_refused(base):
    with pytest.raises(InputError, match=r"SAM: base_optimizer: a .*such as torch\.optim"):
        SAM(parameters(), base, rho=0.1)


@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_a_resumed_run_is_the_uninterrupted_one(mix):
    def start():
        parts = parameters(torch.float32)
        optimizer = SAM(parts, SGD, rho=0.2, mix=mix, lr=0.1, momentum=0.9, weight_decay=1e-3)
        return parts, optimizer, CosineAnnealingLR(optimizer, 10)

    def train(parts, optimizer, scheduler, steps):
        for _ in range(steps):
            optimizer.step(closure_of(optimizer, parts))
            scheduler.step()

    whole, half, rest = start(), start(), start()
    train(*whole, 10)
    train(*half, 5)
    with torch.no_grad():
        for old, new in zip(half[0], rest[0], strict=True):
            new.copy_(old)
    for old, new in zip(half[1:], rest[1:], strict=True):
        new.load_state_dict(old.state_dict())
    train(*rest, 5)
    assert (flat(rest[0]) - flat(whole[0])).abs().max() == 0.0
    assert (flat(half[0]) - flat(whole[0])).abs().max() > 0.0


def test_groups_share_the_norm_and_have_their_own_rho():
    a, b = (nn.Parameter(draw(3, seed=n)) for n in range(2))
    optimizer = SAM([{"params": [a], "rho": 2.0}], SGD, rho=0.5, lr=0.1)
    with pytest.raises(InputError, match="rho: -1 is not allowed"):
        optimizer.add_param_group({"params": [b], "rho": -1})
    optimizer.add_param_group({"params": [b]})
    starts, seen = (a.detach().clone(), b.detach().clone()), []

    def loss(parts):
        seen.append([p.detach().clone() for p in parts])
        return (parts[0] ** 2).sum() / 2 + 3 * parts[1].sum()

    optimizer.step(closure_of(optimizer, [a, b], loss))
    g = (starts[0], torch.full((3,), 3.0, dtype=torch.float64))
    norm = torch.cat(g).norm()
    for w, start, gradient, rho in zip(seen[1], starts, g, (2.0, 0.5), strict=True):
        torch.testing.assert_close(w, start + rho * gradient / norm, rtol=0, atol=1e-12)
    torch.testing.assert_close(b.data, starts[1] - 0.1 * g[1])  # the base optimizer has it too


@pytest.mark.parametrize(
    ("adaptive", "scale_of"),
    [
        (False, torch.ones_like),
        (True, torch.abs),
        ("davda54", torch.abs),
        ("kwon2021", lambda w: w.abs() + 0.01 if w.ndim > 1 else torch.ones_like(w)),
        (Scaling(eta=0.5, matrices_only=False), lambda w: w.abs() + 0.5),
    ],
)
def test_the_adaptive_forms(adaptive, scale_of):
    parts, seen = parameters(), []
    optimizer = SAM(parts, SGD, rho=0.4, adaptive=adaptive, counts=True, lr=0.1)
    loss = closure_of(optimizer, parts, lambda p: seen.append(flat(p)) or loss_of(p))
    optimizer.step(loss)
    start = parameters()
    loss_of(start).backward()
    g, t = flat([p.grad for p in start]), flat([scale_of(p) for p in start])
    expected = flat(start) + 0.4 * t**2 * g / (t * g).norm()
    torch.testing.assert_close(seen[1], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(optimizer.norms[0], g.norm())


def test_a_scheduler_reaches_the_base_optimizer():
    w = nn.Parameter(torch.zeros(1))
    optimizer = SAM([w], SGD, rho=0.0, lr=1.0)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    for expected in (-1.0, -1.5, -1.75):
        optimizer.step(closure_of(optimizer, [w], lambda parts: parts[0].sum()))
        scheduler.step()
        assert w.item() == expected


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("rho", {"rho": -0.1}),
        ("rho", {"rho": float("nan")}),
        ("rho", {"rho": "big"}),
        ("epsilon", {"epsilon": float("inf")}),
        ("adaptive", {"adaptive": 1.5}),
        ("clip", {"clip": -1}),
        ("norm", {"norm": 0.5}),
        ("ascent_rule", {"ascent_rule": "largest"}),
        ("adaptive", {"adaptive": "asam"}),
        ("variant", {"mix": "ckpt21"}),
        ("condition", {"mix": "sameckpt3"}),
        ("condition", {"mix": Mix("h", [(1, 0, 0, 0)] * 4, (1, 0, 0, 0)), "condition": 0.1}),
    ],
)
def test_a_bad_argument_is_told_in_one_line(field, arguments):
    with pytest.raises(InputError, match=rf"\A[^\n]*: {field}: [^\n]+; allowed: [^\n]+\Z"):
        SAM(parameters(), SGD, lr=0.1, **arguments)
