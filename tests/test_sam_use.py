"""SAM as people use it: forms of a step, failures amid it, copies, states, what is refused."""

import copy
import gc
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adam, AdamW
from torch.optim.lr_scheduler import StepLR

from samscope.errors import InputError
from samscope.optim import SAM

torch.set_num_threads(1)


def network(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 4, generator=generator).to(dtype), torch.arange(12) % 3


def loss_of(model):
    x, y = batch(next(model.parameters()).dtype)
    return nn.functional.cross_entropy(model(x), y)


def closure_of(optimizer, model, loss_of=loss_of):
    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return closure


def values(model):
    return [p.detach().clone() for p in model.parameters()]


def same(a, b):
    return all(map(torch.equal, a, b))


@pytest.mark.parametrize("base", ["positional", "keyword"])
def test_the_base_optimizer_by_position_and_by_name(base):
    model = network()
    if base == "keyword":
        optimizer = SAM(model.parameters(), base_optimizer=SGD, rho=0.1, lr=0.1)
    else:
        optimizer = SAM(model.parameters(), SGD, 0.1, lr=0.1)
    assert isinstance(optimizer.base_optimizer, SGD)
    assert optimizer.param_groups[0]["rho"] == 0.1


@pytest.mark.parametrize("between", ["nothing", "none", "zero"])
@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_no_second_backward_is_refused(mix, between):
    model = network()
    optimizer = SAM(model.parameters(), SGD, mix=mix, lr=0.1)
    before = values(model)
    loss_of(model).backward()
    optimizer.first_step()
    if between != "nothing":
        optimizer.zero_grad(set_to_none=between == "none")
    with pytest.raises(InputError, match="no gradient of any parameter"):
        optimizer.second_step()
    assert same(values(model), before)
    optimizer.step(closure_of(optimizer, model))
    assert not same(values(model), before)


def test_a_closure_that_passes_back_once_is_refused():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    before, once = values(model), iter([1])
    with pytest.raises(InputError, match="in both passes"):
        optimizer.step(lambda: next(once, None) and loss_of(model).backward())
    assert same(values(model), before)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_accumulate_over_the_parts_of_a_batch(set_to_none):
    whole, parts = network(dtype=torch.float64), network(dtype=torch.float64)
    x, y = batch(torch.float64)
    one, other = (SAM(m.parameters(), SGD, mix="ckpt12", lr=0.1) for m in (whole, parts))

    def accumulate():
        other.zero_grad(set_to_none=set_to_none)
        for part in torch.arange(12).split(4):
            loss = nn.functional.cross_entropy(parts(x[part]), y[part]) / 3
            loss.backward()

    for _ in range(3):
        one.step(closure_of(one, whole))
        other.step(accumulate)
        assert torch.allclose(*map(nn.utils.parameters_to_vector, (p for p in twins(whole, parts))))
    before = nn.utils.parameters_to_vector(parts.parameters())
    accumulate()
    other.first_step()
    accumulate()
    other.second_step()
    one.step(closure_of(one, whole))
    assert torch.allclose(*map(nn.utils.parameters_to_vector, twins(whole, parts)))
    assert not torch.equal(before, nn.utils.parameters_to_vector(parts.parameters()))


def twins(*models):
    return [model.parameters() for model in models]


def test_abort_returns_to_w_without_gradients():
    model = network()
    optimizer = SAM(model.parameters(), SGD, rho=0.5, lr=0.1)
    optimizer.abort()  # nothing is begun
    before = values(model)
    loss_of(model).backward()
    optimizer.first_step()
    assert not same(values(model), before)
    loss_of(model).backward()
    optimizer.abort()
    assert same(values(model), before)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError, match="without first_step"):
        optimizer.second_step()


class Failing(SGD):
    """Moves the first parameter, then fails."""

    def step(self, closure=None):
        self.param_groups[0]["params"][0].data.add_(1.0)
        raise ZeroDivisionError


@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_a_base_optimizer_that_fails_leaves_w(mix):
    model = network()
    optimizer = SAM(model.parameters(), Failing, mix=mix, lr=0.1)
    before = values(model)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            optimizer.step(closure_of(optimizer, model))
        assert same(values(model), before)


