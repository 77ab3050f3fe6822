"""Losses and data as people have them: what is no mean over samples, and batches of every form."""

import collections
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from samscope.errors import InputError
from samscope.measure import Hessian, MeanLoss, curvature, own_loss, spectrum, worst_case
from samscope.measure.landscape import measure_surface, random_plane

DOUBLE = torch.float64
WEIGHTS = torch.tensor([1.0, 5.0, 0.2])


def data(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=random), torch.randint(3, (n,), generator=random)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def ignoring() -> tuple[torch.Tensor, torch.Tensor]:
    """Targets of which some are ignored, in the last chunk all."""
    x, y = data()
    return x, torch.where((torch.arange(60) % 3 == 0) | (torch.arange(60) > 47), -100, y)


def weighted(outputs, targets):
    return F.cross_entropy(outputs, targets, weight=WEIGHTS.to(outputs))


def summed(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="sum")


# What is no mean


@pytest.mark.parametrize("held", [512, 12])
@pytest.mark.parametrize(
    ("loss", "batch"), [(weighted, data()), (summed, data()), (F.cross_entropy, ignoring())]
)
def test_a_loss_that_is_no_mean_over_samples_is_refused(loss, batch, held):
    with pytest.raises(InputError, match=r"MeanLoss: loss: [\d.]+ on \d+ samples and .* weight="):
        MeanLoss(network(), loss, batch, held=held)


@pytest.mark.parametrize(
    ("loss", "batch", "weight"),
    [
        (weighted, data(), lambda y: WEIGHTS[y].sum()),
        (F.cross_entropy, ignoring(), lambda y: (y != -100).sum()),
    ],
)
def test_with_the_weight_of_a_batch_the_chunks_are_the_whole(loss, batch, weight):
    x, y = batch
    whole = loss(network()(x), y).item()
    parts = MeanLoss(network(), loss, batch, weight=weight, held=12, dtype=DOUBLE)
    together = MeanLoss(network(), loss, batch, weight=weight, dtype=DOUBLE)
    assert parts(parts.weights) == pytest.approx(whole, rel=1e-6)
    v = torch.randn(parts.size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(Hessian(parts).matvec(v), Hessian(together).matvec(v))
    one, other = (worst_case(loss, 0.1, 5) for loss in (parts, together))
    assert one.value == pytest.approx(other.value)
    if loss is F.cross_entropy:
        assert [len(targets) for _, targets in parts.chunks] == [12] * 4


def test_weights_that_are_none_are_refused():
    for weight in (lambda y: 0, lambda y: -1, lambda y: float("nan")):
        with pytest.raises(InputError, match="MeanLoss: weight: "):
            MeanLoss(network(), F.cross_entropy, data(), weight=weight)
    with pytest.raises(InputError, match=r"MeanLoss: weight: \[60\] .* one number for a batch"):
        MeanLoss(network(), F.cross_entropy, data(), weight=lambda y: y)


def test_what_is_no_data_is_refused():
    for batches in (None, 5):
        with pytest.raises(InputError, match=f"MeanLoss: batches: {type(batches).__name__} "):
            MeanLoss(network(), F.cross_entropy, batches)


def test_a_loss_module_follows_the_dtype_and_stays():
    loss = nn.CrossEntropyLoss(weight=WEIGHTS.clone())
    settings = {"weight": lambda y: WEIGHTS[y].sum(), "dtype": DOUBLE}
    found = MeanLoss(network(), loss, data(), **settings)
    expected = MeanLoss(network(), weighted, data(), **settings)
    assert found(found.weights) == expected(expected.weights)
    assert loss.weight.dtype == torch.float32
    low = MeanLoss(network(), loss, data(), weight=settings["weight"]).in_float64()
    assert low(low.weights) == expected(expected.weights)


@pytest.mark.parametrize("batchnorm", ["eval", "batch"])
def test_what_is_a_mean_is_not_refused(batchnorm):
    """With batch statistics, penalties, random numbers, outputs of several tensors."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))

    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x, y):
            return F.cross_entropy(self.inner(x + torch.randn_like(x)), y)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x):
            return {"a": self.inner(x), "b": self.inner(-x)}

    x, y = data()
    for of, loss, batch in [
        (model, lambda z, t: F.cross_entropy(z, t) + model[0].weight.square().sum(), (x, y)),
        (model, lambda z, t: F.cross_entropy(z + torch.randn_like(z), t), (x, y)),
        (Twice(), lambda z, t: F.cross_entropy(z["a"] - z["b"], t), (x, y)),
        (Drawing(), own_loss, {"x": x, "y": y}),
    ]:
        MeanLoss(of, loss, batch, batchnorm=batchnorm, held=20)


def test_the_check_takes_a_few_samples(monkeypatch):
    seen = []
    model = network()
    model[0].register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    MeanLoss(model, F.cross_entropy, data(4000), held=100)
    assert seen == [16] * 4


# Batches


def expected(loss=F.cross_entropy) -> tuple[float, float]:
    found = MeanLoss(network(), loss, data())
    return found(found.weights), spectrum(Hessian(found)).largest.values[0]


class Speaking(nn.Module):
    """Called with names; gives a mapping whose loss and logits are attributes too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs, mask=None, labels=None):
        logits = self.inner(inputs if mask is None else inputs * mask)
        output = Output(logits=logits)
        if labels is not None:
            output["loss"] = F.cross_entropy(logits, labels)
        return output


