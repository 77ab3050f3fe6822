"""Models of several inputs: closed forms, parts and the whole, graphs, what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tiny_molecules
from samscope import data, models
from samscope.errors import InputError
from samscope.measure import hessian
from samscope.measure.flatness import measure, pooled
from samscope.measure.hessian import Hessian
from samscope.measure.landscape import measure_surface, random_plane
from samscope.measure.noise import noise_floor
from samscope.measure.objective import MeanLoss
from samscope.tasks import molecules

DOUBLE = torch.float64
RANDOM = torch.Generator().manual_seed(0)
LEFT, RIGHT = torch.randn(2, 10, 3, generator=RANDOM, dtype=DOUBLE).unbind(0)
PLACE = torch.arange(10, dtype=torch.int16) % 2
Y = torch.randn(10, generator=RANDOM, dtype=DOUBLE)


class Bilinear(nn.Module):
    """u'W v of two inputs, plus what a third of whole numbers picks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 9, dtype=DOUBLE).view(3, 3))
        self.shift = nn.Parameter(torch.tensor([0.5, -0.5], dtype=DOUBLE))

    def forward(self, left, right, place):
        assert place.dtype == torch.int16
        return ((left @ self.weight) * right).sum(1) + self.shift[place.long()]


INPUTS = LEFT, RIGHT, PLACE
FORMS = {
    "tuple": (INPUTS, Y),
    "list": [(list(INPUTS), Y)],
    "by name": ({"place": PLACE, "right": RIGHT, "left": LEFT}, Y),
    "batches": [(tuple(t[:6] for t in INPUTS), Y[:6]), (tuple(t[6:] for t in INPUTS), Y[6:])],
    "pair as a list": [[{"left": LEFT, "right": RIGHT, "place": PLACE}, Y]],
}


@pytest.fixture(autouse=True, params=["reverse over reverse", "reverse over forward"])
def way(request, monkeypatch):
    """Both ways to a product, whatever the device."""
    monkeypatch.setattr(hessian, "BY_SLOPE", ("cpu",) if "forward" in request.param else ())


@pytest.mark.parametrize("form", FORMS)
def test_the_hessian_of_a_bilinear_model_is_the_formula(form):
    """The model is linear in its weights: H = 2/N X'X, X the products of the inputs."""
    model = Bilinear()
    mean_loss = MeanLoss(model, F.mse_loss, FORMS[form])
    features = (LEFT[:, :, None] * RIGHT[:, None]).flatten(1)
    features = torch.cat([features, F.one_hot(PLACE.long(), 2)], 1)
    exact = 2 / 10 * features.T @ features
    found = Hessian(mean_loss).matmat(torch.eye(11, dtype=DOUBLE))
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-14)
    misses = features @ mean_loss.weights - Y
    assert mean_loss(mean_loss.weights) == pytest.approx(float(misses.square().mean()), rel=1e-14)
    slope = mean_loss.gradient(mean_loss.weights)[1]
    torch.testing.assert_close(slope, 2 / 10 * features.T @ misses, rtol=1e-12, atol=1e-14)


def test_the_hessian_elsewhere_is_that_of_a_model_there():
    model, x = nn.Linear(3, 2).double(), LEFT
    loss = lambda outputs, targets: (outputs.tanh().sum(1) - targets).pow(2).mean()  # noqa: E731
    mean_loss, at = MeanLoss(model, loss, (x, Y)), torch.linspace(-1, 1, 8, dtype=DOUBLE)
    v = torch.ones(8, dtype=DOUBLE)
    found, here = Hessian(mean_loss, at).matvec(v), Hessian(mean_loss).matvec(v)
    nn.utils.vector_to_parameters(at, model.parameters())
    assert torch.equal(found, Hessian(MeanLoss(model, loss, (x, Y))).matvec(v))
    assert not torch.allclose(found, here)
    with pytest.raises(InputError, match="Hessian: at: 7 weights is not allowed; allowed: 8"):
        Hessian(mean_loss, at[1:])


@pytest.fixture
def graphs(tmp_path):
    """A network for molecules, its atoms and bonds, and their classes."""
    tiny_molecules.write(tmp_path, tiny_molecules.random_texts(40))
    samples = molecules.padded(data.read("mutagenicity", tmp_path))
    return models.build("gcn", 2, 14, seed=2), samples.inputs, samples.targets


