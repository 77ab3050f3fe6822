"""Operations that cannot be differentiated twice, or wrongly: refused, never a number."""

import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from samscope.errors import InputError
from samscope.measure import Hessian, MeanLoss, lanczos, spectrum, symmetry, worst_case, xtrace
from samscope.measure import hessian as module
from samscope.measure.objective import derivative

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
DOUBLE = torch.float64


@pytest.fixture(autouse=True, params=["reverse over reverse", "reverse over forward"])
def way(request, monkeypatch):
    """Both ways to a product, whatever the device."""
    monkeypatch.setattr(module, "BY_SLOPE", ("cpu",) if "forward" in request.param else ())


def data(n: int = 40, inputs: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, inputs, generator=random), torch.randint(3, (n,), generator=random)


class Cube(torch.autograd.Function):
    """x^3 with the right derivatives."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class Once(Cube):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class Detached(Cube):
    """Its second derivative lacks a part, without a word and symmetrically."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * g


class Rounded(torch.autograd.Function):
    """A straight-through estimator: its derivative is that of another function."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.round(2 * x) / 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / torch.cosh(x) ** 2


class Custom(nn.Module):
    """Two layers and a function between them."""

    def __init__(self, function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function, self.last = nn.Linear(4, 5), function, nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize("dtype", [None, DOUBLE])
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (Once, "Custom: operation: Once, once_differentiable is not allowed"),
        (Detached, "Custom: operation: Detached, of which a product is"),
        (Rounded, "Custom: operation: Rounded, of which"),
    ],
)
def test_a_function_without_a_second_derivative_is_named(function, named, dtype):
    loss = MeanLoss(Custom(function.apply), F.cross_entropy, data(), dtype=dtype)
    for measure in (spectrum, xtrace):
        with pytest.raises(InputError) as error:
            measure(Hessian(loss))
        assert named in str(error.value)
        assert "\n" not in str(error.value)


def test_a_function_as_the_only_curvature_is_named_too():
    """Torch has no graph of its gradient at all, so that the Hessian would be zero."""
    model = nn.Linear(4, 3, bias=False)
    for function in (Once, Detached):
        loss = MeanLoss(model, lambda z, _, f=function: f.apply(z).mean(), data())
        with pytest.raises(InputError, match=f"operation: {function.__name__}"):
            Hessian(loss).matvec(torch.ones(12))


@pytest.mark.parametrize("dtype", [None, DOUBLE])
def test_a_right_function_is_measured(dtype):
    same = MeanLoss(Custom(lambda x: x**3), F.cross_entropy, data(), dtype=dtype)
    mine = MeanLoss(Custom(Cube.apply), F.cross_entropy, data(), dtype=dtype)
    v = torch.randn(mine.size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(Hessian(mine).matvec(v), Hessian(same).matvec(v))


def test_a_function_between_relus_is_measured():
    torch.manual_seed(1)
    bent = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), Custom(Cube.apply))
    bent[2].first = nn.Linear(64, 5)
    hessian = Hessian(MeanLoss(bent, F.cross_entropy, data(200)))
    assert hessian.matvec(torch.ones(hessian.size)).isfinite().all()


def test_an_operation_of_torch_without_a_second_derivative_is_named():
    """Fused attention, by the model's own choice; and in the loss."""

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 24)

        def forward(self, x):
            q, k, v = self.project(x)[:, None].chunk(3, -1)
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return F.scaled_dot_product_attention(q, k, v).mean((1, 2))

    x = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(2))
    hessian = Hessian(MeanLoss(Fused(), F.mse_loss, (x, torch.zeros(6, 8))))
    with pytest.raises(InputError, match=r"Fused: operation: .*scaled_dot_product_flash_attention"):
        hessian.matvec(torch.ones(hessian.size))


