"""Shake-Shake and ShakeDrop: the numbers of both directions, in which pass, and what repeats."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from samscope import tasks
from samscope.models.shaking import ShakeDrop, ShakeShake, true_gradient
from samscope.seeding import derive
from samscope.train.step import make_learner
from tiny_cell import tiny

COUNT = 4_000


def weights(layer, branches, true, seed=0):
    """By image: what each branch counts forward, and backward."""
    torch.manual_seed(seed)
    parts = [torch.zeros(COUNT, branches, 1, 1, requires_grad=True) for _ in range(branches)]
    for place, part in enumerate(parts):
        part.data[:, place] = 1.0  # each in a channel of its own
    with true_gradient(true):
        out = layer(*parts)
    # outside of the context, as a step is
    backward = torch.autograd.grad(out, parts, torch.ones_like(out))
    return out.detach()[:, :, 0, 0], torch.stack([b[:, 0, 0, 0] for b in backward], 1)


def test_shake_shake_mixes_by_one_number_forward_and_another_backward():
    forward, backward = weights(ShakeShake(), 2, true=False)
    alpha, beta = forward[:, 0], backward[:, 0]
    torch.testing.assert_close(forward.sum(1), torch.ones(COUNT))
    torch.testing.assert_close(backward.sum(1), torch.ones(COUNT))
    for x in (alpha, beta):  # uniform on [0, 1)
        assert x.min() >= 0
        assert x.max() < 1
        assert x.mean().item() == pytest.approx(0.5, abs=5 * 12**-0.5 / COUNT**0.5)
        assert x.var().item() == pytest.approx(1 / 12, rel=0.1)
    assert abs(torch.corrcoef(torch.stack([alpha, beta]))[0, 1]) < 5 / COUNT**0.5


def test_shake_drop_keeps_some_images_whole_and_weighs_the_others():
    forward, backward = weights(ShakeDrop(0.7), 1, true=False)
    alpha, beta = forward[:, 0], backward[:, 0]
    kept = alpha == 1
    assert torch.equal(kept, beta == 1)
    assert kept.float().mean().item() == pytest.approx(0.7, abs=5 * (0.21 / COUNT) ** 0.5)
    for x, low, high in ((alpha[~kept], -1, 1), (beta[~kept], 0, 1)):
        assert low <= x.min() < low + 0.02
        assert high - 0.02 < x.max() < high
        middle, spread = (low + high) / 2, (high - low) / 12**0.5
        assert x.mean().item() == pytest.approx(middle, abs=5 * spread / len(x) ** 0.5)


@pytest.mark.parametrize(("layer", "branches"), [(ShakeShake(), 2), (ShakeDrop(0.5), 1)])
def test_the_true_gradient_is_of_the_numbers_that_a_pass_has_anyway(layer, branches):
    shaken, other = weights(layer, branches, true=False, seed=3)
    forward, backward = weights(layer, branches, true=True, seed=3)
    torch.testing.assert_close(forward, shaken, atol=1e-6, rtol=0)
    torch.testing.assert_close(backward, forward, atol=0, rtol=0)
    assert not torch.allclose(other, shaken)
    state = torch.random.get_rng_state()
    weights(layer, branches, true=False, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)  # as many numbers drawn


def test_without_training_branches_count_by_their_expectation():
    a, b = torch.randn(2, 3, 2, 4, 4)
    assert torch.equal(ShakeShake().eval()(a, b), (a + b) / 2)
    assert torch.equal(ShakeDrop(0.75).eval()(a), 0.75 * a)


@pytest.mark.parametrize("model", ["shake8_w8", "pyramid11_w8_drop"])
@pytest.mark.parametrize(
    ("randomness", "steps", "part"),
    [("same", 1, 0), ("fresh", 1, 0), ("same", 2, 0), ("same", 2, 30)],
)
def test_what_climbs_is_the_true_gradient_and_what_descends_is_shaken(
    model, randomness, steps, part, data_dir
):
    """Also where the whole mini-batch is one part of m-sharpness."""
    ascent = {"randomness": randomness, "ascent_steps": steps, "micro_batch": part}
    sized = {"batch_size": 30, "drop_last": True}
    cell = tiny(model=model, variant="sam", rho=0.1, **sized, **ascent)
    splits = tasks.load(cell.task, data_dir)
    learner = make_learner(cell, 0, splits)
    images, labels = torch.rand(30, 1, 8, 8), torch.arange(30) % 10
    parameters, start = list(learner.model.parameters()), learner.w.clone()
    learner.model.train()
    learner.draw(0, 5)
    learner.step((images,), labels)
    g, h = learner.observer.g.clone(), learner.observer.h.clone()

    def gradient(w, true):
        learner.w.copy_(w)
        with true_gradient(true):
            loss = cross_entropy(learner.model(images), labels)
        return torch.cat([p.flatten() for p in torch.autograd.grad(loss, parameters)])

    torch.default_generator.manual_seed(derive(0, "layers", 5))
    expected = gradient(start, true=True)
    torch.testing.assert_close(g, expected, atol=1e-6 if part else 0, rtol=1e-5 if part else 0)
    raised = start + 0.1 / steps * g / g.norm()
    for _ in range(steps - 1):
        torch.default_generator.manual_seed(derive(0, "layers", 5))
        step = gradient(raised, true=True)
        raised += 0.1 / steps * step / step.norm()
    if randomness == "same":
        torch.default_generator.manual_seed(derive(0, "layers", 5))
    torch.testing.assert_close(h, gradient(raised, true=False), atol=1e-5, rtol=1e-4)


def test_sgd_is_shaken(data_dir):
    cell = tiny(model="shake8_w8", variant="sgd", rho=None)
    learner = make_learner(cell, 0, tasks.load(cell.task, data_dir))
    images, labels = torch.rand(30, 1, 8, 8), torch.arange(30) % 10
    learner.model.train()
    learner.draw(0, 0)
    torch.default_generator.manual_seed(derive(0, "layers", 0))
    loss = cross_entropy(learner.model(images), labels)
    parts = torch.autograd.grad(loss, list(learner.model.parameters()))
    learner.draw(0, 0)
    learner.step((images,), labels)
    assert torch.equal(learner.observer.g, torch.cat([p.flatten() for p in parts]))


def test_compiled_code_knows_which_gradient_is_meant():
    layer = ShakeShake()
    layer.forward = torch.compile(layer.forward, backend="eager", fullgraph=True)
    for true in (True, False, True):
        forward, backward = weights(layer, 2, true)
        assert torch.equal(forward, backward) == true
