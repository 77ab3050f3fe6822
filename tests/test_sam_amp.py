"""Mixed precision and gradients that are not finite: skipped once, w restored, or told."""

import copy

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import SGD, Adam

from samscope.errors import InputError
from samscope.optim import SAM

torch.set_num_threads(1)
SCALE = 1024.0


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def loss_of(model, scale=1.0):
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    return nn.functional.cross_entropy(model(x) * scale, torch.arange(12) % 3)


def scaler_of(**settings):
    return GradScaler("cpu", init_scale=SCALE, growth_interval=1000, **settings)


def values(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Step:
    """A step in either form, with a pass (0 or 1) whose gradients are not finite."""

    def __init__(self, model, optimizer, form, scaler=None):
        self.model, self.optimizer, self.form, self.scaler = model, optimizer, form, scaler

    def __call__(self, broken=None, bad=torch.inf):
        self.passes = 0

        def closure():
            self.optimizer.zero_grad()
            loss = loss_of(self.model)
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            if self.passes == broken:
                next(self.model.parameters()).grad.view(-1)[0] = bad
            self.passes += 1
            return loss

        if self.form == "closure":
            loss = self.optimizer.step(closure, scaler=self.scaler)
            assert loss.item() < 10
        else:
            closure()
            self.optimizer.first_step(scaler=self.scaler)
            closure()
            self.optimizer.second_step(scaler=self.scaler)
        if self.scaler is not None:
            self.scaler.update()


FORMS = [
    *(
        (form, s)
        for form in ("closure", "two calls")
        for s in ({}, {"mix": "ckpt12"}, {"clip": 1e-2})
    ),
    ("closure", {"mix": "sgd"}),
]


@pytest.mark.parametrize(("form", "settings"), FORMS)
@pytest.mark.parametrize("base", [{}, {"fused": True}], ids=["plain", "fused"])
def test_scaled_steps_are_those_without_a_scale(form, settings, base):
    found = []
    for scaler in (scaler_of(), None):
        model = network()
        optimizer = SAM(model.parameters(), Adam, rho=0.3, lr=0.01, **base, **settings)
        step = Step(model, optimizer, form, scaler)
        for _ in range(3):
            step()
        found.append(values(model))
    # A power of two goes through every operation but Adam's and the norm's 1e-12 unharmed.
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)
    assert scaler_of().get_scale() == SCALE


@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
@pytest.mark.parametrize("form", ["closure", "two calls"])
@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
@pytest.mark.parametrize("base", [{}, {"fused": True}], ids=["plain", "fused"])
def test_an_infinite_gradient_skips_the_step_and_lowers_the_scale_once(
    mix, form, broken, bad, base
):
    model = network()
    scaler = scaler_of()
    optimizer = SAM(model.parameters(), SGD, mix=mix, lr=0.1, momentum=0.9, **base)
    step = Step(model, optimizer, form, scaler)
    step()
    before, state = values(model), copy.deepcopy(optimizer.state_dict()["state"])
    step(broken, bad)
    assert torch.equal(values(model), before)
    for name, kept in state.items():
        momentum = optimizer.state_dict()["state"][name]["momentum_buffer"]
        assert torch.equal(momentum, kept["momentum_buffer"])
    assert scaler.get_scale() == SCALE / 2
    assert step.passes == (1 if form == "closure" and broken == 0 else 2)
    step()
    assert not torch.equal(values(model), before)
    assert values(model).isfinite().all()
    assert scaler.get_scale() == SCALE / 2


def test_a_norm_that_overflows_skips_too():
    model, scaler = network(), scaler_of()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    before = values(model)
    Step(model, optimizer, "closure", scaler)(0, 3e38)
    assert torch.equal(values(model), before)
    assert scaler.get_scale() == SCALE / 2


def test_a_scaler_that_is_disabled_changes_nothing():
    found = []
    for scaler in (scaler_of(enabled=False), None):
        model = network()
        step = Step(model, SAM(model.parameters(), SGD, lr=0.1), "closure", scaler)
        step()
        found.append(values(model))
    assert torch.equal(*found)


def test_another_scaler_in_the_second_step_is_refused():
    model, scaler = network(), scaler_of()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    scaler.scale(loss_of(model)).backward()
    optimizer.first_step()
    with pytest.raises(RuntimeError, match="that first_step did not have"):
        optimizer.second_step(scaler=scaler)
    optimizer.abort()
    assert torch.equal(values(model), values(network()))


def test_half_precision_with_a_scale_that_is_too_large_settles():
    model, scaler = network(), GradScaler("cpu", init_scale=2.0**40)
    optimizer = SAM(model.parameters(), SGD, rho=0.05, lr=0.5)

    def closure():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = loss_of(model)
        scaler.scale(loss).backward()
        return loss

    losses = []
    for _ in range(60):
        losses.append(optimizer.step(closure, scaler=scaler).item())
        scaler.update()
    assert scaler.get_scale() < 2.0**40
    assert losses[0] == losses[1]  # skipped
    assert losses[-1] < 0.8 * losses[0]