@pytest.mark.parametrize("frozen", [False, True])
def test_encoders_are_right(frozen):
    """Their fast path and their fused attention step aside; so does a wrong forward derivative."""
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
    model = nn.Sequential(encoder, nn.Flatten(), nn.Linear(20, 3)).eval()
    encoder.requires_grad_(not frozen)
    x = torch.randn(6, 5, 4)
    y = torch.arange(6) % 3
    loss = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE)
    hessian = Hessian(loss)
    v = torch.randn(hessian.size, dtype=DOUBLE)
    up, down = (loss.gradient(loss.weights + s * 1e-5 * v)[1] for s in (1, -1))
    torch.testing.assert_close(hessian.matvec(v), (up - down) / 2e-5, rtol=1e-5, atol=1e-7)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_an_operation_of_torch_with_a_wrong_second_derivative_is_named(norm):
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3))
    hessian = Hessian(MeanLoss(model, F.cross_entropy, data(), dtype=DOUBLE))
    with pytest.raises(InputError, match="Sequential: operation: WeightNormInterfaceBackward0, of"):
        hessian.matvec(torch.ones(hessian.size))
    hessian = Hessian(MeanLoss(model, F.cross_entropy, data(), dtype=DOUBLE))
    hessian._trusted, hessian._forward = True, False
    for measure in (spectrum, xtrace):  # were its name unknown
        with pytest.raises(InputError, match="Hessian: symmetry: u'Hv and v'Hu differ by 0"):
            measure(hessian)


@pytest.mark.parametrize("layer", [nn.LayerNorm((5, 4)), nn.InstanceNorm1d(5)])
def test_where_the_forward_derivative_is_wrong_it_is_not_used(layer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), layer, nn.Tanh(), nn.Flatten(), nn.Linear(20, 3))
    x = torch.randn(6, 5, 4)
    loss = MeanLoss(model, F.cross_entropy, (x, torch.arange(6) % 3), dtype=DOUBLE)
    hessian = Hessian(loss)
    v = torch.randn(hessian.size, dtype=DOUBLE)
    up, down = (loss.gradient(loss.weights + s * 1e-5 * v)[1] for s in (1, -1))
    torch.testing.assert_close(hessian.matvec(v), (up - down) / 2e-5, rtol=1e-5, atol=1e-7)


