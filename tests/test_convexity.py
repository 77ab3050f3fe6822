"""|lambda_min / lambda_max| on a plane: against dense Hessians, and its files."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from exact import rotated
from samscope.errors import InputError
from samscope.measure import convexity
from samscope.measure.convexity import measure_convexity
from samscope.measure.lanczos import spectrum
from samscope.measure.landscape import Plane, random_plane, weights
from samscope.measure.surface import CONVEXITY, read_surface

GRID = [-1.0, 0.0, 0.5]


@pytest.fixture(scope="module")
def network():
    """A network whose loss is not convex, with its inputs and classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3))
        return model, torch.randn(50, 4), torch.randint(0, 3, (50,))


def dense(model, x, y, at) -> np.ndarray:
    """Eigenvalues of the Hessian at some weights, ascending."""
    model = copy.deepcopy(model).double().eval()
    named = {k: p.detach() for k, p in model.named_parameters()}

    def loss(vector: torch.Tensor) -> torch.Tensor:
        pieces = vector.split([p.numel() for p in named.values()])
        shaped = {k: v.view_as(named[k]) for k, v in zip(named, pieces, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, shaped, (x.double(),)), y)

    return np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, at.double()).numpy())


def measured(model, x, y, plane, path, loss=F.cross_entropy, b=GRID, **settings):
    lines = []
    arguments = (model, loss, x, y, plane, GRID, b, path, {"kind": "convexity"})
    return measure_convexity(*arguments, report=lines.append, **settings), lines


def test_it_is_the_dense_hessians_at_every_point(network, tmp_path):
    model, x, y = network
    plane, before = random_plane(model, 0), copy.deepcopy(model.state_dict())
    found, lines = measured(model, x, y, plane, tmp_path / "c.csv")
    assert len(lines) == 3
    assert found.settings["columns"] == list(CONVEXITY) == list(found.values)
    for row, a in enumerate(GRID):
        for column, b in enumerate(GRID):
            exact = dense(model, x, y, plane.at(a, b))
            at = {name: values[row, column] for name, values in found.values.items()}
            assert at["lambda_max"] == pytest.approx(exact[-1], rel=5e-3)
            assert at["lambda_min"] == pytest.approx(exact[0], rel=5e-3)
            ratio = abs(exact[0] / exact[-1])
            assert abs(at["ratio"] - ratio) <= at["error"] <= 0.03 * ratio
    ratios = found.values["ratio"]
    assert ratios.max() > 2 * ratios.min() > 0
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_smallest_eigenvalue_far_above_minus_the_largest_is_found():
    """The first smallest values of Lanczos are near 0, where most eigenvalues are."""
    bulk = [0.001 * i / 300 for i in range(300)]
    operator = torch.diag(torch.tensor([100.0, 30.0, 10.0, -0.4, *bulk], dtype=torch.float64))

    class Diagonal:
        size, dtype, device = len(operator), operator.dtype, operator.device
        matvec = staticmethod(lambda v: operator @ v)
        matmat = staticmethod(lambda rows: rows @ operator)

    arguments = Diagonal(), 1, convexity.TOLERANCE, convexity.PRODUCTS
    found = spectrum(*arguments, ends=convexity.TOLERANCE)
    assert found.concavity().value == pytest.approx(0.004, rel=1e-3)
    assert found.concavity().error < 1e-4


def test_a_convex_loss_has_a_ratio_of_nothing(tmp_path):
    model = nn.Linear(3, 1, bias=False)
    x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    found, _ = measured(model, x, torch.zeros(2, 1), random_plane(model, 0), tmp_path / "c.csv",
                        F.mse_loss)  # fmt: skip
    np.testing.assert_allclose(found.values["lambda_max"], 4.0, rtol=1e-5)
    np.testing.assert_allclose(found.values["ratio"], 0.0, atol=1e-6)


def test_a_known_matrix(tmp_path):
    """Of 1/2 w'Hw the Hessian is H wherever one looks."""
    model = nn.Linear(4, 1, bias=False).double()
    matrix = rotated(5.0, 1.0, 0.5, -2.0)
    loss = lambda outputs, _: 0.5 * (outputs.mT @ matrix @ outputs).mean()  # noqa: E731
    x, y = torch.eye(4, dtype=torch.float64)[None], torch.zeros(1)  # one sample: the outputs are w
    ray = Plane(weights(model), random_plane(model, 0).directions[:1])
    found, _ = measured(model, x, y, ray, tmp_path / "c.csv", loss, b=[0.0])
    np.testing.assert_allclose(found.values["ratio"], 0.4, rtol=1e-10)


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(network, tmp_path):
    model, x, y = network
    plane, path = random_plane(model, 0), tmp_path / "c.csv"
    measured(model, x, y, plane, path)
    whole = path.read_text()
    rows = whole.splitlines(keepends=True)
    assert rows[0] == "a,b,ratio,error,lambda_max,lambda_min\n"
    path.write_text("".join(rows[:6]))
    with pytest.raises(InputError, match=r"c\.csv: grid rows: 1 whole ones"):
        read_surface(path)
    _, lines = measured(model, x, y, plane, path)
    assert [line.split(": ")[1][:5] for line in lines] == ["goes ", "row 2", "row 3"]
    assert path.read_text() == whole
    # A line with too few numbers is none, nor is a loss surface one of these.
    path.write_text("".join([*rows[:4], ",".join(rows[4].split(",")[:4]) + "\n", *rows[5:]]))
    measured(model, x, y, plane, path)
    assert path.read_text() == whole
    settings = json.loads(path.with_suffix(".json").read_text())
    assert (settings["tolerance"], settings["products"]) == (0.01, 60)
    _, lines = measured(model, x, y, plane, path, seed=1)
    assert "of other settings (seed), measured anew" in lines[0]


def test_a_loss_that_is_not_finite_is_empty(network, tmp_path):
    model, x, y = network
    broken = lambda outputs, _: outputs.sum() * torch.inf  # noqa: E731
    found, _ = measured(model, x, y, random_plane(model, 0), tmp_path / "c.csv", broken)
    assert np.isnan(found.values["ratio"]).all()
    assert (tmp_path / "c.csv").read_text().splitlines()[1] == "-1.0,-1.0,,,,"


def test_what_does_not_match_is_named(network, tmp_path):
    model, x, y = network
    plane, path = random_plane(model, 0), tmp_path / "c.csv"
    for arguments, named in [
        ((model, x, y[:9], plane, path), "landscape: x, y: (50, 9)"),
        ((model[0], x, y, plane, path), "landscape: plane: of 51 weights"),
        ((model, x, y, plane, tmp_path / "c.txt"), "a name that ends in .csv"),
    ]:
        with pytest.raises(InputError) as error:
            measured(*arguments)
        assert named in str(error.value)
    frozen = copy.deepcopy(model)
    frozen[0].weight.requires_grad_(False)
    with pytest.raises(InputError, match="Hessian: at: 51 weights is not allowed; allowed: 27"):
        measured(frozen, x, y, plane, path)
