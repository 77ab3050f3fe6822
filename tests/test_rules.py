"""Rules against torch.optim, what surrounds them against autograd, methods against bad input."""

import math
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from samscope.errors import InputError
from samscope.optim import Ascent, Method, named_mix
from samscope.optim.ascent import ascend
from samscope.optim.rules import RULES
from samscope.optim.settings import at_rate, refill, settings
from samscope.optim.update import descend, descend_block, descend_plain, new_slots, penalise

torch.set_num_threads(1)

SIZE = 70_000  # more than a block

METHODS = {
    "sgd": Method("sgd", 0.1, 0.9, 5e-3),
    "nesterov": Method("sgd", 0.1, 0.9, 5e-3, nesterov=True),
    "adam": Method("sgd", 0.01, 0.9, 5e-3, optimizer="adam"),
    "adam of grokking": Method("sgd", 0.01, 0.9, 0.0, optimizer="adam", beta2=0.98),
    "adamw": Method("sgd", 0.01, 0.9, 1.0, optimizer="adamw", beta2=0.98),
}


def theirs(method, w):
    """torch's optimizer of a method's name."""
    shared = {"lr": method.lr, "weight_decay": method.weight_decay, "foreach": False}
    if method.optimizer == "sgd":
        more = {"momentum": method.momentum, "nesterov": method.nesterov}
        return torch.optim.SGD([w], **shared, **more)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[method.optimizer]
    return kind([w], betas=(method.momentum, method.beta2), **shared)


def gradient(w, step):
    """Of a loss that bends, with a little noise: elements from 1e-6 to 1."""
    random = torch.Generator().manual_seed(step)
    noise = torch.randn(len(w), generator=random, dtype=torch.float64)
    scale = torch.logspace(-6, 0, len(w), dtype=torch.float64)
    return (scale * (torch.tanh(w.double()) + 0.3 * noise)).to(w.dtype)


def weights(dtype=torch.float64, size=SIZE):
    return torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype)


def by_torch(method, dtype, steps=50):
    w = torch.nn.Parameter(weights(dtype))
    optimizer = theirs(method, w)
    for step in range(steps):
        w.grad = gradient(w.detach(), step)
        optimizer.step()
    return w.detach()


def by_rule(method, dtype, steps=50, tensors=False):
    w = weights(dtype)
    rule, numbers = RULES[method.optimizer], settings(method, w if tensors else None)
    slots = new_slots(rule, w)
    for step in range(steps):
        descend_plain(w, gradient(w, step), slots, rule, numbers)
    return w


@pytest.mark.parametrize("name", METHODS)
def test_fifty_steps_are_torchs(name):
    method = METHODS[name]
    expected = by_torch(method, torch.float64)
    for tensors in (False, True):
        found = by_rule(method, torch.float64, tensors=tensors)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_fifty_steps_in_float32_are_torchs_to_the_bit(name):
    method = METHODS[name]
    assert torch.equal(by_rule(method, torch.float32), by_torch(method, torch.float32))


@pytest.mark.parametrize("name", METHODS)
def test_numbers_that_are_tensors_are_as_exact_as_torch_in_float32(name):
    method = METHODS[name]
    found = by_rule(method, torch.float32, tensors=True).double()
    exact = by_torch(method, torch.float64)
    rounded = by_torch(method, torch.float32).double()
    error, torchs = ((x - exact).norm() / exact.norm() for x in (found, rounded))
    assert error < 2 * torchs < 2e-6


@pytest.mark.parametrize("name", METHODS)
def test_a_compiled_step_of_sam_is_the_eager_one(name):
    plain = METHODS[name]
    values = {f.name: getattr(plain, f.name) for f in fields(Method)}
    method = Method(**{**values, "variant": "ckpt12", "ascent": Ascent(0.05)})
    # All are traced alike; of two the code is C++'s too, which takes seconds each.
    backend = "inductor" if name in ("sgd", "adamw") else "aot_eager"
    rule = RULES[method.optimizer]
    compiled = torch.compile(descend_block, fullgraph=True, backend=backend)
    found = []
    for whole in (None, compiled):
        w = weights(torch.float32, 1003)
        numbers = settings(method, None if whole is None else w)
        slots, start = new_slots(rule, w), torch.empty_like(w)
        for step in range(5):
            g = gradient(w, step)
            ascend(w, start, g, numbers.rho)
            counts = descend(w, start, g, gradient(w, step), slots, rule, numbers, whole)
        found.append((w, counts))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert (found[0][1] - found[1][1]).abs().sum() <= 10
    assert found[0][1].sum() == 1003


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_h_for_a_gradient_is_the_rules_from_where_g_was_taken(name):
    plain = METHODS[name]
    rule, numbers = RULES[plain.optimizer], settings(plain)
    sam = type(numbers)(**{**vars(numbers), "mix": named_mix("sam")})
    one, two = weights(), weights()
    slots = [new_slots(rule, one) for _ in range(2)]
    for step in range(3):
        h = gradient(one, step)
        start, elsewhere = one.clone(), torch.full_like(one, torch.nan)
        descend(elsewhere, start, h.flip(0), h, slots[0], rule, sam)
        one = elsewhere
        descend_plain(two, h, slots[1], rule, numbers)
    assert torch.equal(one, two)


