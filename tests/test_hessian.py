"""The Hessian as an operator: against dense ones made otherwise, and what it must not touch."""

import copy
import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from exact import flat, trained
from samscope.errors import InputError
from samscope.measure import hessian as module
from samscope.measure.hessian import Hessian
from samscope.measure.objective import MeanLoss

pytestmark = pytest.mark.filterwarnings("error::UserWarning")
DOUBLE = torch.float64
INPUTS = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
TARGETS = torch.randn(7, 2, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)


def matrix(mean_loss: MeanLoss) -> torch.Tensor:
    hessian = Hessian(mean_loss)
    return hessian.matmat(torch.eye(hessian.size, dtype=mean_loss.dtype))


@pytest.fixture(autouse=True, params=["reverse over reverse", "reverse over forward"])
def way(request, monkeypatch):
    """Both ways to a product, whatever the device."""
    monkeypatch.setattr(module, "BY_SLOPE", ("cpu",) if "forward" in request.param else ())


def test_it_is_the_dense_hessian():
    model, x, y, dense = trained()
    scale = float(dense.abs().max())
    found = matrix(MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE))
    assert found.dtype == DOUBLE
    torch.testing.assert_close(found, dense, rtol=0, atol=1e-12 * scale)
    # In float32, rows of it and products with vectors that all weights are in.
    single = Hessian(MeanLoss(model, F.cross_entropy, (x, y)))
    random = torch.randn(20, single.size, generator=torch.Generator().manual_seed(6))
    for rows in (torch.eye(single.size)[::9], random / random.norm(dim=1, keepdim=True)):
        found = single.matmat(rows)
        assert found.dtype == torch.float32
        exact = rows.double() @ dense
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("held", [512, 3])
def test_closed_form_of_linear_regression(held):
    model = nn.Linear(3, 2, bias=False).double()
    found = matrix(MeanLoss(model, F.mse_loss, (INPUTS, TARGETS), held=held))
    exact = torch.kron(torch.eye(2, dtype=DOUBLE), INPUTS.T @ INPUTS / 7)
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "error"), [(None, 1e-6), (DOUBLE, 1e-13)])
@pytest.mark.parametrize("held", [512, 40, 7])
def test_uneven_batches_weigh_by_their_samples(dtype, error, held):
    model, x, y, _ = trained()
    whole = Hessian(MeanLoss(model, F.cross_entropy, (x, y), dtype=dtype))
    batches = list(zip(x.split((64, 64, 22)), y.split((64, 64, 22)), strict=True))
    parts = Hessian(MeanLoss(model, F.cross_entropy, iter(batches), dtype=dtype, held=held))
    v = torch.randn(whole.size, generator=torch.Generator().manual_seed(3), dtype=DOUBLE)
    expected, found = whole.matvec(v), parts.matvec(v)
    assert not torch.equal(found, expected)
    assert float((found - expected).norm()) < error * float(expected.norm())
    # The last batch weighs 22 / 150, not 1 / 3.
    alone = [Hessian(MeanLoss(model, F.cross_entropy, b, dtype=dtype)).matvec(v) for b in batches]
    assert float((sum(alone) / 3 - expected).norm()) > 1e-2 * float(expected.norm())


def two_batches() -> tuple[nn.Module, torch.Tensor, torch.Tensor, list]:
    """The network, 60 images, their classes, and both as batches of 40 and 20."""
    model, x, y, _ = trained()
    x, y = x[:60], y[:60]
    return model, x, y, [(x[:40], y[:40]), (x[40:], y[40:])]


@cache
def hessian_of_batches() -> torch.Tensor:
    """Dense, in float64, each batch normalised by its own statistics."""
    model, _, y, batches = two_batches()
    double = model.double().train()
    named = {k: p.detach() for k, p in double.named_parameters()}

    def loss(vector: torch.Tensor) -> torch.Tensor:
        pieces = vector.split([p.numel() for p in named.values()])
        shaped = {k: v.view_as(named[k]) for k, v in zip(named, pieces, strict=True)}
        outputs = [functional_call(double, shaped, (b.double(),)) for b, _ in batches]
        return F.cross_entropy(torch.cat(outputs), y)

    return torch.autograd.functional.hessian(loss, flat(double))


def test_batch_statistics_are_those_of_each_batch():
    model, x, y, batches = two_batches()
    found = MeanLoss(model, F.cross_entropy, batches, dtype=DOUBLE, batchnorm="batch", held=10)
    exact = hessian_of_batches()
    scale = float(exact.abs().max())
    torch.testing.assert_close(matrix(found), exact, rtol=0, atol=1e-11 * scale)
    together = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE, batchnorm="batch")
    rows = Hessian(together).matmat(torch.eye(len(exact), dtype=DOUBLE)[::9])
    assert float((rows - exact[::9]).abs().max()) > 1e-3 * scale