def test_an_asymmetry_is_refused_and_rounding_is_not(monkeypatch):
    """A loss whose gradient is no gradient: the flow turns. And a network that has learned all."""

    class Turning(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.square().sum(1)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * g[:, None] * (x + 0.3 * x.roll(1, 1))

    model = nn.Linear(4, 3, bias=False)
    for measure, dtype in ((spectrum, None), (spectrum, DOUBLE), (xtrace, None)):
        loss = MeanLoss(model, lambda z, _: Turning.apply(z).mean(), data(), dtype=dtype)
        hessian = Hessian(loss)
        hessian._trusted = True  # not compared with differences, in which it is right
        hessian._forward = False
        with pytest.raises(InputError, match=r"Hessian: symmetry: u'Hv and v'Hu differ by 0\.\d+"):
            measure(hessian)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    x, y = data()
    optimizer = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(1500):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        net[2].weight.mul_(2.0), net[2].bias.mul_(2.0)
    loss = MeanLoss(net, F.cross_entropy, (x, y))
    met = []
    with monkeypatch.context() as patched:
        patched.setattr(lanczos, "check_symmetric", lambda *of: met.append(of[1] / of[2]))
        found = spectrum(Hessian(loss), tol=0, max_products=25).largest[0].value
    assert met[0] > symmetry.tolerance(torch.float32)
    assert spectrum(Hessian(loss), tol=0, max_products=25).largest[0].value == found


# Activation checkpointing


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.middle = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        self.run = functools.partial(checkpoint, self.middle, use_reentrant=reentrant)
        if reentrant is None:
            self.run = self.middle

    def forward(self, x):
        return self.last(self.run(torch.tanh(self.first(x))))


@pytest.mark.parametrize("dtype", [None, DOUBLE])
@pytest.mark.parametrize("held", [512, 15])
def test_checkpointing_changes_nothing(dtype, held):
    x, y = data()
    plain, saving = (
        MeanLoss(Checkpointed(way), F.cross_entropy, (x, y), dtype=dtype, held=held)
        for way in (None, False)
    )
    at = plain.weights * 1.5
    torch.testing.assert_close(saving.gradient(at)[1], plain.gradient(at)[1], rtol=1e-5, atol=1e-7)
    assert worst_case(saving, 0.5).value == pytest.approx(worst_case(plain, 0.5).value, rel=1e-5)
    rows = torch.randn(3, plain.size, generator=torch.Generator().manual_seed(3))
    expected, found = (Hessian(loss, at) for loss in (plain, saving))
    for _ in range(2):
        torch.testing.assert_close(found.matmat(rows), expected.matmat(rows), rtol=1e-4, atol=1e-5)


def test_the_older_checkpointing_is_refused_in_one_line():
    loss = MeanLoss(Checkpointed(True), F.cross_entropy, data())
    for call in (lambda: loss.gradient(loss.weights), lambda: spectrum(Hessian(loss))):
        with pytest.raises(InputError, match=r"use_reentrant=True\) is not allowed") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_the_older_checkpointing_of_the_first_layers_is_refused_too():
    """Torch gives their parameters no gradient, and says so in a warning."""

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.last(checkpoint(self.first, x, use_reentrant=True).tanh())

    loss = MeanLoss(First(), F.cross_entropy, data())
    for call in (lambda: loss.gradient(loss.weights), lambda: spectrum(Hessian(loss))):
        with pytest.raises(InputError, match=r"use_reentrant=True\) is not allowed"):
            call()


@pytest.mark.parametrize("settings", [{"max_norm": 1.0}, {"sparse": True}])
def test_embeddings_that_cannot_be_measured_are_told_in_a_line(settings):
    model = nn.Sequential(nn.Embedding(5, 4, **settings), nn.Tanh(), nn.Linear(4, 3))
    loss = MeanLoss(model, F.cross_entropy, (torch.arange(40) % 5, data()[1]))
    told = "max_norm" if "max_norm" in settings else "a sparse gradient"
    with pytest.raises(InputError, match=rf"\Amodel: [^\n]*{told}[^\n]+\Z"):
        loss.gradient(loss.weights)


@torch.inference_mode()
def test_inference_mode_is_refused():
    """Nothing has a derivative in it: all would be zero."""
    loss = MeanLoss(nn.Linear(4, 3), F.cross_entropy, data())
    for call in (lambda: loss.gradient(loss.weights), lambda: spectrum(Hessian(loss))):
        with pytest.raises(InputError, match=r"derivative: torch\.inference_mode\(\) [^\n]+\Z"):
            call()


@pytest.mark.filterwarnings("error:of its own")
def test_warnings_of_a_model_stay_what_they_are():
    class Talking(nn.Linear):
        def forward(self, x):
            if torch.is_grad_enabled():
                warnings.warn("of its own", stacklevel=2)
            return super().forward(x)

    loss = MeanLoss(Talking(4, 3), F.cross_entropy, data())
    with pytest.raises(UserWarning, match="of its own"):
        loss.gradient(loss.weights)


def test_a_wrong_function_is_refused_beside_a_loss_that_has_float32_alone():
    weights = torch.tensor([1.0, 2.0, 1.0])

    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets, weights)

    def hessian(function):
        return Hessian(
            MeanLoss(Custom(function.apply), loss, data(), weight=lambda y: weights[y].sum())
        )

    ones = torch.ones(hessian(Cube).size)
    assert hessian(Cube).matvec(ones).isfinite().all()
    with pytest.raises(InputError, match="Detached, of which a product is"):
        hessian(Detached).matvec(ones)


def test_what_the_loss_does_not_bend_with_is_zero_and_not_refused():
    at = torch.ones(3, requires_grad=True)
    assert torch.equal(derivative((2 * at).sum(), at, graph=True), torch.full((3,), 2.0))
    model = nn.Linear(4, 3)
    hessian = Hessian(MeanLoss(model, lambda z, _: z.mean(), data()))
    assert torch.equal(hessian.matvec(torch.ones(15)), torch.zeros(15))