def test_a_rule_resumes_from_its_slots():
    method, rule = METHODS["adamw"], RULES["adamw"]
    whole, parts = by_rule(method, torch.float32, steps=8), weights(torch.float32)
    slots = new_slots(rule, parts)
    for step in range(8):
        slots = {name: slot.clone() for name, slot in slots.items()}
        descend_plain(parts, gradient(parts, step), slots, rule, settings(method))
    assert torch.equal(whole, parts)
    assert slots["count"] == 8


def test_the_mix_is_clipped_before_the_rule():
    method = Method("ckpt12", 0.1, 0.0, 0.0, ascent=Ascent(0.05), clip=5.0)
    rule, numbers = RULES["sgd"], settings(method)
    start, g, h = (gradient(weights(), step) for step in range(3))
    u = torch.where(h / g > 0, h, g)
    assert u.norm() > 5
    for size in (1.0, 1e-3):
        w = torch.empty_like(start)
        descend(w, start, g * size, h * size, new_slots(rule, w), rule, numbers)
        clipped = torch.nn.Parameter(start.clone())
        clipped.grad = u * size
        torch.nn.utils.clip_grad_norm_([clipped], 5.0)
        # torch adds 1e-6 to the norm.
        torch.testing.assert_close(start - w, 0.1 * clipped.grad, rtol=1e-6, atol=1e-12)
        plain = start.clone()
        descend_plain(plain, u * size, new_slots(rule, w), rule, numbers)
        torch.testing.assert_close(plain, w, rtol=0, atol=1e-14)


def test_a_clip_that_is_far_off_changes_no_bit():
    start, g, h = (gradient(weights(torch.float32), step) for step in range(3))
    found = []
    for clip in (0.0, 1e9):
        method = Method("ckpt12", 0.1, 0.9, 1e-3, ascent=Ascent(0.05), clip=clip)
        w, slots = torch.empty_like(start), new_slots(RULES["sgd"], start)
        descend(w, start, g, h, slots, RULES["sgd"], settings(method))
        found.append(w)
    assert torch.equal(*found)


def test_decay_in_the_loss_is_that_of_autograd():
    """One step of SAM on loss + decay/2 ||w||^2, penalty in both passes, none in the rule."""
    method = Method("sam", 0.1, 0.9, 0.05, ascent=Ascent(0.3), decay_in_loss=True)
    matrix = torch.randn(9, 9, generator=torch.Generator().manual_seed(2)).double()
    matrix, start = matrix @ matrix.T, weights(size=9)

    def slope(w, decay):
        w = w.clone().requires_grad_()
        loss = (w @ matrix @ w / 2).sin() + decay / 2 * w.square().sum()
        return torch.autograd.grad(loss, w)[0]

    g = slope(start, 0.05)
    expected = start - 0.1 * slope(start + 0.3 * g / g.norm(), 0.05)
    w, kept = start.clone(), torch.empty_like(start)
    rule, numbers = RULES["sgd"], settings(method)
    gradients = []
    for _ in range(2):
        gradients.append(slope(w, 0.0))
        penalise(gradients[-1], w, numbers)
        if len(gradients) == 1:
            ascend(w, kept, gradients[0], numbers.rho)
    descend(w, kept, *gradients, new_slots(rule, w), rule, numbers)
    torch.testing.assert_close(w, expected, rtol=0, atol=1e-12)
    # Without it the gradient stays as it is.
    before = gradients[0].clone()
    penalise(gradients[0], w, settings(METHODS["sgd"]))
    assert torch.equal(gradients[0], before)


@pytest.mark.parametrize("name", METHODS)
def test_recorded_code_reads_no_number_on_the_host(name):
    # A tensor of the device "meta" has no numbers: reading one is an error.
    w = weights().to("meta")
    values = {f.name: getattr(METHODS[name], f.name) for f in fields(Method)}
    method = Method(**{**values, "variant": "sam", "ascent": Ascent(0.1), "clip": 1.0})
    rule, numbers = RULES[method.optimizer], settings(method, w)
    slots = new_slots(rule, w)
    with pytest.raises(RuntimeError):
        numbers.lr.item()
    assert len(descend(w, w, w, w, slots, rule, numbers)) == 7
    descend_plain(w, w, slots, rule, numbers)