class Output(collections.OrderedDict):
    __getattr__ = collections.OrderedDict.__getitem__


class Added(nn.Module):
    """Of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, a, b):
        return self.inner(a + b)


X, Y = data()
NAMED = {"inputs": X, "mask": torch.ones(60, 1), "labels": Y}


@pytest.mark.parametrize(
    ("model", "loss", "batches"),
    [
        (network(), F.cross_entropy, DataLoader(TensorDataset(X, Y), batch_size=25)),
        (Added(), F.cross_entropy, (X - 1, torch.ones(60, 4), Y)),
        (Added(), F.cross_entropy, ((X - 1, torch.ones(60, 4)), Y)),
        (Added(), F.cross_entropy, DataLoader(TensorDataset(X - 1, torch.ones(60, 4), Y), 25)),
        (Speaking(), own_loss, NAMED),
        (Speaking(), own_loss, collections.UserDict(NAMED)),
        (Speaking(), own_loss, [{k: t[i : i + 20] for k, t in NAMED.items()} for i in (0, 20, 40)]),
        (Speaking(), lambda out, batch: F.cross_entropy(out.logits, batch["labels"]), [NAMED]),
        (Speaking(), lambda out, y: F.cross_entropy(out.logits, y), ({"inputs": X}, Y)),
        (network(), lambda z, y: F.cross_entropy(z, y["of"]), [(X, {"of": Y, "not": Y})]),
        (torch.compile(network(), backend="eager"), F.cross_entropy, (X, Y)),
        (nn.DataParallel(network()), F.cross_entropy, (X, Y)),
        (nn.DataParallel(torch.compile(network(), backend="eager")), F.cross_entropy, (X, Y)),
    ],
)
def test_every_form_gives_the_same_numbers(model, loss, batches):
    found = MeanLoss(model, loss, batches)
    value, largest = expected()
    assert found.samples == 60
    assert found(found.weights) == pytest.approx(value, rel=1e-6)
    assert spectrum(Hessian(found)).largest.values[0] == pytest.approx(largest, rel=1e-4)


def test_a_distributed_model_is_measured_as_it_is(tmp_path):
    distributed = torch.distributed
    store = f"file://{tmp_path}/store"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(network())
        found = MeanLoss(model, F.cross_entropy, (X, Y))
        largest = spectrum(Hessian(found)).largest.values[0]
    finally:
        distributed.destroy_process_group()
    assert largest == pytest.approx(expected()[1], rel=1e-5)


def test_a_module_that_a_model_has_twice_stays_what_it_was():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.again = self.body
            self.last = self.body[2]

        def forward(self, x):
            return self.again(x)

    model, (value, largest) = Twice(), expected()
    before = {name: (id(p), p.tolist()) for name, p in model.named_parameters()}
    for _ in range(2):
        found = MeanLoss(model, F.cross_entropy, data())
        assert found(found.weights) == pytest.approx(value, rel=1e-6)
        assert spectrum(Hessian(found)).largest.values[0] == pytest.approx(largest, rel=1e-4)
        assert worst_case(found, 0.5, 3).value > 0
        assert {name: (id(p), p.tolist()) for name, p in model.named_parameters()} == before


def test_own_losses_that_are_no_means_are_refused_too():
    """A model that computes its loss, of targets some of which it ignores."""
    x, y = ignoring()
    batch = {"inputs": x, "labels": y}
    with pytest.raises(InputError, match="weight= of a batch"):
        MeanLoss(Speaking(), own_loss, batch, held=12)
    weight = lambda batch: (batch["labels"] != -100).sum()  # noqa: E731
    found = MeanLoss(Speaking(), own_loss, batch, held=12, weight=weight)
    assert found(found.weights) == pytest.approx(F.cross_entropy(network()(x), y).item(), rel=1e-6)


def test_compiled_parts_of_a_model_have_second_derivatives():
    model = network()
    model[0] = torch.compile(model[0], backend="aot_eager")
    model(X)  # compiled now
    found = MeanLoss(model, F.cross_entropy, (X, Y), parameters=["0"])
    plain = MeanLoss(network(), F.cross_entropy, (X, Y), parameters=["0"])
    v = torch.ones(25)
    assert torch.equal(Hessian(found).matvec(v), Hessian(plain).matvec(v))


def test_parameters_by_name_and_by_module():
    x, y = data()
    whole = Hessian(MeanLoss(network(), F.cross_entropy, (x, y), dtype=DOUBLE))
    dense = whole.matmat(torch.eye(whole.size))
    for names, rows in [(["2"], range(25, 43)), (["0.bias", "2"], range(20, 43)), ("0", range(25))]:
        part = MeanLoss(network(), F.cross_entropy, (x, y), parameters=names, dtype=DOUBLE)
        assert part.size == len(rows)
        found = Hessian(part).matmat(torch.eye(part.size))
        rows = list(rows)
        torch.testing.assert_close(found, dense[rows][:, rows])
    for names, told in [(["head"], "parameters: head .* modules: 0, 2"), ([], "no names")]:
        with pytest.raises(InputError, match=told):
            MeanLoss(network(), F.cross_entropy, (x, y), parameters=names)


def test_tied_parameters_have_all_of_their_names():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    for names in (["0"], ["2"], ["2.weight", "0"]):
        assert MeanLoss(model, F.cross_entropy, data(), parameters=names).size == 16


def test_complex_parameters_are_refused():
    model = nn.Sequential(nn.Linear(4, 3, dtype=torch.complex64))
    with pytest.raises(InputError, match="Sequential: parameters: complex is not allowed"):
        MeanLoss(model, F.cross_entropy, data(), dtype=DOUBLE)


def test_half_precision_is_computed_in_float32():
    low = network().bfloat16()
    high = network().bfloat16().float()
    mixed = network().bfloat16()
    mixed[2].float()
    for model in (low, mixed):
        found = MeanLoss(model, F.cross_entropy, (X.bfloat16(), Y))
        assert found.dtype == torch.float32
        assert model[0].weight.dtype == torch.bfloat16
    same = MeanLoss(high, F.cross_entropy, (X.bfloat16(), Y))
    low_ = MeanLoss(low, F.cross_entropy, (X.bfloat16(), Y))
    v = torch.ones(43)
    assert torch.equal(Hessian(low_).matvec(v), Hessian(same).matvec(v))


def test_one_call_measures_all():
    loader = DataLoader(TensorDataset(*data()), batch_size=25)
    settings = {"parameters": ["2"], "top_n": 2, "rho": 0.1, "products": 18}
    found = curvature(network(), F.cross_entropy, loader, **settings)
    dense = Hessian(MeanLoss(network(), F.cross_entropy, data(), parameters=["2"]))
    exact = torch.linalg.eigvalsh(dense.matmat(torch.eye(18)).double())
    assert found.spectrum.largest[0].value == pytest.approx(float(exact[-1]), rel=1e-4)
    assert len(found.spectrum.largest.values) == 2
    assert found.worst.rho == 0.1
    with pytest.raises(TypeError, match="radius"):
        curvature(network(), F.cross_entropy, loader, radius=0.1)


def test_a_density_is_one_of_normal_distributions():
    found = spectrum(Hessian(MeanLoss(network(), F.cross_entropy, data())), tol=0, max_products=43)
    low, high = float(found.nodes[0]), float(found.nodes[-1])
    margin = high - low
    grid = torch.linspace(low - margin, high + margin, 20_001, dtype=DOUBLE)
    for width in (None, 0.05 * margin):
        density = found.density(grid, width)
        assert density.dtype == DOUBLE
        assert torch.trapezoid(density, grid).item() == pytest.approx(1, rel=1e-6)
        mean = torch.trapezoid(grid * density, grid).item()
        assert mean == pytest.approx(float(found.nodes @ found.weights), abs=1e-6 * margin)
    with pytest.raises(InputError, match=r"Spectrum\.density: width: 0"):
        found.density(grid, 0)


def test_names_are_imported_when_they_are_used():
    import subprocess

    code = "import sys, samscope.measure as m; assert 'torch' not in sys.modules; dir(m.curvature)"
    code += "; import samscope.measure.flatness; from samscope.measure import curvature as c"
    code += "; assert callable(c)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    import samscope.measure as package

    assert all(callable(getattr(package, name)) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


def test_surfaces_refuse_a_loss_that_is_no_mean(tmp_path):
    model = network()
    x, y = data(600)
    arguments = (x, y, random_plane(model, 0), [0.0], [0.0], "eval", tmp_path / "s.csv", {})
    with pytest.raises(InputError, match="MeanLoss: loss"):
        measure_surface(model, weighted, *arguments)
    assert not list(tmp_path.iterdir())
