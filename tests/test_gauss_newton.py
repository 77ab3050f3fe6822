"""The generalised Gauss-Newton matrix: against J' H_out J made of whole Jacobians."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian, jacrev

from samscope.errors import InputError
from samscope.measure import GaussNewton, Hessian, MeanLoss, own_loss, spectrum, xtrace

DOUBLE = torch.float64


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3)
    return nn.Sequential(*layers).double()


def data(n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=random, dtype=DOUBLE)
    return x, torch.randint(3, (n,), generator=random)


def squares(outputs, targets):
    """Not convex in the outputs."""
    return (outputs.tanh() - F.one_hot(targets, 3)).square().mean()


def explicit(model: nn.Module, loss, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """J' H_out J of all samples at once."""
    named = {k: p.detach() for k, p in model.named_parameters()}
    flat = torch.cat([p.reshape(-1) for p in named.values()])

    def outputs(vector):
        pieces = vector.split([p.numel() for p in named.values()])
        shaped = {k: v.view_as(named[k]) for k, v in zip(named, pieces, strict=True)}
        return functional_call(model, shaped, (x,)).reshape(-1)

    inner = hessian(lambda z: loss(z.view(len(x), -1), y))(outputs(flat))
    jacobian = jacrev(outputs)(flat)
    return jacobian.T @ inner @ jacobian


@pytest.mark.parametrize("held", [512, 7])
@pytest.mark.parametrize("loss", [F.cross_entropy, squares])
def test_it_is_the_product_of_whole_jacobians(loss, held):
    model, (x, y) = network(), data()
    exact = explicit(model, loss, x, y)
    operator = GaussNewton(MeanLoss(model, loss, (x, y), held=held))
    found = operator.matmat(torch.eye(operator.size, dtype=DOUBLE))
    torch.testing.assert_close(found, exact, rtol=1e-10, atol=1e-13)
    whole = Hessian(MeanLoss(model, loss, (x, y))).matmat(torch.eye(operator.size, dtype=DOUBLE))
    assert float((whole - exact).norm()) > 0.05 * float(exact.norm())
    lowest = float(torch.linalg.eigvalsh(found)[0])
    assert lowest > -1e-12 if loss is F.cross_entropy else lowest < -1e-3
    assert operator.products == operator.size


def test_of_a_linear_model_it_is_the_hessian():
    model = nn.Linear(4, 3).double()
    loss = MeanLoss(model, F.cross_entropy, data())
    rows = torch.eye(loss.size, dtype=DOUBLE)
    torch.testing.assert_close(GaussNewton(loss).matmat(rows), Hessian(loss).matmat(rows))


def test_lanczos_and_the_trace_take_it():
    model, (x, y) = network(), data()
    at = 1.5 * MeanLoss(model, F.cross_entropy, (x, y)).weights
    operator = GaussNewton(MeanLoss(model, F.cross_entropy, (x, y)), at)
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(at, model.parameters())
    exact = explicit(model, F.cross_entropy, x, y)
    found = spectrum(operator, 3, tol=1e-8)
    assert found.largest.values == pytest.approx(
        torch.linalg.eigvalsh(exact).flip(0)[:3].tolist(), rel=1e-8
    )
    assert xtrace(operator).value == pytest.approx(float(exact.trace()), rel=1e-10)


def test_what_cannot_be_used_is_named():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x):
            return self.inner(x), x

    loss = MeanLoss(Two(), lambda z, y: F.cross_entropy(z[0], y), data())
    with pytest.raises(InputError, match=r"Two: outputs: tuple is not allowed; allowed: one"):
        GaussNewton(loss).matvec(torch.ones(loss.size))
    with pytest.raises(InputError, match=r"GaussNewton: at: 3 weights"):
        GaussNewton(loss, torch.ones(3))
    with pytest.raises(InputError, match=r"GaussNewton: vectors: \[1, 3\]"):
        GaussNewton(loss).matvec(torch.ones(3))


def test_a_model_that_gives_its_loss_alone_is_refused():
    """Of that loss, linear in itself, the matrix would be zero."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, x, y):
            return F.cross_entropy(self.body(x), y)

    x, y = data()
    loss = MeanLoss(Own(), own_loss, {"x": x, "y": y})
    with pytest.raises(InputError, match=r"Own: outputs: 1 for 30 samples [^\n]+\Z"):
        GaussNewton(loss).matvec(torch.ones(loss.size))
