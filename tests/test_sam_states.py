"""What is kept from step to step, when it is replaced, cast, copied or met amid a step."""

import copy
import io
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from samscope.optim import SAM

torch.set_num_threads(1)
KEPT = [{}, {"mix": "ckpt12"}, {"every": 2}, {"friendly": 1.0}, {"gap": 0.5}, {"adaptive": True}]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def step(model, optimizer):
    def closure():
        optimizer.zero_grad()
        x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
        loss = model(x.to(model[0].weight.dtype)).square().mean()
        loss.backward()
        return loss

    return optimizer.step(closure)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("settings", KEPT, ids=str)
@pytest.mark.parametrize("base", [SGD, Adam])
def test_training_goes_on_in_another_dtype(base, settings):
    found = []
    for dtype in (torch.float64, torch.float32):
        model = network()
        optimizer = SAM(model.parameters(), base, rho=0.1, lr=0.01, **settings)
        for _ in range(3):
            step(model, optimizer)
        model.to(dtype)
        if base is Adam:  # moves its own state with a state dict alone
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for _ in range(3):
            step(model, optimizer)
        found.append(flat(model).double())
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mix", ["sgd", "sam"])
def test_a_step_within_another_is_refused(mix):
    model = network()
    optimizer = SAM(model.parameters(), SGD, rho=0.5, mix=mix, lr=0.1)
    before = flat(model)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.first_step()
    for begin in (lambda: step(model, optimizer), optimizer.first_step):
        with pytest.raises(RuntimeError, match="before second_step or abort"):
            begin()
    optimizer.abort()
    assert torch.equal(flat(model), before)
    step(model, optimizer)
    assert not torch.equal(flat(model), before)


def test_a_state_that_is_replaced_is_the_base_optimizers():
    """As in the ways to begin anew that are written for torch.optim."""
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1, momentum=0.9)
    step(model, optimizer)
    optimizer.state = defaultdict(dict)
    step(model, optimizer)
    for p in model.parameters():
        assert torch.equal(optimizer.base_optimizer.state[p]["momentum_buffer"], p.grad)
    assert optimizer.state_dict()["state"]


def test_groups_that_are_replaced_are_the_base_optimizers():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    optimizer.param_groups = [{**group, "lr": 0.0} for group in optimizer.param_groups]
    before = flat(model)
    step(model, optimizer)
    assert torch.equal(flat(model), before)


def test_a_step_without_two_gradients_counts_nothing():
    model = network()
    optimizer = SAM(model.parameters(), SGD, counts=True, skip_nonfinite=True, every=2, lr=0.1)
    size = sum(p.numel() for p in model.parameters())
    assert optimizer.counts is None
    step(model, optimizer)
    assert optimizer.counts.sum() == size
    step(model, optimizer)
    assert optimizer.counts is optimizer.norms is None
    step(model, optimizer)
    assert optimizer.counts.sum() == size
    optimizer = SAM(model.parameters(), SGD, counts=True, skip_nonfinite=True, lr=0.1)
    step(model, optimizer)
    model[0].weight.data[0, 0] = torch.nan
    step(model, optimizer)
    assert optimizer.counts is optimizer.norms is None


def test_what_is_counted_stays_with_the_parameters():
    """Wherever new tensors are made by default."""
    model = network()
    optimizer = SAM(model.parameters(), SGD, mix="ckpt12", counts=True, lr=0.1)
    with torch.device("meta"):
        model(torch.ones(2, 4, device="cpu")).square().sum().backward()
        optimizer.first_step()
        model(torch.ones(2, 4, device="cpu")).square().sum().backward()
        optimizer.second_step()
    assert optimizer.counts.sum() == sum(p.numel() for p in model.parameters())


def test_a_state_with_any_rho_is_read_as_weights_alone():
    model, file = network(), io.BytesIO()
    groups = [{"params": model[0].parameters(), "rho": np.float32(0.25)}]
    optimizer = SAM(groups, SGD, rho=np.float64(0.1), lr=0.1)
    optimizer.add_param_group({"params": model[2].parameters()})
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert [group["rho"] for group in state["param_groups"]] == [0.25, 0.1]