@pytest.mark.parametrize("first", [True, False])
def test_a_sparse_gradient_is_refused(first):
    table = nn.Embedding(5, 3, sparse=True)
    dense = nn.Parameter(torch.ones(3))
    optimizer = SAM([*table.parameters(), dense], SGD, mix="ckpt12", lr=0.1)
    before, passes = table.weight.detach().clone(), iter([first, not first])

    def closure():
        optimizer.zero_grad()
        found = table(torch.tensor([1])) if next(passes) else 1.0
        (found * dense).sum().backward()

    with pytest.raises(InputError, match=r"gradient: a sparse gradient .*sparse=False"):
        optimizer.step(closure)
    assert torch.equal(table.weight, before)
    assert torch.equal(dense, torch.ones(3))


@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
@pytest.mark.parametrize("change", ["dtype", "shape"])
def test_what_is_saved_follows_the_parameters(mix, change):
    model = network(dtype=torch.bfloat16)
    optimizer = SAM(model.parameters(), SGD, mix=mix, rho=0.5, lr=0.0)
    optimizer.step(closure_of(optimizer, model))
    if change == "dtype":
        model.float()
    else:
        model.float()
        optimizer.step(closure_of(optimizer, model))
        model[0].weight.data = torch.randn(8, 4)[:, :4].contiguous()
        model[2].weight.data, model[2].bias.data = torch.randn(5, 8), torch.randn(5)
    for p in model.parameters():
        p.data.add_(1e-4 * torch.rand_like(p))  # digits that bfloat16 has not
    model.zero_grad(set_to_none=True)
    before = values(model)
    optimizer.step(closure_of(optimizer, model))
    assert same(values(model), before)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("settings", [{}, {"mix": "ckpt12", "counts": True}, {"adaptive": True}])
def test_a_copy_goes_on_as_the_original(how, settings):
    model = network()
    optimizer = SAM(model.parameters(), Adam, model=model, lr=0.01, **settings)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    for _ in range(2):
        optimizer.step(closure_of(optimizer, model))
        scheduler.step()
    pair = (model, optimizer)
    twin, twins_own = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
    assert twins_own.param_groups is twins_own.base_optimizer.param_groups
    for _ in range(2):
        optimizer.step(closure_of(optimizer, model))
        twins_own.step(closure_of(twins_own, twin))
    assert same(values(model), values(twin))
    loss_of(model).backward()
    optimizer.first_step()
    with pytest.raises(RuntimeError, match="between first_step and second_step"):
        copy.deepcopy(pair)


def test_a_state_of_the_base_optimizer_alone_is_loaded():
    model = network()
    plain = AdamW(model.parameters(), lr=0.03)
    plain.step(closure_of(plain, model))
    groups = [{"params": [p], "rho": 0.1 * n} for n, p in enumerate(model.parameters())]
    optimizer = SAM(model.parameters(), AdamW, rho=0.07, lr=0.5)
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.param_groups[0]["rho"] == 0.07
    assert optimizer.param_groups[0]["lr"] == 0.03
    first = next(model.parameters())
    assert torch.equal(
        optimizer.base_optimizer.state[first]["exp_avg"], plain.state[first]["exp_avg"]
    )
    optimizer.step(closure_of(optimizer, model))
    plain.load_state_dict(optimizer.state_dict())
    assert plain.state[first]["step"] == 2
    several = SAM(groups, AdamW, lr=0.5)
    several.load_state_dict(AdamW([{"params": [p]} for p in model.parameters()]).state_dict())
    assert [group["rho"] for group in several.param_groups] == [0.0, 0.1, 0.2, pytest.approx(0.3)]


@pytest.mark.parametrize("form", ["closure", "two calls"])
def test_a_scheduler_does_not_warn(form):
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=1.0)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            if form == "closure":
                optimizer.step(closure_of(optimizer, model))
            else:
                loss_of(model).backward()
                optimizer.first_step(zero_grad=True)
                loss_of(model).backward()
                optimizer.second_step(zero_grad=True)
            scheduler.step()
    assert optimizer.base_optimizer.param_groups[0]["lr"] == 0.25


class ZeroRedundancyOptimizer(SGD):
    """Stands for torch.distributed's, which needs a group of processes."""


BASES = [torch.optim.LBFGS, ZeroRedundancyOptimizer, lambda params, lr: SAM(params, SGD, lr=lr)]


@pytest.mark.parametrize("base", BASES, ids=["LBFGS", "sharded", "SAM"])
def test_a_base_optimizer_that_cannot_serve_is_refused(base):
    with pytest.raises(InputError, match=r"\ASAM: base_optimizer: [^\n]+; allowed: [^\n]+\Z"):
        SAM(network().parameters(), base, lr=0.1)