def test_chunks_of_graphs_are_the_whole(graphs):
    model, x, y = graphs
    whole = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE)
    parts = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE, held=7)
    assert [len(targets) for _, targets in parts.chunks] == [7, 7, 7, 7, 7, 5]
    assert sum(parts.share(i) for i in range(6)) == pytest.approx(1)
    w, v = whole.weights, torch.randn(whole.size, generator=RANDOM, dtype=DOUBLE)
    assert parts(w) == pytest.approx(whole(w), rel=1e-13)
    for one, other in (
        (parts.gradient(w)[1], whole.gradient(w)[1]),
        (Hessian(parts).matvec(v), Hessian(whole).matvec(v)),
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_a_product_with_a_graph_networks_hessian_is_a_difference_of_gradients(graphs):
    model, x, y = graphs
    mean_loss = MeanLoss(model, F.cross_entropy, (x, y), dtype=DOUBLE)
    v, step = torch.randn(mean_loss.size, generator=RANDOM, dtype=DOUBLE), 1e-8
    up, down = (mean_loss.gradient(mean_loss.weights + s * v)[1] for s in (step, -step))
    found = Hessian(mean_loss).matvec(v)
    assert float(found.norm()) > 0.1
    torch.testing.assert_close(found, (up - down) / (2 * step), rtol=1e-4, atol=1e-6)


def test_what_is_built_on_it_takes_them(graphs, tmp_path):
    model, x, y = graphs
    halves = [(tuple(t[part] for t in x), y[part]) for part in (slice(20), slice(20, 40))]
    model.train()  # dropout and all
    record = measure(MeanLoss(model, F.cross_entropy, (x, y)), 2, products=20, trace_products=4)
    again = measure(MeanLoss(model, F.cross_entropy, halves), 2, products=20, trace_products=4)
    assert again.record()["largest"] == pytest.approx(record.record()["largest"], rel=1e-4)
    found = pooled(model, F.cross_entropy, halves, top_n=2).record()
    # The Hessian of the whole is the mean of the halves', whose largest are above it (Jensen).
    assert found["mean_of_largest"] >= record.spectrum.largest.values[0] * (1 - 1e-5)
    noise = noise_floor(model, F.cross_entropy, halves, (x, y), rho=0.1)
    assert sum(noise["shares"]) <= 100
    assert noise["float64"][0] > 90
    plane, path = random_plane(model, 0), tmp_path / "s.csv"
    silent = lambda line: None  # noqa: E731
    arguments = (F.cross_entropy, x, y, plane, [-0.5, 0.0], [0.0], "eval", path, {}, silent)
    surface = measure_surface(model, *arguments)
    assert surface.settings["images"] == 40
    model.eval()
    with torch.no_grad():
        outputs = model(*x)
    exact = F.cross_entropy(outputs, y).item()
    assert surface.loss[1, 0] == pytest.approx(exact, rel=1e-6)
    assert surface.accuracy[1, 0] == pytest.approx(100 * (outputs.argmax(1) == y).double().mean())
    arguments = (F.cross_entropy, (x[0], x[1].flip(1)), *arguments[2:])
    assert (
        measure_surface(model, *arguments).settings["data_sha256"]
        != (surface.settings["data_sha256"])
    )


def test_gradients_of_zero_divide_nothing():
    """Half of the weights meet inputs of zeros alone, and the rest ends where it is best."""
    model = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(model.weight)
    x = torch.cat([torch.ones(6, 2), torch.zeros(6, 2)], 1)
    for y in (torch.zeros(6, 1), torch.ones(6, 1)):
        record = measure(MeanLoss(model, F.mse_loss, (x, y)), top_n=1).record()
        assert record["largest"] == pytest.approx([4.0])
        found = pooled(model, F.mse_loss, [(x, y)], top_n=1).record()
        assert found["largest"] == pytest.approx(4.0)
        noise = noise_floor(model, F.mse_loss, [(x, y)] * 2, (x, y), rho=0.1)
        assert noise["another_batch"][0] == 100.0


def test_what_cannot_be_used_is_one_line():
    model, short = Bilinear(), (LEFT, RIGHT[:9], PLACE)
    for batches, named in [
        ((short, Y), "MeanLoss: batch 0: pair: 10, 9, 10 inputs, 10 targets is not allowed"),
        ((INPUTS, Y[:9]), "10, 10, 10 inputs, 9 targets"),
        (((), Y), "batch 0: pair: tuple is not allowed; allowed: inputs and targets, each one"),
        (({}, Y), "batch 0: pair: tuple"),
        (({"left": 3}, Y), "batch 0: pair: tuple"),
        ([(INPUTS, [1, 2])], "batch 0: pair: tuple"),
        ([(INPUTS, Y), LEFT], "batch 1: pair: Tensor"),
        ({"left": LEFT, "right": "text"}, "batch 0: pair: tuple"),
    ]:
        with pytest.raises(InputError) as error:
            MeanLoss(model, F.mse_loss, batches)
        assert named in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"top_eigenvalues: x: tuple .* lanczos takes several"):
        pooled(model, F.mse_loss, [(INPUTS, Y)], top_n=1, backend="pyhessian")
    plane, path = random_plane(model, 0), "none.csv"
    with pytest.raises(InputError, match=r"landscape: x, y: \(10, 9, 10, 10\)"):
        measure_surface(model, F.mse_loss, short, Y, plane, [0], [0], "eval", path, {})
