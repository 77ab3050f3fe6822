"""Hooks of torch.optim on the SAM object: once a step, in both forms."""

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from samscope.optim import SAM

torch.set_num_threads(1)
FORMS = ["closure", "two calls"]


def setup(**settings):
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    return w, SAM([w], SGD, rho=0.5, lr=0.1, **settings)


def step(optimizer, w, form, loss_of=lambda w: w.square().sum() / 2):
    def closure():
        optimizer.zero_grad()
        loss_of(w).backward()

    if form == "closure":
        optimizer.step(closure)
    else:
        closure()
        optimizer.first_step()
        closure()
        optimizer.second_step()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_hooks_are_called_once_a_step(form, mix):
    w, optimizer = setup(mix=mix)
    seen = []
    optimizer.register_step_pre_hook(lambda opt, *_: seen.append(("pre", opt, w.tolist())))
    optimizer.register_step_post_hook(lambda opt, *_: seen.append(("post", opt, w.tolist())))
    at = [3.0, 4.0]
    for _ in range(2):
        seen.clear()
        step(optimizer, w, form)
        assert seen == [("pre", optimizer, at), ("post", optimizer, w.tolist())]
        assert w.tolist() != at
        at = w.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_hooks_of_all_optimizers_are_called_once_for_each(form):
    w, optimizer = setup()
    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda opt, *_: seen.append(("pre", type(opt)))),
        register_optimizer_step_post_hook(lambda opt, *_: seen.append(("post", type(opt)))),
    ]
    try:
        step(optimizer, w, form)
    finally:
        for handle in handles:
            handle.remove()
    assert seen == [("pre", SAM), ("pre", SGD), ("post", SGD), ("post", SAM)]


@pytest.mark.parametrize("form", FORMS)
def test_a_step_that_is_left_out_has_its_hooks_and_one_that_fails_the_first(form):
    w, optimizer = setup(skip_nonfinite=True)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    step(optimizer, w, form, lambda w: (w * torch.inf).sum())
    assert w.tolist() == [3.0, 4.0]
    assert seen == ["pre", "post"]
    with pytest.raises(RuntimeError):
        step(optimizer, w, form, lambda w: torch.ones(()))
    assert seen == ["pre", "post"] + ["pre"] * (form == "closure")


@pytest.mark.parametrize("form", FORMS)
def test_a_hook_of_the_base_optimizer_finds_the_update(form):
    w, optimizer = setup()
    optimizer.base_optimizer.register_step_pre_hook(lambda *_: seen.append(w.grad.clone()))
    seen = []
    step(optimizer, w, form)
    (u,) = seen
    torch.testing.assert_close(u, torch.tensor([3.3, 4.4]))


def test_hooks_of_states():
    w, optimizer = setup(momentum=0.9)
    step(optimizer, w, "closure")
    seen = []
    optimizer.register_state_dict_pre_hook(lambda opt: seen.append("before"))
    optimizer.register_state_dict_post_hook(lambda opt, state: {"wrapped": state})
    optimizer.register_load_state_dict_pre_hook(lambda opt, state: state["wrapped"])
    optimizer.register_load_state_dict_post_hook(
        lambda opt: seen.append([group["rho"] for group in opt.base_optimizer.param_groups])
    )
    state = optimizer.state_dict()
    assert list(state) == ["wrapped"]
    optimizer.param_groups[0]["rho"] = 0.25
    optimizer.load_state_dict(state)
    assert seen == ["before", [0.5]]
    bare = SGD([w], lr=0.1, momentum=0.9).state_dict()
    optimizer.param_groups[0]["rho"] = 0.75
    optimizer.load_state_dict({"wrapped": bare})
    assert seen == ["before", [0.5], [0.75]]
    assert optimizer.base_optimizer.param_groups is optimizer.param_groups
    assert optimizer.base_optimizer.state is optimizer.state
