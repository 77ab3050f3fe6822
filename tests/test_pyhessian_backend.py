"""PyHessian mended: against a dense float64 Hessian by forward over reverse, no side effects."""

import copy
import math
import warnings

import pyhessian
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian

from samscope.errors import InputError
from samscope.measure import pyhessian_backend as backend
from samscope.measure.pyhessian_backend import top_eigenvalues

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def small_net() -> nn.Sequential:
    """227 parameters, with batch normalisation."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 4, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Flatten(), nn.Linear(16, 7)),
    )


@pytest.fixture(scope="module")
def trained():
    """A trained network in train mode with a float64 copy of its Hessian on 60 images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x, y = small_net(), torch.randn(60, 1, 8, 8), torch.randint(0, 7, (60,))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model, x, y, dense_hessian(model, x, y)


def dense_hessian(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    double = copy.deepcopy(model).double().eval()
    named = {k: p.detach() for k, p in double.named_parameters()}

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = flat.split([p.numel() for p in named.values()])
        shaped = {k: v.view_as(named[k]) for k, v in zip(named, pieces, strict=True)}
        return F.cross_entropy(functional_call(double, shaped, (x.double(),)), y)

    return hessian(loss)(torch.cat([p.reshape(-1) for p in named.values()]))


def largest(matrix: torch.Tensor, n: int) -> torch.Tensor:
    values = torch.linalg.eigvalsh(matrix)
    return values[values.abs().argsort(descending=True)][:n]


class Quadratic(nn.Module):
    """``1/2 sum_i d_i w_i^2`` whatever the input."""

    def __init__(self, *curvatures: float) -> None:
        super().__init__()
        self.curvatures = torch.tensor(curvatures)
        self.weights = nn.Parameter(torch.full_like(self.curvatures, 0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (self.curvatures * self.weights.square()).sum()


NOTHING = torch.zeros(1)


def itself(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return outputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_top_eigenvalues_are_the_dense_ones(trained, dtype):
    model, x, y, dense = trained
    model = copy.deepcopy(model).to(dtype)
    found = top_eigenvalues(model, F.cross_entropy, x.to(dtype), y, n=5, steps=30)
    exact = largest(dense, 5)
    torch.testing.assert_close(
        torch.tensor(found.values, dtype=torch.float64), exact, rtol=0, atol=3e-6 * float(exact[0])
    )


def test_residuals_bound_the_error_of_too_few_steps(trained):
    model, x, y, dense = trained
    exact = torch.linalg.eigvalsh(dense)
    found = top_eigenvalues(model, F.cross_entropy, x, y, n=5, steps=7)
    errors = [float((exact - value).abs().min()) for value in found.values]
    assert max(errors) > 1e-3 * float(exact[-1])
    assert all(
        error <= residual + 1e-6 * float(exact[-1])
        for error, residual in zip(errors, found.residuals, strict=True)
    )


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_eigenvalues_rank_by_magnitude_at_any_scale(scale):
    model = Quadratic(-5 * scale, 3 * scale, -1 * scale, 0.5 * scale)
    found = top_eigenvalues(model, itself, NOTHING, NOTHING, n=4)
    assert found.values == pytest.approx([-5 * scale, 3 * scale, -scale, 0.5 * scale], rel=1e-4)
    assert found.residuals == (0.0,) * 4


def test_an_object_of_pyhessian_alive_does_not_double_the_result(trained):
    model, x, y, _ = trained
    model = copy.deepcopy(model)
    alone = top_eigenvalues(model, F.cross_entropy, x, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using backward")
        first = pyhessian.hessian(model, F.cross_entropy, data=(x, y), cuda=False)
        assert top_eigenvalues(model, F.cross_entropy, x, y) == alone
        second = pyhessian.hessian(model, F.cross_entropy, data=(x, y), cuda=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, two = (o.eigenvalues(200, 1e-6, 2)[0] for o in (first, second))
    assert one == pytest.approx(alone.values[:2], rel=1e-3)
    assert two == pytest.approx([2 * value for value in one], rel=1e-3)


def state(model: nn.Module) -> list[object]:
    """All a measurement could leave changed."""
    tensors = [*model.state_dict().values(), torch.random.get_rng_state()]
    return [
        [tensor.numpy().tobytes() for tensor in tensors],
        [module.training for module in model.modules()],
        [(p.requires_grad, id(p.grad)) for p in model.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
    ]


def test_nothing_of_the_caller_changes(trained):
    model, x, y, _ = trained
    model = copy.deepcopy(model).train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    F.cross_entropy(model(x), y).backward()
    model[3].weight.grad = None
    calls = []

    def fails_late(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(model.training)
        torch.rand(3)
        raise KeyError("on purpose")

    before = state(model)
    with torch.no_grad():
        top_eigenvalues(model, F.cross_entropy, x, y)
    assert state(model) == before
    with pytest.raises(KeyError):
        top_eigenvalues(model, fails_late, x, y)
    assert calls == [False]
    assert state(model) == before


def test_unused_and_frozen_parameters(trained):
    model, x, y, dense = trained
    model = copy.deepcopy(model)
    model.add_module("unused", nn.Identity())
    model.unused.bias = nn.Parameter(torch.ones(3))
    found = top_eigenvalues(model, F.cross_entropy, x, y, n=3)
    assert found.values == pytest.approx(largest(dense, 3).tolist(), rel=1e-5)
    model[0].weight.requires_grad_(False)
    size = model[0].weight.numel()
    found = top_eigenvalues(model, F.cross_entropy, x, y, n=3)
    assert found.values == pytest.approx(largest(dense[size:, size:], 3).tolist(), rel=1e-5)


def test_results_follow_the_seed(trained):
    model, x, y, _ = trained
    first, again, other = (
        top_eigenvalues(model, F.cross_entropy, x, y, steps=10, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_many_images_go_through_in_weighted_batches(trained, monkeypatch):
    model, x, y, dense = trained
    monkeypatch.setattr(backend, "BATCH", 25)
    found = top_eigenvalues(model, F.cross_entropy, x, y, n=1, steps=15)
    assert found.values == pytest.approx(largest(dense, 1).tolist(), rel=1e-5)


def test_what_cannot_be_measured_is_named(trained):
    model, x, y, _ = trained
    frozen = copy.deepcopy(model).requires_grad_(False)
    for call, named in [
        (lambda: top_eigenvalues(model, F.cross_entropy, x, y, n=0), "top_eigenvalues: n: 0"),
        (lambda: top_eigenvalues(model, F.cross_entropy, x, y, n=31), "1 to 30"),
        (lambda: top_eigenvalues(frozen, F.cross_entropy, x, y), "Sequential: parameters"),
        (lambda: top_eigenvalues(model, F.cross_entropy, x * math.inf, y), "loss: value: nan"),
        (lambda: top_eigenvalues(model, lambda o, t: o, x, y), "one finite number"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)