def test_parameters_in_shards_are_refused():
    p = nn.Parameter(torch.ones(3))
    p._fsdp_flattened = True  # as FullyShardedDataParallel marks its own
    with pytest.raises(InputError, match="SAM: params: a Parameter of which each process holds"):
        SAM([p], SGD, lr=0.1)


def test_a_loss_to_be_made_large_is_refused():
    with pytest.raises(InputError, match="SAM: maximize: True is not allowed"):
        SAM(network().parameters(), SGD, lr=0.1, maximize=True)


def test_parameters_that_sam_is_not_defined_for_are_refused():
    with pytest.raises(InputError, match=r"SAM: differentiable: True [^\n]+\Z"):
        SAM(network().parameters(), SGD, lr=0.1, differentiable=True)
    with pytest.raises(InputError, match=r"SAM: params: a complex parameter [^\n]+\Z"):
        SAM([nn.Parameter(torch.ones(2, dtype=torch.complex64))], SGD, lr=0.1)


def test_a_base_optimizer_with_a_rho_of_its_own_is_refused():
    """Adadelta's decay, 0.9: one of the two would be the other's."""
    with pytest.raises(InputError, match=r"SAM: base_optimizer: Adadelta .*a rho of its own"):
        SAM(network().parameters(), Adadelta, rho=0.05)


@pytest.mark.parametrize("rho", [-0.1, float("nan"), "large"])
def test_a_rho_that_is_set_later_is_checked(rho):
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    before = values(model)
    optimizer.param_groups[0]["rho"] = rho
    with pytest.raises(InputError, match=f"SAM: rho: {rho} is not allowed"):
        optimizer.step(closure_of(optimizer, model))
    assert same(values(model), before)


def test_a_model_that_is_none_is_refused():
    model = network()
    with pytest.raises(InputError, match=r"SAM: model: a generator is not allowed"):
        SAM(model.parameters(), SGD, model=model.parameters(), lr=0.1)


def test_no_closure_is_told_what_to_do():
    optimizer = SAM(network().parameters(), SGD, lr=0.1)
    with pytest.raises(InputError, match=r"SAM: closure: None .*step\(closure, scaler=scaler\)"):
        optimizer.step()


@pytest.mark.parametrize("settings", [{"fused": True}, {"foreach": True}, {"foreach": False}])
def test_every_implementation_of_the_base_optimizer(settings):
    found = []
    for arguments in (settings, {}):
        model = network()
        optimizer = SAM(model.parameters(), Adam, rho=0.5, lr=0.01, **arguments)
        for _ in range(3):
            optimizer.step(closure_of(optimizer, model))
        found.append(torch.cat([p.flatten() for p in values(model)]))
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mix", ["sgd", "sam", "ckpt12"])
@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_the_final_update_is_clipped_once(mix, clip):
    found = []
    for ours in (True, False):
        model = network()
        before = values(model)
        optimizer = SAM(model.parameters(), SGD, mix=mix, clip=clip * ours, lr=1.0)
        optimizer.step(closure_of(optimizer, model))
        moved = torch.cat(
            [(p - q).flatten() for p, q in zip(before, model.parameters(), strict=True)]
        )
        found.append(moved.detach())
    clipped, free = found
    assert 1e-3 < free.norm() < 1e3
    torch.testing.assert_close(clipped, free * min(1.0, clip / free.norm().item()))


def held():
    """Bytes of all tensors."""
    tensors = [t for t in gc.get_objects() if type(t) in (torch.Tensor, nn.Parameter)]
    storages = [t.untyped_storage() for t in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.mark.parametrize(
    ("settings", "first", "later"),
    [
        ({}, 1, 1),
        ({"adaptive": True}, 1, 1),
        ({"counts": True}, 2, 2),
        ({"mix": "ckpt12"}, 2, 2),
        ({"gap": 0.5}, 2, 2),
        ({"friendly": 1.0}, 2, 3),
    ],
    ids=str,
)
def test_a_second_pass_begins_with_w_alone_or_w_and_g(settings, first, later):
    model = nn.Linear(300, 1000)
    optimizer = SAM(model.parameters(), SGD, lr=0.1, **settings)
    size = sum(p.nbytes for p in model.parameters())
    before, found = held(), []

    def closure():
        optimizer.zero_grad()
        found.append(held() - before)
        model(torch.ones(1, 300)).square().sum().backward()

    for _ in range(2):
        optimizer.step(closure)
    assert found[1] == pytest.approx(first * size, abs=100)
    assert found[3] == pytest.approx(later * size, abs=200)
