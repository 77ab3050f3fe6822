"""The loss around trained weights: closed forms, exact grid points, no side effects."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from samscope.errors import InputError
from samscope.measure import landscape
from samscope.measure.landscape import (
    Plane,
    Segment,
    measure_surface,
    random_plane,
    trajectory_plane,
    weights,
)

GRID = [-1.0, -0.25, 0.0, 0.5]
silent = partial(measure_surface, about={}, report=lambda line: None)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained():
    """A network with batch normalisation and dropout, trained on 60 images, and its path."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 7)),
        )
        x, y = torch.randn(60, 1, 8, 8), torch.randint(0, 7, (60,))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        path = []
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            path.append(copy.deepcopy(model.state_dict()))
    return model, x, y, path


class Quadratic(nn.Module):
    """``1/2 w'Hw`` whatever the input."""

    def __init__(self, hessian: torch.Tensor, start: torch.Tensor) -> None:
        super().__init__()
        self.hessian, self.weights = hessian, nn.Parameter(start.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.weights @ self.hessian @ self.weights


def test_a_quadratic_along_its_eigenvectors_is_the_formula(tmp_path):
    random = np.random.default_rng(0)
    half = random.normal(size=(6, 6))
    hessian, start = half + half.T, random.normal(size=6)
    model = Quadratic(torch.tensor(hessian), torch.tensor(start))
    values, vectors = np.linalg.eigh(hessian)
    plane = Plane(weights(model), torch.tensor(vectors.T[[5, 0]].copy()))
    a, b, path = np.array(GRID), np.array([-2.0, 0.0, 3.0]), tmp_path / "q.csv"
    itself, nothing = lambda outputs, _: outputs, torch.zeros(3, 1)
    found = silent(model, itself, nothing, nothing, plane, a, b, "eval", path)
    slopes = vectors.T @ hessian @ start
    first = slopes[5] * a + values[5] * a**2 / 2
    second = slopes[0] * b + values[0] * b**2 / 2
    expected = start @ hessian @ start / 2 + first[:, None] + second
    np.testing.assert_allclose(found.loss, expected, rtol=0, atol=1e-13)
    assert np.isnan(found.accuracy).all()


def test_weights_are_exactly_on_the_grid_and_seen_by_the_loss(trained, tmp_path):
    model, x, y, _ = trained
    seen = []

    def remembers(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(weights(model).numpy())
        return sum(p.square().sum() for p in model.parameters())

    plane = random_plane(model, 3)
    grid = np.linspace(-1, 1, 9)
    found = silent(model, remembers, x, y, plane, grid, GRID, "eval", tmp_path / "g.csv")
    wide = (vector.numpy().astype(np.longdouble) for vector in (plane.origin, *plane.directions))
    origin, first, second = wide
    points = [origin + a * first + b * second for a in grid for b in GRID]
    for point, used in zip(points, seen, strict=True):
        np.testing.assert_array_equal(used, point.astype(np.float32))
    norms = [float(np.square(point).sum()) for point in points]
    np.testing.assert_allclose(found.loss.reshape(-1), norms, rtol=1e-6)


def test_filters_of_a_direction_have_the_norms_of_the_model(trained):
    model = trained[0]
    sizes = [p.numel() for p in model.parameters()]
    for direction in random_plane(model, 1).directions:
        for p, piece in zip(model.parameters(), direction.split(sizes), strict=True):
            if p.ndim == 1:
                assert not piece.any()
                continue
            for row, filter_ in zip(piece.view_as(p), p.detach(), strict=True):
                assert float(row.norm()) == pytest.approx(float(filter_.double().norm()), rel=1e-12)


def test_directions_are_gaussian_of_zero_mean_and_follow_the_seed():
    model = nn.Linear(40, 5)
    nn.init.constant_(model.weight, 1.0)  # so that each element has variance 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        planes = [random_plane(model, seed) for seed in range(300)]
        torch.manual_seed(1)
        again = random_plane(model, 7)
    assert torch.equal(again.directions, planes[7].directions)
    values = torch.stack([p.directions[:, :200] for p in planes])
    assert abs(float(values.mean())) < 4 / math.sqrt(values.numel())
    assert float(values.mean(0).abs().max()) < 5 / math.sqrt(300)
    # A Gaussian of 40 elements scaled to norm sqrt(40): E x^4 = 3 * 40 / 42.
    assert float(values.pow(4).mean()) == pytest.approx(3 * 40 / 42, rel=0.03)
    products = (values[:, 0] * values[:, 1]).sum(1) / 200
    assert float(products.abs().max()) < 5 / math.sqrt(200)
    assert abs(float(products.mean())) < 4 / math.sqrt(300 * 200)


def test_a_line_has_the_numbers_of_the_solutions_it_joins(trained, tmp_path):
    model, x, y, path = trained
    segment = Segment(weights(model, path[2]), weights(model, path[-1]))
    csv = tmp_path / "l.csv"
    found = silent(model, F.cross_entropy, x, y, segment, [0, 0.5, 1], [0], "eval", csv)
    for row, state in ((0, path[2]), (2, path[-1])):
        twin = copy.deepcopy(model)
        nn.utils.vector_to_parameters(weights(model, state), twin.parameters())
        with torch.no_grad():
            outputs = twin.eval()(x)
        loss = F.cross_entropy(outputs, y).item()
        assert found.loss[row, 0] == pytest.approx(loss, rel=1e-6)
        right = (outputs.argmax(1) == y).double().mean().item()
        assert found.accuracy[row, 0] == pytest.approx(100 * right)
    assert found.loss.shape == found.accuracy.shape == (3, 1)


@pytest.mark.parametrize(("batch", "parts"), [(60, 1), (25, 3)])
def test_batch_statistics_are_those_of_train_mode(trained, tmp_path, monkeypatch, batch, parts):
    model, x, y, _ = trained
    monkeypatch.setattr(landscape, "BATCH", batch)
    call = partial(silent, model, F.cross_entropy, x, y, random_plane(model, 0), [0], [0])
    fixed = call("eval", tmp_path / "fixed.csv").loss.item()
    recomputed = call("batch", tmp_path / "recomputed.csv").loss.item()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        assert fixed == pytest.approx(F.cross_entropy(twin.eval()(x), y).item(), rel=1e-6)
        twin.train()[4].eval()  # dropout stays off
        pairs = zip(x.chunk(parts), y.chunk(parts), strict=True)
        losses = [F.cross_entropy(twin(inputs), targets).item() for inputs, targets in pairs]
    assert recomputed == pytest.approx(np.mean(losses), rel=1e-6)
    assert recomputed != pytest.approx(fixed, rel=1e-3)


def state(model: nn.Module) -> list[object]:
    """All a measurement could leave changed."""
    tensors = [*model.state_dict().values(), torch.random.get_rng_state()]
    return [
        [tensor.numpy().tobytes() for tensor in tensors],
        [(id(tensor), tensor.data_ptr()) for tensor in (*model.parameters(), *model.buffers())],
        [module.training for module in model.modules()],
        [(p.requires_grad, id(p.grad)) for p in model.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("policy", ["eval", "batch"])
def test_nothing_of_the_caller_changes(trained, tmp_path, policy):
    model, x, y, _ = trained
    model = copy.deepcopy(model).train()
    model[4].eval()
    model[0].bias.requires_grad_(False)
    F.cross_entropy(model(x), y).backward()
    model[5].weight.grad = None
    with torch.no_grad():
        model[5].bias[:2] = torch.tensor([-0.0, 1e-42])
    pending = F.cross_entropy(model(x), y)
    plane, before = random_plane(model, 0), state(model)
    calls = []

    def careless(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(model.training)
        torch.rand(3)
        model[0].bias.requires_grad_(True)
        with torch.enable_grad():
            model(x[:5]).sum().backward()
        model[1].running_mean = torch.ones(4)
        model[1].running_var.fill_(2.0)
        if len(calls) == 5:
            raise KeyError("on purpose")
        return F.cross_entropy(outputs, targets)

    silent(model, F.cross_entropy, x, y, plane, GRID, GRID, policy, tmp_path / "a.csv")
    assert state(model) == before
    with pytest.raises(KeyError):
        silent(model, careless, x, y, plane, GRID, GRID, policy, tmp_path / "b.csv")
    assert calls == [False] * 5
    assert state(model) == before
    gradient = torch.autograd.grad(pending, model[5].bias)[0]
    again = torch.autograd.grad(F.cross_entropy(model(x), y), model[5].bias)[0]
    assert torch.equal(gradient, again)


def test_a_trajectory_has_the_components_of_scikit_learn(trained):
    model, _, _, path = trained
    found = trajectory_plane(model, path)
    points = np.stack([weights(model, p).double().numpy() for p in path])
    theirs = PCA(2, svd_solver="full").fit(points)
    np.testing.assert_allclose(found.explained, theirs.explained_variance_ratio_, rtol=1e-10)
    directions = found.plane.directions.numpy()
    signs = np.sign((directions * theirs.components_).sum(1))
    np.testing.assert_allclose(directions, signs[:, None] * theirs.components_, atol=1e-9)
    moved = signs * (theirs.transform(points) - theirs.transform(points[-1:]))
    np.testing.assert_allclose(found.coordinates, moved, atol=1e-9)
    assert (found.coordinates[0] >= 0).all()
    assert torch.equal(found.plane.at(0.0, 0.0).float(), weights(model, path[-1]))
    # The distance off the plane is what least squares leaves over.
    for point, distance in zip(points, found.distances, strict=True):
        rest = np.linalg.lstsq(directions.T, point - points[-1], rcond=None)[1]
        assert float(distance) == pytest.approx(math.sqrt(rest[0]), abs=1e-9)
    assert float(found.distances.max()) > 0
    flat = trajectory_plane(model, [weights(model, p) for p in path])
    assert torch.equal(flat.plane.directions, found.plane.directions)


def test_three_solutions_lie_in_their_plane(trained):
    model, _, _, path = trained
    found = trajectory_plane(model, solutions := [path[0], path[10], path[-1]])
    assert float(found.distances.max()) < 1e-12
    assert float(found.explained.sum()) == pytest.approx(1.0, abs=1e-12)
    for (a, b), solution in zip(found.coordinates.tolist(), solutions, strict=True):
        error = found.plane.at(a, b) - weights(model, solution)
        assert float(error.abs().max()) < 1e-12


def test_uneven_batches_weigh_by_their_size(trained, tmp_path, monkeypatch):
    model, x, y, _ = trained
    call = partial(silent, model, F.cross_entropy, x[:53], y[:53], random_plane(model, 0))
    whole = call(GRID, GRID, "eval", tmp_path / "whole.csv")
    monkeypatch.setattr(landscape, "BATCH", 10)
    parts = call(GRID, GRID, "eval", tmp_path / "parts.csv")
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-6)
    np.testing.assert_array_equal(parts.accuracy, whole.accuracy)
    assert len(np.unique(whole.accuracy)) > 3


def test_losses_of_batches_add_up_in_float64(trained, tmp_path, monkeypatch):
    model, x, y, _ = trained
    monkeypatch.setattr(landscape, "BATCH", 1)
    tenth = lambda outputs, targets: torch.tensor(0.1)  # noqa: E731
    found = silent(model, tenth, x, y, random_plane(model, 0), [0], [0], "eval", tmp_path / "t.csv")
    assert found.loss.item() == pytest.approx(float(np.float32(0.1)), rel=1e-15)


def test_what_cannot_be_measured_is_named(trained, tmp_path):
    model, x, y, path = trained
    plane, csv = random_plane(model, 0), tmp_path / "s.csv"
    base = dict(model=model, loss=F.cross_entropy, x=x, y=y, plane=plane, a=GRID, b=[0.0])
    base |= dict(batchnorm="eval", path=csv)
    origin = plane.origin
    line, ray = Segment(origin, origin), Plane(origin, origin[None])
    without = {name: value for name, value in path[0].items() if name != "5.bias"}
    refused = lambda **changes: silent(**{**base, **changes})  # noqa: E731
    for call, named in [
        (lambda: refused(y=y[:9]), "landscape: x, y: (60, 9)"),
        (lambda: refused(x=x[:0], y=y[:0]), "landscape: x, y: (0, 0)"),
        (lambda: refused(a=[]), "landscape: a: []"),
        (lambda: refused(a=[0.0, 0.0]), "ascending order"),
        (lambda: refused(b=[0.0, math.inf]), "landscape: b: [0.0, inf]"),
        (lambda: refused(plane=line, b=[1.0]), "allowed: [0.0] on a line"),
        (lambda: refused(plane=ray, b=GRID), "allowed: [0.0] on a line"),
        (lambda: refused(batchnorm="fixed"), "batchnorm: fixed is not allowed; allowed: eval or"),
        (lambda: refused(model=model[0]), "landscape: plane: of 307 weights"),
        (lambda: refused(path=tmp_path / "rho=0.2"), "path: "),
        (lambda: refused(loss=lambda o, t: o), "loss: value: (60, 7)"),
        (lambda: weights(model, without), "state dict: 5.bias: missing"),
        (lambda: weights(model[0], {"weight": y, "bias": y}), "state dict: weight: (60,)"),
        (lambda: random_plane(model[1], 0), "BatchNorm2d: parameters: no filters"),
        (lambda: trajectory_plane(model, path[:2]), "trajectory: points: 2"),
        (lambda: trajectory_plane(model, [origin] * 3), "trajectory: points: all the same"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)
        assert "\n" not in str(error.value)