def test_settings_are_refilled_where_they_are():
    one = Method("sam", 0.1, 0.9, 0.0, ascent=Ascent(0.1), clip=1.0)
    two = Method("ckpt12", 0.2, 0.8, 0.5, ascent=Ascent(0.4), clip=2.0)
    assert one.form == two.form
    w = weights(size=3)
    held, new = settings(one, w), settings(two, w)
    places = {name: value for name, value in vars(held).items() if isinstance(value, torch.Tensor)}
    refill(held, new)
    assert at_rate(held, 0.3) is held
    assert all(getattr(held, name) is value for name, value in places.items())
    assert held.lr == 0.3
    for name in ("rho", "momentum", "weight_decay", "clip", "mix"):
        assert torch.equal(getattr(held, name), getattr(new, name))
    assert at_rate(settings(one), 0.3).lr == 0.3


SAM = {"variant": "sam", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "ascent": Ascent(0.1)}


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        ("rho", Ascent, {"rho": -0.1}),
        ("norm", Ascent, {"norm": 0.9}),
        ("norm", Ascent, {"norm": math.nan}),
        ("norm", Ascent, {"norm": 3.0, "ascent_rule": "projected"}),
        ("norm", Ascent, {"norm": math.inf, "direction": "random"}),
        ("adaptive", Ascent, {"adaptive": "asam"}),
        ("adaptive", Ascent, {"adaptive": "davda54", "direction": "random"}),
        ("ascent_steps", Ascent, {"ascent_steps": 0}),
        ("ascent_steps", Ascent, {"ascent_steps": 2, "direction": "random"}),
        ("ascent_rule", Ascent, {"ascent_rule": "mean"}),
        ("direction", Ascent, {"direction": "down"}),
        ("rho", Method, SAM | {"ascent": Ascent()}),
        ("rho", Method, SAM | {"variant": "sgd"}),
        ("variant", Method, SAM | {"variant": "ckpt21"}),
        ("condition", Method, SAM | {"condition": 0.1}),
        ("optimizer", Method, SAM | {"optimizer": "lion"}),
        ("schedule", Method, SAM | {"schedule": "linear"}),
        ("lr", Method, SAM | {"lr": -0.1}),
        ("weight_decay", Method, SAM | {"weight_decay": math.inf}),
        ("clip", Method, SAM | {"clip": -1.0}),
        ("warmup", Method, SAM | {"warmup": -1}),
        ("momentum", Method, SAM | {"momentum": 1.1}),
        ("momentum", Method, SAM | {"momentum": 1.0, "optimizer": "adam"}),
        ("beta2", Method, SAM | {"beta2": 1.0}),
        ("nesterov", Method, SAM | {"nesterov": True, "optimizer": "adamw"}),
    ],
)
def test_a_bad_method_is_told_by_field(field, kind, values):
    with pytest.raises(InputError) as told:
        kind(**values)
    assert told.value.field == field
    assert told.value.allowed


def test_every_field_of_a_method_has_a_name_of_its_own():
    names = [field.name for kind in (Method, Ascent) for field in fields(kind)]
    assert len(names) == len(set(names))


def test_the_forms_of_methods_tell_what_code_is_made_for():
    plain = Method(**SAM)
    same = [{"lr": 1.0}, {"variant": "ckpt1"}, {"ascent": Ascent(0.7)}, {"schedule": "step"}]
    others = [
        {"optimizer": "adam"},
        {"nesterov": True},
        {"clip": 1.0},
        {"decay_in_loss": True},
        {"ascent": Ascent(0.1, norm=math.inf)},
        {"ascent": Ascent(0.1, ascent_steps=2)},
        {"variant": "sgd-norm"},
        {"variant": "sgd", "ascent": Ascent()},
    ]
    assert {Method(**SAM | change).form for change in same} == {plain.form}
    assert len({plain.form, *(Method(**SAM | change).form for change in others)}) == 9


def test_names_need_no_torch():
    code = (
        "import sys; from samscope.optim import Method, Ascent; from samscope.losses import LOSSES;"
        "from samscope.optim.schedules import SCHEDULES; from samscope.optim.rules import RULES;"
        "Method('sam', 0.1, 0.9, 0.0, ascent=Ascent(0.1)).mix; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
