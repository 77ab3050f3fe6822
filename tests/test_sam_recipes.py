"""What the page on the optimizer has as a recipe: each is what it says, by hand in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from samscope.optim import SAM, batchnorm_frozen

torch.set_num_threads(1)
PAGE = (Path(__file__).parents[1] / "docs" / "optimizer.md").read_text()
RHO, LR = 0.3, 0.2


def recipe(name):
    """The function of this name on the page."""
    start = PAGE.index(f"def {name}(")
    space = {"torch": torch, "cross_entropy": cross_entropy, "batchnorm_frozen": batchnorm_frozen}
    space["functional_call"] = torch.func.functional_call
    exec(PAGE[start : PAGE.index("\n\n\n", start)], space)
    return space[name]


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return model, torch.randn(12, 4).double(), torch.arange(12) % 3


def flat(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def loss_at(model, w, x, y):
    named, place, values = dict(model.named_parameters()), 0, {}
    for name, p in named.items():
        values[name] = w[place : place + p.numel()].view_as(p)
        place += p.numel()
    return cross_entropy(torch.func.functional_call(model, values, (x,)), y)


def gradient(model, w, x, y):
    w = w.clone().requires_grad_()
    return torch.autograd.grad(loss_at(model, w, x, y), w)[0]


def climbed(model, w, x, y):
    g = gradient(model, w, x, y)
    return w + RHO * g / g.norm()


@pytest.mark.parametrize("m", [4, 5, 12])
def test_the_parts_of_a_batch_climb_on_their_own(m):
    model, x, y = problem()
    optimizer = SAM(model.parameters(), SGD, rho=RHO, model=model, lr=LR)
    scheduler, step = StepLR(optimizer, 1, gamma=0.5), recipe("step_in_parts")
    lr, w = LR, flat(model)
    for _ in range(3):
        h = torch.zeros_like(w)
        for some_x, some_y in zip(x.split(m), y.split(m), strict=True):
            at = climbed(model, w, some_x, some_y)
            h += gradient(model, at, some_x, some_y) * len(some_y) / len(y)
        w = w - lr * h
        step(model, optimizer, x, y, m)
        scheduler.step()
        lr /= 2
        torch.testing.assert_close(flat(model), w, rtol=0, atol=1e-12)
    whole = climbed(model, flat(problem()[0]), x, y)
    parts = climbed(model, flat(problem()[0]), x[:m], y[:m])
    assert m == 12 or (whole - parts).norm() > 0.05  # or there was nothing to tell apart


def test_the_gradient_of_second_order_is_that_of_the_loss_at_the_top():
    model, x, y = problem()
    w = flat(model)
    recipe("loss_at_the_top")(model, x, y, RHO).backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters()])

    def top(w):
        return loss_at(model, climbed(model, w, x, y), x, y).item()

    by_differences = np.array([
        (top(w + 1e-5 * unit) - top(w - 1e-5 * unit)) / 2e-5 for unit in torch.eye(len(w)).double()
    ])  # fmt: skip
    np.testing.assert_allclose(found.numpy(), by_differences, rtol=0, atol=1e-8)
    first_order = gradient(model, climbed(model, w, x, y), x, y)
    assert (found - first_order).norm() > 1e-2 * found.norm()
