"""The gradient through the ascent, against closed forms, finite differences and plain autograd."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from samscope import models, tasks
from samscope.errors import InputError
from samscope.optim.ascent import ascend, perturbation
from samscope.optim.method import Ascent
from samscope.store.records import columns, to_csv
from samscope.train.engine import train
from samscope.train.pure import Pure
from samscope.train.step import Learner
from tiny_cell import tiny

CPU = torch.device("cpu")
KEPT = {"second_order": "kept"}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Bowl(nn.Module):
    """L(w) = w A w / 2."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(draw(size, seed=1))

    def forward(self, matrix):
        return self.weight @ matrix @ self.weight / 2


def of_bowl(size, **ascent):
    root = draw(size, size)
    bowl, matrix = Bowl(size), root @ root.T
    pure = Pure(bowl, lambda inputs, targets, call: [call(*inputs)], Ascent(0.3, **ascent), 0.3)
    return bowl.weight.detach().clone(), matrix, pure


def test_one_step_on_a_quadratic():
    w, a, pure = of_bowl(6, **KEPT)
    g = a @ w
    along = g / g.norm()
    h = a @ (w + 0.3 * along)
    # e = rho g / ||g||, and g = A w
    whole = h + 0.3 / g.norm() * a @ (h - along * (along @ h))
    found = pure.second_order(w, (a, torch.zeros(1)))
    torch.testing.assert_close(found.h, whole, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.g, g, rtol=0, atol=1e-12)
    cosine = torch.cosine_similarity(h, whole, dim=0)
    torch.testing.assert_close(found.cosine[0], cosine, rtol=0, atol=1e-12)
    assert (whole - h).norm() > 1e-4


ASCENTS = [
    {},
    {"ascent_steps": 2},
    {"ascent_steps": 2, "ascent_rule": "projected"},
    {"adaptive": "kwon2021", "ascent_steps": 2},
    {"adaptive": "davda54"},
]


def smooth():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 4)).double()


def of_network(penalty, **ascent):
    """A smooth network's weights, `Pure`, the batch, and the sharp loss as a function of w."""
    model, x, y = smooth(), draw(12, 5), torch.arange(12) % 4
    names, parts = zip(*model.named_parameters(), strict=True)
    w = torch.cat([p.detach().flatten() for p in parts])
    two = torch.cat([torch.full((p.numel(),), p.ndim > 1) for p in parts])
    ascent = Ascent(0.3, **ascent)

    def loss(w):
        cut = w.split([p.numel() for p in parts])
        values = {n: v.view_as(p) for n, v, p in zip(names, cut, parts, strict=True)}
        value = F.cross_entropy(functional_call(model, values, (x,)), y)
        return value + penalty / 2 * w.square().sum()

    def gradient(w):
        return torch.autograd.grad(loss(w), w, create_graph=True)[0]

    def sharp(w):
        w = w if w.requires_grad else w.clone().requires_grad_()
        return loss(w + perturbation(w, gradient(w), 0.3, ascent, gradient, two))

    value = lambda inputs, targets, call: [F.cross_entropy(call(*inputs), targets)]  # noqa: E731
    return w, Pure(model, value, ascent, 0.3, penalty, matrices=two), (x, y), sharp


@pytest.mark.parametrize("ascent", ASCENTS, ids=str)
@pytest.mark.parametrize("penalty", [None, 0.1])
def test_it_is_the_slope_of_the_sharp_loss(ascent, penalty):
    w, pure, batch, sharp = of_network(penalty or 0.0, **ascent, **KEPT)
    found = pure.second_order(w, batch)
    at = w.clone().requires_grad_()
    (expected,) = torch.autograd.grad(sharp(at), at)
    torch.testing.assert_close(found.h, expected, rtol=1e-9, atol=1e-11)
    for seed in range(3):
        step = 1e-5 * draw(len(w), seed=seed)
        slope = (sharp(w + step) - sharp(w - step)).item() / 2
        assert (found.h @ step).item() == pytest.approx(slope, rel=1e-5, abs=1e-12)
    # What is dropped by default is more than nothing.
    first = Pure(pure.model, pure.value, Ascent(0.3, **ascent, second_order="observed"),
                 0.3, penalty, matrices=pure.matrices).second_order(w, batch)  # fmt: skip
    assert (first.h - found.h).norm() > 1e-3 * found.h.norm()
    assert torch.equal(first.cosine[0], found.cosine[0])


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 8, 8, generator=random, dtype=torch.float64)
    return (images,), torch.randint(0, 10, (20,), generator=random)


def stepped(batch, model="resnet8_w8", **changes):
    """A learner after two steps, and what the last left."""
    taught = Learner(models.build(model, 10, 1).double(), 20, "float32", False, CPU)
    cell = tiny(variant="sam", **changes)
    taught.begin(cell, taught.model.state_dict())
    taught.model.train()
    rows = []
    for step in range(2):
        taught.draw(0, step)
        rows.append(taught.step(*batch))
    return taught, dict(zip(taught.columns, rows[-1].tolist(), strict=True))


