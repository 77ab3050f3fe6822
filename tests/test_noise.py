"""What is noise in the regions of h/g: against closed forms, brute force and SciPy."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn
from torch.func import grad, hessian

from exact import Matrix, rotated
from samscope.measure.noise import (
    BATCHES,
    RHOS,
    agreement,
    diagonal,
    diagonal_ranks,
    noise_floor,
    predicted,
    spearman,
)

torch.set_num_threads(1)
RHO = 0.3


def region(g: float, h: float) -> int:
    """1 to 4 by the ratio itself, 0 without one; see the study's definition."""
    r = h / g if g else math.nan
    inside = (r > 1, 0 < r < 1, r < -1, -1 < r < 0)
    return inside.index(True) + 1 if any(inside) else 0


def percent_same(pairs, others) -> float:
    same = [region(*a) == region(*b) for a, b in zip(pairs, others, strict=True)]
    return 100 * sum(same) / len(same)


@pytest.fixture(scope="module")
def network():
    """A small network with batch normalisation, three mini-batches, and what is found of them."""
    torch.manual_seed(0)
    # A bias before batch normalisation would have a gradient of rounding alone.
    first, last = nn.Linear(4, 6, bias=False), nn.Linear(6, 3)
    model = nn.Sequential(first, nn.BatchNorm1d(6), nn.Tanh(), last).double()
    batches = [(torch.randn(8, 4).double(), torch.randint(3, (8,))) for _ in range(3)]
    sample = torch.randn(20, 4).double(), torch.randint(3, (20,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = noise_floor(model, F.cross_entropy, batches, sample, RHO)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return model, batches, found


def by_hand(model, batch, rho: float):
    """g, h and H g/||g|| of a mini-batch by its own statistics, from the dense Hessian."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]

    def loss(flat):
        parts = zip(names, shapes, flat.split(sizes), strict=True)
        state = {name: part.view(shape) for name, shape, part in parts}
        x, y = batch
        z = F.linear(x, state["0.weight"])
        # Written out: torch.func takes wrong second derivatives of F.batch_norm with weights.
        z = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
        z = z * state["1.weight"] + state["1.bias"]
        return F.cross_entropy(F.linear(z.tanh(), state["3.weight"], state["3.bias"]), y)

    w = torch.cat([p.detach().flatten() for p in model.parameters()])
    g = grad(loss)(w)
    unit = g / g.norm()
    return g, grad(loss)(w + rho * unit), hessian(loss)(w) @ unit


def test_a_network_is_compared_as_by_brute_force(network):
    model, batches, found = network
    looks = [by_hand(model, batch, RHO) for batch in batches]
    pairs = [list(zip(g.tolist(), h.tolist(), strict=True)) for g, h, _ in looks]
    assert (found["batches"], found["rho"]) == (3, RHO)
    shares = [
        [100 * sum(region(*p) == k for p in each) / len(each) for each in pairs]
        for k in range(1, 5)
    ]
    for k in range(4):
        assert found["shares"][k] == pytest.approx(sum(shares[k]) / 3)
    another = [percent_same(a, b) for a, b in itertools.pairwise(pairs)]
    assert found["another_batch"][0] == pytest.approx(sum(another) / 2)
    noise = [
        list(zip(a[0].tolist(), b[0].tolist(), strict=True)) for a, b in itertools.pairwise(looks)
    ]
    for k in range(4):
        mean = sum(sum(region(*p) == k + 1 for p in each) / len(each) for each in noise) / 2
        assert found["noise_shares"][k] == pytest.approx(100 * mean)
    assert [at["rho"] for at in found["prediction"]] == sorted({*RHOS, RHO})
    for at in found["prediction"]:
        same = []
        for batch in batches:
            g, h, slope = by_hand(model, batch, at["rho"])
            both = [zip(g.tolist(), v.tolist(), strict=True) for v in (h, g + at["rho"] * slope)]
            same.append(percent_same(*map(list, both)))
        assert at["same"] == pytest.approx(sum(same) / 3)
    # A model in float64 is not changed by computing in float64.
    assert found["float64"][0] == 100


def test_the_linear_picture_carries_less_far_at_larger_rho(network):
    errors = [at["error"] for at in network[2]["prediction"]]
    assert errors[0] < 0.1 < errors[-1]


@pytest.fixture(scope="module")
def quadratic():
    """Linear regression on one input a column: the Hessian is diagonal and never changes."""
    model = nn.Linear(4, 1, bias=False)
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    y = torch.randn(4, 1, generator=torch.Generator().manual_seed(1))
    return model, (x, y)


def test_of_a_quadratic_loss_the_prediction_is_exact(quadratic):
    model, batch = quadratic
    found = noise_floor(model, F.mse_loss, [batch], batch, RHO)
    for at in found["prediction"]:
        assert at["same"] == 100
        assert at["error"] < 1e-3
    # h = g + rho H g/||g|| has g's sign and is larger, as H is diagonal and positive.
    assert found["shares"] == [100, 0, 0, 0]
    assert found["diagonal"]["chance"] == 100
    assert found["diagonal"]["reliability"] == pytest.approx(1)
    # There is no other mini-batch to compare with.
    assert found["another_batch"] is found["noise_shares"] is None


def test_one_batch_twice_agrees_and_has_no_ratio_but_one(quadratic):
    model, batch = quadratic
    found = noise_floor(model, F.mse_loss, [batch] * (BATCHES + 5), batch, RHO)
    assert found["batches"] == BATCHES
    assert found["another_batch"] == [100, 100]
    assert found["noise_shares"] == [0, 0, 0, 0]


def test_chance_is_what_shuffling_gives():
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randint(n, (2000,), generator=random).to(torch.uint8) for n in (3, 6))
    chance = agreement(a, b)[1]
    shuffled = [agreement(a, b[torch.randperm(2000, generator=random)])[0] for _ in range(200)]
    assert float(torch.stack(shuffled).mean()) == pytest.approx(float(chance), abs=0.3)
    assert agreement(a, a)[0] == 100


def test_an_element_that_does_not_move_has_no_error():
    g = torch.tensor([1.0, 1.0, 1.0])
    assert predicted(g, torch.tensor([1.0, 2.0, 1.0]), torch.ones(3), 0.5)[2] == 0.5
    assert predicted(g, g, torch.ones(3), 0.5)[2].isnan()


def test_the_diagonal_is_hutchinsons():
    spread = Matrix(rotated(5.0, 2.0, 1.0, -1.0, 0.5))
    exact = spread.dense.diagonal()
    products = 4000
    found = diagonal(spread, products, seed=0)
    off = (spread.dense - exact.diag()).square().sum(1)
    assert ((found - exact).abs() < 4 * (off / products).sqrt()).all()
    assert spread.products == products
    assert not torch.equal(diagonal(spread, 8, 0), diagonal(spread, 8, 0, part=1))
    assert diagonal(Matrix(exact.diag()), 1, seed=3).tolist() == exact.tolist()


def test_ranks_are_scipys_with_ties():
    random = torch.Generator().manual_seed(2)
    a = torch.randint(8, (300,), generator=random).float()
    b = a + torch.randint(9, (300,), generator=random)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_the_largest_of_the_diagonal_are_counted():
    half = torch.tensor([9.0, -8.0, 1.0, 2.0, 0.5, 0.1])
    g = torch.tensor([6.0, 5.0, 3.0, 4.0, 2.0, 1.0])
    inside = torch.tensor([True, False, True, True, False, False])
    rank, reliability, above, chance = diagonal_ranks(half, half, g, inside).tolist()
    # The three largest are 9, -8 and 2; two of them are members.
    assert (rank, reliability) == (pytest.approx(1), pytest.approx(1))
    assert (above, chance) == (pytest.approx(200 / 3), 50)


def test_a_difference_that_counts_as_zero_divides_nothing():
    """With numbers below full precision counted as 0, h may differ from g by 0."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has full precision alone")
    try:
        g, h = torch.tensor([2e-38, 1.0]), torch.tensor([2.5e-38, 2.0])
        assert bool((h != g).all())
        assert float((h - g)[0]) == 0.0
        assert predicted(g, h, torch.tensor([0.0, 5.0]), rho=0.1)[2] == 0.5
    finally:
        torch.set_flush_denormal(False)