def test_bfloat16_needs_no_scaler():
    model = network()
    optimizer = SAM(model.parameters(), SGD, rho=0.05, mix="ckpt12", counts=True, lr=0.5)

    def closure():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]
    assert optimizer.counts.sum() == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("settings", [{}, {"mix": "ckpt12"}, {"adaptive": True}, {"norm": 4.0}])
def test_a_model_of_two_dtypes(settings):
    model = network()
    model[0].bfloat16()
    optimizer = SAM(model.parameters(), SGD, rho=0.05, lr=0.5, clip=1.0, **settings)

    def closure():
        optimizer.zero_grad()
        x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
        hidden = model[0](x.bfloat16()).float().tanh()
        loss = nn.functional.cross_entropy(model[2](hidden), torch.arange(12) % 3)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("form", ["closure", "two calls"])
@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_steps_that_are_not_finite_are_left_out_where_asked(mix, form, broken):
    model = network()
    optimizer = SAM(model.parameters(), SGD, mix=mix, skip_nonfinite=True, lr=0.1, momentum=0.9)
    step = Step(model, optimizer, form)
    before = values(model)
    step(broken, torch.nan)
    assert torch.equal(values(model), before)
    assert not optimizer.state
    step()
    assert not torch.equal(values(model), before)


@pytest.mark.parametrize("form", ["closure", "two calls"])
def test_a_gradient_that_is_not_finite_is_told(form):
    model = network()
    step = Step(model, SAM(model.parameters(), SGD, lr=0.1), form)
    before = values(model)
    with pytest.raises(InputError, match=r"gradient: a norm of inf .*scaler=scaler.*skip_nonfin"):
        step(0)
    assert torch.equal(values(model), before)
    step()
    assert not torch.equal(values(model), before)


@pytest.mark.parametrize("form", ["closure", "two calls"])
@pytest.mark.parametrize("base", [SGD, Adam])
@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_an_h_that_is_not_finite_is_a_gradient_as_any_to_the_base_optimizer(bad, base, form):
    """As in torch.optim, from w to the bit; a g that is NaN by it is told."""
    model, twin = network(), network()
    optimizer, bare = SAM(model.parameters(), base, lr=0.1), base(twin.parameters(), lr=0.1)
    before, places = values(model), []
    optimizer.base_optimizer.register_step_pre_hook(lambda *_: places.append(values(model)))
    step = Step(model, optimizer, form)
    step(broken=1, bad=bad)
    assert torch.equal(places[0], before)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        q.grad = p.grad
    bare.step()
    torch.testing.assert_close(values(model), values(twin), rtol=0, atol=0, equal_nan=True)
    assert not values(model)[0].isfinite()
    assert values(model)[1:].isfinite().all()
    assert not torch.equal(values(model)[1:], before[1:])
    if bad is torch.nan:
        after = values(model)
        with pytest.raises(InputError, match="SAM: gradient: a norm of nan"):
            step()
        assert torch.equal(values(model)[1:], after[1:])


def test_a_loss_that_is_scaled_in_secret_does_not_diverge_silently():
    model, scaler = network(), GradScaler("cpu", init_scale=2.0**16)
    optimizer = SAM(model.parameters(), SGD, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (model(torch.ones(2, 4)) - 1).square().mean()
        scaler.scale(loss).backward()
        return loss

    def train():
        for _ in range(20):
            optimizer.step(closure)

    with pytest.raises(InputError, match="gradient: a norm of"):
        train()


@pytest.mark.parametrize("form", ["closure", "two calls"])
def test_a_scaler_that_is_disabled_skips_nothing_in_silence(form):
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    step, before = Step(model, optimizer, form, scaler_of(enabled=False)), values(model)
    with pytest.raises(InputError, match="a norm of nan"):
        step(broken=0, bad=torch.nan)
    assert torch.equal(values(model), before)
    step()
    assert not torch.equal(values(model), before)


@pytest.mark.parametrize("when", ["first pass", "second pass", "closure"])
def test_gradients_that_are_unscaled_already_are_refused(when):
    """Unscaled twice, h would be next to nothing."""
    model, scaler = network(), scaler_of()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    before = values(model)

    def closure(unscales=True):
        scaler.scale(loss_of(model)).backward()
        if unscales:
            scaler.unscale_(optimizer)

    def step():
        if when == "closure":
            optimizer.step(closure, scaler=scaler)
        closure(unscales=when == "first pass")
        optimizer.first_step(scaler=scaler)
        closure()
        optimizer.second_step()

    with pytest.raises(InputError, match=r"SAM: scaler: one with unscale_\(\) [^\n]+\Z"):
        step()
    assert torch.equal(values(model), before)
    scaler.update()
    optimizer.zero_grad()
    Step(model, optimizer, "two calls", scaler)()
    assert not torch.equal(values(model), before)