@pytest.mark.parametrize("steps", [1, 2])
def test_observed_is_the_step_of_first_order(batch, steps):
    plain, row = stepped(batch, ascent_steps=steps)
    seen, more = stepped(batch, ascent_steps=steps, second_order="observed")
    kept, other = stepped(batch, ascent_steps=steps, second_order="kept")
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(
            seen.model.state_dict()[name], value, rtol=1e-9, atol=1e-11, msg=name
        )
    for name, value in row.items():
        assert more[name] == pytest.approx(value, abs=2 if name.startswith("region") else 1e-9)
    assert set(more) - set(row) == {"second_order_cosine"}
    assert -1 <= more["second_order_cosine"] < 0.9999
    assert (kept.w - seen.w).norm() > 1e-4
    assert other["train_loss"] != pytest.approx(more["train_loss"], abs=1e-9)


def test_a_history_has_the_cosine(tmp_path):
    cell = tiny(variant="sam", second_order="observed", epochs=2)
    splits = tasks.load(cell.task, tmp_path)
    (tmp_path / "run").mkdir()
    outcome = train(cell, 0, splits, tmp_path / "run", lambda line: None)
    table = to_csv(outcome.history, columns(cell)).splitlines()
    assert table[0].endswith(",second_order_cosine")
    cosines = [float(line.rsplit(",", 1)[1]) for line in table[1:]]
    assert len(cosines) == 2
    assert all(0 < cosine < 1 for cosine in cosines)
    assert "second_order_cosine" not in columns(tiny(variant="sam"))


def test_attention_and_dropout_go_through(tmp_path):
    kind = {"task": "beats", "data": "digit_signals", "model": "attention_small"}
    cell = tiny(**kind, variant="sam", batch_size=20, label_noise=0.0, randomness="same", **KEPT)
    splits = tasks.load(cell.task, tmp_path)
    taught = Learner(models.build(cell.model, *splits.sizes), 20, "float32", False, CPU)
    taught.begin(cell, taught.model.state_dict())
    taught.model.train()
    taught.draw(0, 0)
    from samscope.train.feed import Feed

    row = taught.step(*next(iter(Feed(cell, 0, splits).training(0))))
    assert row.isfinite().all()
    assert -1 <= row[-1] < 1


class Once(torch.autograd.Function):
    """The identity, whose backward pass is code of its own."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_what_has_one_derivative_alone_is_refused_in_one_line():
    class Rough(Bowl):
        def forward(self, matrix):
            return super().forward(matrix) + Once.apply(self.weight).sum()

    rough = Rough(4)
    value = lambda inputs, targets, call: [call(*inputs)]  # noqa: E731
    pure = Pure(rough, value, Ascent(0.3, **KEPT), 0.3)
    told = r"second_order: kept .*dropped, for this model \(In order to use an autograd.Function"
    with pytest.raises(InputError, match=told) as error:
        pure.second_order(rough.weight.detach().clone(), (draw(4, 4), torch.zeros(1)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"second_order": "kept", "compiled": True},
        {"second_order": "kept", "direction": "random"},
        {"second_order": "kept", "norm": 3.0},
        {"second_order": "all"},
        {"ascent_epsilon": -1.0},
    ],
)
def test_what_is_refused(changes):
    with pytest.raises(InputError):
        tiny(variant="sam", **changes)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_steps_that_add_up_stay_within_rho(p):
    """|sum e_n| <= rho for any gradients: 200 losses that bend at random, 1 to 6 steps."""
    for seed in range(200):
        size, steps = 1 + seed % 9, 1 + seed % 6
        mix, shift = draw(size, size, seed=seed) * 10 ** (seed % 5 - 2), draw(size, seed=seed + 1)
        gradient = lambda w: mix @ (w + shift).sin() + (3 * w).cos()  # noqa: E731, B023
        w, rho = draw(size, seed=seed + 2), 10.0 ** (seed % 4 - 2)
        moved, start = w.clone(), torch.empty_like(w)
        ascent = Ascent(norm=p, ascent_steps=steps)
        ascend(moved, start, gradient(w), rho, ascent, lambda: gradient(moved))  # noqa: B023
        length = torch.linalg.vector_norm(moved - w, p).item()
        assert length <= rho * (1 + 1e-9)
        if steps == 1:
            assert length == pytest.approx(rho)


def test_without_epsilon_a_small_gradient_makes_a_whole_step():
    g = torch.full((4,), 1e-12)
    for epsilon, expected in ((0.0, 0.3), (1e-12, 0.2)):
        w = torch.zeros(4)
        ascend(w, torch.empty_like(w), g, 0.3, Ascent(ascent_epsilon=epsilon))
        assert w.norm().item() == pytest.approx(expected)
    w = torch.zeros(4)
    ascend(w, torch.empty_like(w), torch.zeros(4), 0.3, Ascent(ascent_epsilon=0.0))
    assert w.isnan().all()