def test_products_in_rows_and_one_by_one():
    model, x, y, _ = trained()
    for held in (512, 60):
        hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE, held=held))
        rows = torch.randn(18, hessian.size, generator=torch.Generator().manual_seed(4))
        found = hessian.matmat(rows)
        assert hessian.products == 18
        assert torch.equal(hessian.matvec(rows[17]), found[17])
        assert hessian.products == 19
        again = Hessian(MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE, held=held))
        assert torch.equal(again.matvec(rows[17]), found[17])


class Odd(nn.Module):
    """Tied, frozen and unused parameters, and one that the loss is linear in."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(2))
        self.first = nn.Linear(3, 3, bias=False)
        self.frozen = nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.shift = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen * self.second(torch.tanh(self.first(x))).sum(1) + self.shift


def test_tied_frozen_unused_and_linear_parameters():
    model = Odd().double()
    found = matrix(MeanLoss(model, lambda outputs, _: outputs.mean(), (INPUTS, TARGETS)))

    def loss(weight: torch.Tensor) -> torch.Tensor:
        inside = torch.tanh(INPUTS @ weight.view(3, 3).T)
        return 2.0 * (inside @ weight.view(3, 3).T).sum(1).mean()

    exact = torch.zeros(12, 12, dtype=DOUBLE)
    weight = model.first.weight.detach().reshape(-1)
    exact[3:, 3:] = torch.autograd.functional.hessian(loss, weight)
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-14)


def test_a_loss_without_second_derivatives_or_without_weights():
    model = nn.Linear(3, 1, bias=False)
    data = INPUTS.float(), TARGETS.float()
    for loss in (lambda outputs, _: outputs.mean(), lambda _, targets: targets.mean()):
        assert torch.equal(matrix(MeanLoss(model, loss, data)), torch.zeros(3, 3))


def test_attention_has_second_derivatives():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.TransformerEncoderLayer(4, 2, 3, dropout=0.5, batch_first=True).double()
        x = torch.randn(3, 5, 4, dtype=DOUBLE)
    mean_loss = MeanLoss(model, lambda outputs, _: outputs.pow(3).mean(), (x, torch.zeros(3)))
    hessian = Hessian(mean_loss)
    v = torch.randn(hessian.size, generator=torch.Generator().manual_seed(5), dtype=DOUBLE)
    step = 1e-5
    up, down = (mean_loss.gradient(mean_loss.weights + s * v)[1] for s in (step, -step))
    torch.testing.assert_close(hessian.matvec(v), (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


def test_operators_alive_together_stay_what_they_were():
    model, x, y, _ = trained()
    v = torch.randn(sum(p.numel() for p in model.parameters()))
    first = Hessian(MeanLoss(model, F.cross_entropy, (x[:50], y[:50])))
    alone = first.matvec(v)
    second = Hessian(MeanLoss(model, F.cross_entropy, (x[50:], y[50:]), held=30))
    other = second.matvec(v)
    # The model trains on: no operator follows.
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(p.grad)
        model[1].running_mean.add_(1.0)
    assert torch.equal(first.matvec(v), alone)
    assert torch.equal(second.matvec(v), other)
    moved = Hessian(MeanLoss(model, F.cross_entropy, (x[:50], y[:50]))).matvec(v)
    assert float((moved - alone).norm()) > 0.1 * float(alone.norm())


def state(model: nn.Module) -> list[object]:
    """All a measurement could leave changed."""
    tensors = [*model.state_dict().values(), torch.random.get_rng_state()]
    return [
        [tensor.numpy().tobytes() for tensor in tensors],
        [module.training for module in model.modules()],
        [(id(p), p.requires_grad, id(p.grad)) for p in model.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        torch.backends.cudnn.allow_tf32,
    ]


@pytest.mark.parametrize("batchnorm", ["eval", "batch"])
@pytest.mark.parametrize("dtype", [None, DOUBLE])
def test_nothing_of_the_caller_changes(batchnorm, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    model, x, y, _ = trained()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    F.cross_entropy(model(x), y).backward()
    model[3].weight.grad = None
    seen, failing = [], []

    def noisy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append([module.training for module in model.modules()])
        assert not torch.backends.cudnn.allow_tf32
        torch.rand(3)
        if failing:
            raise KeyError("on purpose")
        return F.cross_entropy(outputs, targets)

    before = state(model)
    with torch.no_grad():
        mean_loss = MeanLoss(model, noisy, (x, y), dtype=dtype, batchnorm=batchnorm)
        hessian = Hessian(mean_loss)
        hessian.matvec(torch.ones(hessian.size))
        assert state(model) == before
        mean_loss(mean_loss.weights)
        mean_loss.gradient(mean_loss.weights)
        assert state(model) == before
    failing.append(True)
    with pytest.raises(KeyError):
        Hessian(mean_loss).matvec(torch.ones(hessian.size))
    assert state(model) == before
    normalising = [isinstance(module, nn.BatchNorm2d) for module in model.modules()]
    expected = [batchnorm == "batch" and is_bn for is_bn in normalising]
    assert len(seen) > 3
    assert all(modes == expected for modes in seen)


def test_random_numbers_and_modules_that_count_repeat():
    model, x, y, _ = trained()

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.ones(()))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * (1 + torch.rand(inputs.shape[1:])) / self.calls.add_(1)

    model = nn.Sequential(Counting(), model)
    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x, y), held=60))
    v = torch.ones(hessian.size)
    first = hessian.matvec(v)
    torch.rand(1)
    assert torch.equal(hessian.matvec(v), first)
    assert float(model[0].calls) == 1


ENTER = torch.autocast.__enter__


class Rounding(nn.Module):
    """A model that asks for autocast itself."""

    def __init__(self, body):
        super().__init__()
        self.body, self.autocast = body, torch.autocast("cpu", torch.bfloat16)

    def forward(self, x):
        with self.autocast:
            return self.body(x).float()


def test_autocast_and_compilation_do_not_matter():
    model, x, y, _ = trained()
    v = torch.ones(sum(p.numel() for p in model.parameters()))
    expected = Hessian(MeanLoss(model, F.cross_entropy, (x, y))).matvec(v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Hessian(MeanLoss(model, F.cross_entropy, (x, y))).matvec(v), expected)
    own = Rounding(model)
    assert torch.equal(Hessian(MeanLoss(own, F.cross_entropy, (x, y))).matvec(v), expected)
    assert torch.autocast.__enter__ is ENTER
    with own.autocast:
        assert torch.mm(x[0, 0], x[0, 0]).dtype == torch.bfloat16
    compiled = torch.compile(model)
    assert torch.equal(Hessian(MeanLoss(compiled, F.cross_entropy, (x, y))).matvec(v), expected)


def test_float64_for_a_model_in_half_precision():
    model, x, y, _ = trained()
    low = copy.deepcopy(model).bfloat16()
    high = copy.deepcopy(low).double()
    v = torch.ones(sum(p.numel() for p in model.parameters()))
    expected = Hessian(MeanLoss(high, F.cross_entropy, (x.double(), y))).matvec(v)
    found = Hessian(MeanLoss(low, F.cross_entropy, (x, y), dtype=DOUBLE)).matvec(v)
    assert torch.equal(found, expected)
    assert low[0].weight.dtype == torch.bfloat16


def test_what_cannot_be_used_is_named():
    model, x, y, _ = trained()
    ones = torch.ones(359)

    def mean_loss(model=model, loss=F.cross_entropy, batches=(x, y), **settings) -> MeanLoss:
        return MeanLoss(model, loss, batches, **settings)

    for call, named in [
        (lambda: mean_loss(copy.deepcopy(model).requires_grad_(False)), "Sequential: parameters"),
        (lambda: mean_loss(dtype=torch.int64), "MeanLoss: dtype: torch.int64"),
        (lambda: mean_loss(dtype=torch.bfloat16), "torch.float32 or torch.float64"),
        (lambda: mean_loss(batchnorm="train"), "eval or batch"),
        (lambda: mean_loss(held=0), "MeanLoss: held: 0"),
        (lambda: mean_loss(batches=[]), "batches: none"),
        (lambda: mean_loss(batches=[(x, y), x]), "batch 1: pair: Tensor"),
        (lambda: mean_loss(batches=(x, y[:-1])), "150 inputs, 149 targets"),
        (lambda: mean_loss(batches=[(x, y), (x[:0], y[:0])]), "batch 1: pair: 0 inputs"),
        (
            lambda: Hessian(mean_loss(loss=lambda o, t: o)).matvec(ones),
            "loss: [16, 10]",
        ),
        (lambda: Hessian(mean_loss(loss=lambda o, t: 1.0)).matvec(ones), "loss: float"),
        (lambda: Hessian(mean_loss()).matvec(ones[1:]), "rows of 359"),
        (lambda: Hessian(mean_loss()).matvec(ones[None]), "Hessian: vectors"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)


def test_a_loss_that_is_not_finite_gives_products_that_are_not():
    model, x, y, _ = trained()
    hessian = Hessian(MeanLoss(model, F.cross_entropy, (x * math.inf, y)))
    assert not hessian.matvec(torch.ones(hessian.size)).isfinite().all()
