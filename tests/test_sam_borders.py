"""SAM at the borders of what it is: settings and states that come in by another door."""

import copy

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import SGD, AdamW

from samscope.errors import InputError
from samscope.optim import SAM
from test_sam_use import closure_of, loss_of, network, same, values

torch.set_num_threads(1)


@pytest.mark.parametrize("zeroed", ["nowhere", "before"])
def test_gradients_from_before_a_step_are_no_part_of_it(zeroed):
    """Of a closure that zeroes none, called after a backward pass as davda54's readme has it."""
    models = [network(), network()]
    settings = {"rho": 0.5, "mix": "ckpt12", "counts": True, "lr": 0.1}
    own, plain = (SAM(m.parameters(), SGD, **settings) for m in models)

    def closure():
        loss = loss_of(models[0])
        loss.backward()
        return loss

    for _ in range(3):
        if zeroed == "before":
            own.zero_grad()
        loss_of(models[0]).backward()
        own.step(closure)
        plain.step(closure_of(plain, models[1]))
        assert torch.equal(own.counts, plain.counts)
        assert same(values(models[0]), values(models[1]))


@pytest.mark.parametrize("passed", [True, False], ids=["closure", "without"])
def test_a_step_by_the_scaler_is_refused_and_one_with_it_is_not(passed):
    """Its closure's gradients would go unscaled: the weights moved by hundreds."""
    model = network()
    optimizer, scaler = SAM(model.parameters(), SGD, lr=0.1), torch.amp.GradScaler("cpu")

    def closure():
        loss = loss_of(model)
        scaler.scale(loss).backward()
        return loss

    before = values(model)
    closure()
    with pytest.raises(InputError, match=r"scaler: scaler\.step\(optimizer\) is not allowed; .*"):
        scaler.step(optimizer, *[closure] * passed)
    assert same(before, values(model))
    scaler.update()
    optimizer.step(closure, scaler=scaler)
    scaler.update()
    assert not same(before, values(model))
    off = torch.amp.GradScaler("cpu", enabled=False)
    off.step(optimizer, closure_of(optimizer, model))


def test_inference_mode_is_refused():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    with torch.inference_mode():
        made_inside = network()
        with pytest.raises(InputError, match=r"step: torch\.inference_mode"):
            optimizer.step(closure_of(optimizer, model))
    with pytest.raises(InputError, match=r"params: a parameter made in torch\.inference_mode"):
        SAM(made_inside.parameters(), SGD, lr=0.1)


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_twice_is_refused():
    """Of layers that share it, say; e would be taken twice."""
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    with pytest.raises(InputError, match="params: a parameter twice"):
        SAM([*first.parameters(), *second.parameters()], SGD, lr=0.1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mix": "ckpt12"}, "mix of a group: ckpt12 is not allowed; allowed: an argument of SAM"),
        ({"clip": 1.0}, "clip of a group: 1.0 is not"),
        ({"adaptive": True}, "adaptive of a group: True is not allowed; allowed: what SAM has"),
    ],
)
def test_a_group_with_what_is_one_for_all_is_refused(settings, told):
    first, second = network(), network()
    groups = [{"params": [*first.parameters()]}, {"params": [*second.parameters()], **settings}]
    with pytest.raises(InputError, match=told):
        SAM(groups, SGD, lr=0.1)
    SAM(groups[:1], SGD, lr=0.1).add_param_group({"params": [*second.parameters()], "rho": 0.1})


def test_an_option_of_that_name_may_be_the_base_optimizers():
    class Clipped(SGD):
        def __init__(self, params, lr, clip=None):
            super().__init__(params, lr)
            self.defaults["clip"] = clip
            for group in self.param_groups:
                group.setdefault("clip", clip)

    optimizer = SAM([{"params": network().parameters(), "clip": 2.0}], Clipped, lr=0.1)
    assert optimizer.param_groups[0]["clip"] == 2.0


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_state_of_another_sam_says_whether_it_is_adaptive(adaptive):
    """As those of davda54's do; one that is adaptive would go on as one that is not."""
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    state = optimizer.state_dict()
    state["param_groups"][0]["adaptive"] = adaptive
    if adaptive:
        with pytest.raises(InputError, match="adaptive of a group: True"):
            optimizer.load_state_dict(state)
        return
    optimizer.load_state_dict(state)
    optimizer.step(closure_of(optimizer, model))


@pytest.mark.parametrize("door", ["group", "state"])
def test_a_loss_to_be_made_large_is_refused_by_every_door(door):
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    if door == "group":
        optimizer.param_groups[0]["maximize"] = True
    else:
        optimizer.load_state_dict(SGD(model.parameters(), lr=0.1, maximize=True).state_dict())
    before = values(model)
    with pytest.raises(InputError, match="maximize: True"):
        optimizer.step(closure_of(optimizer, model))
    assert same(before, values(model))


def test_what_is_loaded_into_the_base_optimizer_is_in_sam():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1, momentum=0.9)
    optimizer.step(closure_of(optimizer, model))
    kept = copy.deepcopy(optimizer.base_optimizer.state_dict())
    optimizer.step(closure_of(optimizer, model))
    optimizer.base_optimizer.load_state_dict(kept)
    found = optimizer.state_dict()["state"]
    for index, state in kept["state"].items():
        assert torch.equal(found[index]["momentum_buffer"], state["momentum_buffer"])
    assert optimizer.param_groups is optimizer.base_optimizer.param_groups
    optimizer.base_optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    optimizer.step(closure_of(optimizer, model))
    assert [group["rho"] for group in optimizer.param_groups] == [0.05, 0.05]


def test_distributed_checkpoints_take_the_base_optimizer():
    """They make the first step of a new optimizer themselves, without a closure."""
    model, other = network(), network()
    optimizer = SAM(model.parameters(), AdamW, rho=0.2, lr=0.1)
    optimizer.step(closure_of(optimizer, model))
    state = copy.deepcopy(get_optimizer_state_dict(model, optimizer.base_optimizer))
    resumed = SAM(other.parameters(), AdamW, rho=0.1, lr=0.3)
    other.load_state_dict(model.state_dict())
    set_optimizer_state_dict(other, resumed.base_optimizer, state)
    for sam, net in ((optimizer, model), (resumed, other)):
        sam.step(closure_of(sam, net))
    assert same(values(model), values(other))
    assert resumed.param_groups[0]["rho"] == 0.2


def test_an_optimizer_around_another_is_refused():
    class Around(SGD):
        """As Lookahead is in some libraries."""

        def __init__(self, params, **settings):
            self.inner = SGD(params, **settings)
            self.defaults, self.state = self.inner.defaults, self.inner.state

        @property
        def param_groups(self):
            return self.inner.param_groups

    with pytest.raises(InputError, match=r"base_optimizer: Around is not allowed; .* of its own"):
        SAM(network().parameters(), Around, lr=0.1)


def test_lazy_layers_are_made_before_or_after():
    """An optimizer is often made before the first batch, which decides their shapes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3))
    optimizer = SAM(model.parameters(), SGD, counts=True, lr=0.1)
    optimizer.step(closure_of(optimizer, model, loss_of_lazy))
    assert optimizer.counts.sum() == sum(p.numel() for p in model.parameters())


def loss_of_lazy(model):
    return model(torch.ones(3, 4)).square().mean()
