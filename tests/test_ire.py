"""Longer steps where the curvature is small: against a plain loop, the plain step, a killed run."""

import pytest
import torch
import torch.nn.functional as F

from samscope import losses, models, tasks
from samscope.errors import InputError
from samscope.optim.method import Enhancement
from samscope.seeding import stream
from samscope.train import engine, ire
from samscope.train.step import Learner
from tiny_cell import drawn_batch, tiny

MIXES = {
    "sgd": lambda g, h: g,
    "sam": lambda g, h: h,
    "ckpt1": lambda g, h: torch.where((g != 0) & (h / g > 1), h, g),  # a ratio to 0 is in no region
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def learner(cell, dtype=torch.float32, model=None):
    """A learner about to start a run of a cell; the network has batch normalisation by default."""
    model = model or models.build("resnet8_w8", 10, 1, seed=5).to(dtype)
    begun = Learner(model, 20, "float32", cell.numerics.compiled, torch.device("cpu"))
    begun.begin(cell, model.state_dict())
    begun.train()
    return begun


def walk(taught, batch, steps):
    for step in range(steps):
        taught.draw(3, step)
        taught.step(*batch)


@pytest.mark.parametrize("variant", MIXES)
def test_steps_are_those_of_a_plain_loop(variant):
    """In float64, three of them, the mask made anew before the first and the third."""
    settings = {"ire_kappa": 1.5, "ire_share": 0.8, "ire_every": 2}
    cell = tiny(variant=variant, **settings)
    (images,), labels = drawn_batch(torch.float64)
    taught, plain = learner(cell, torch.float64), learner(cell, torch.float64).model
    walk(taught, ((images,), labels), 3)
    parts = list(plain.parameters())
    w = torch.cat([p.detach().flatten() for p in parts])
    momentum, rho = torch.zeros_like(w), cell.method.ascent.rho or 0.0

    def gradient(at, targets):
        torch.nn.utils.vector_to_parameters(at, parts)
        found = torch.autograd.grad(F.cross_entropy(plain(images), targets), parts)
        return torch.cat([g.flatten() for g in found])

    for step in range(3):
        kept = {name: buffer.clone() for name, buffer in plain.named_buffers()}
        if step != 1:
            torch.nn.utils.vector_to_parameters(w, parts)
            chances = plain(images).detach().softmax(1).cumsum(1)
            draws = torch.rand(20, 1, generator=stream(3, "ire", step), dtype=torch.float64)
            sampled = torch.searchsorted(chances, draws, right=True).flatten()
            squares = gradient(w, sampled).square()
            longer = squares <= squares.sort().values[int(0.8 * len(w)) - 1]
            assert longer.sum() == int(0.8 * len(w))
            plain.load_state_dict(kept, strict=False)
        g = gradient(w, labels)
        kept = {name: buffer.clone() for name, buffer in plain.named_buffers()}
        h = gradient(w + rho * g / (g.norm() + 1e-12), labels)
        plain.load_state_dict(kept, strict=False)
        u = MIXES[variant](g, h) + cell.method.weight_decay * w
        momentum = cell.method.momentum * momentum + u
        w = w - cell.method.lr * (1 + 1.5 * longer.double()) * momentum
    assert torch.equal(taught.slots[ire.MASK], longer)
    torch.testing.assert_close(taught.w, w, rtol=1e-8, atol=1e-11)
    for name, buffer in taught.model.named_buffers():
        torch.testing.assert_close(buffer, kept[name], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("sgd", {}),
        ("sam", {"optimizer": "adamw"}),
        ("ckpt1", {}),
        ("ckpt1", {"micro_batch": 10}),
        ("sgd-norm", {"randomness": "same"}),
    ],
    ids=str,
)
def test_a_factor_that_rounds_to_one_changes_no_bit(variant, changes):
    """Its estimate leaves running statistics and all else of a step alone."""
    found = []
    for kappa in (0.0, 1e-30):
        taught = learner(tiny(variant=variant, ire_kappa=kappa, **changes))
        walk(taught, drawn_batch(), 3)
        found.append([taught.w, *taught.model.buffers(), *taught.slots.values()])
        assert (ire.MASK in taught.slots) == (kappa > 0)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=False))


def test_units_are_dropped_as_without_an_estimate():
    layers = torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10)
    start = torch.nn.Sequential(*layers).state_dict()
    found = []
    for kappa in (0.0, 1e-30):
        taught = learner(tiny(ire_kappa=kappa), model=torch.nn.Sequential(*layers))
        taught.model.load_state_dict(start)
        walk(taught, drawn_batch(), 2)
        found.append(taught.w)
    assert torch.equal(*found)


def test_the_estimate_is_of_the_diagonal_of_the_hessian():
    """Of a linear softmax model, whose Hessian is its Fisher matrix: in the mean over draws."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, generator=random, dtype=torch.float64)
    w = torch.randn(3, 2, generator=random, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    loss = lambda w: F.cross_entropy(x @ w.T, labels)  # noqa: E731
    exact = torch.autograd.functional.hessian(loss, w).reshape(6, 6).diagonal()
    squares = [ire.fisher_gradient(x @ w.T, [w], random).square() for _ in range(4000)]
    torch.testing.assert_close(6 * torch.stack(squares).mean(0), exact, rtol=0.1, atol=0)


def test_labels_are_drawn_of_every_token():
    """The gradient by a logit is its chance, less 1 at the drawn label, over the 600 tokens."""
    logits = torch.zeros(2, 300, 4)
    logits[1, :, 1] = 50.0
    logits.requires_grad_()
    found = ire.fisher_gradient(logits * 1.0, [logits], torch.Generator().manual_seed(0))
    drawn = (logits.softmax(-1) - 600 * found.view_as(logits)).round()
    assert drawn.sum(-1).eq(1).all()
    assert drawn[0].sum(0).min() > 50
    assert drawn[1, :, 1].all()


def test_a_run_without_numbers_has_no_flat_elements():
    w = torch.full((4, 3), torch.nan, requires_grad=True)
    found = ire.fisher_gradient(w * 1.0, [w], torch.Generator())
    assert not ire.smallest(found, 0.95).any()


def test_a_learner_serves_runs_with_and_without():
    """One momentum for both, which recorded steps point to; nothing stays of the run before."""
    start = models.build("resnet8_w8", 10, 1, seed=5).state_dict()
    taught = learner(tiny(ire_kappa=1.0))
    momentum = taught.slots["momentum"]
    walk(taught, drawn_batch(), 2)
    first = taught.w.clone()
    taught.begin(tiny(), start)
    assert list(taught.slots) == ["momentum"]
    taught.begin(tiny(ire_kappa=1.0), start)
    assert taught.slots["momentum"] is momentum
    assert not taught.slots[ire.MASK].any()
    taught.train()
    walk(taught, drawn_batch(), 2)
    assert torch.equal(taught.w, first)


def test_a_killed_run_ends_with_the_same_bits(data_dir, tmp_path, monkeypatch):
    """Killed between two estimates: 4 steps an epoch, an estimate every 3."""
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))
    cell = tiny(variant="sam", epochs=3, ire_kappa=1.0, ire_every=3)
    splits, found = tasks.load(cell.task, data_dir), []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "killed":
            steps, step = [], Learner.step

            def dying(*args, steps=steps, step=step):
                steps.append(1)
                if len(steps) == 10:
                    raise KeyboardInterrupt
                return step(*args)

            with monkeypatch.context() as patch:
                patch.setattr(Learner, "step", dying)
                with pytest.raises(KeyboardInterrupt):
                    engine.train(cell, 0, splits, folder, print)
        found.append(engine.train(cell, 0, splits, folder, print))
    whole, killed = found
    assert whole.weights == killed.weights
    assert repr((whole.history, whole.ratios)) == repr((killed.history, killed.ratios))
    plain = engine.train(cell.but(ire_kappa=0.0, ire_every=10), 0, splits, tmp_path, print)
    assert plain.weights != whole.weights


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ire_kappa": -1.0}, "ire_kappa: -1.0 is not allowed; allowed: a number >= 0"),
        ({"ire_kappa": 1.0, "ire_share": 0.0}, "ire_share: 0.0 is not allowed; allowed: more than"),
        ({"ire_kappa": 1.0, "ire_share": 95.0}, "ire_share: 95.0 is not allowed; allowed: more"),
        ({"ire_kappa": 1.0, "ire_every": 0}, "ire_every: 0 is not allowed; allowed: 1 or more"),
        ({"ire_share": 0.5}, "without ire_kappa: ire_share: 0.5 is not allowed; allowed: 0.95"),
        ({"ire_every": 5}, "without ire_kappa: ire_every: 5 is not allowed; allowed: 10"),
        ({"ire_kappa": 1.0, "loss": "squared"}, "loss: squared is not allowed; allowed: cross_ent"),
    ],
)
def test_bad_values_are_one_line(changes, told):
    with pytest.raises(InputError, match=told):
        tiny(**changes)


def test_without_it_a_cell_is_what_it_was():
    assert tiny(ire_kappa=1.0).digest(0) != tiny().digest(0)
    assert Enhancement() == tiny().method.enhancement
    assert {"ire_kappa", "ire_share", "ire_every"} <= tiny().to_dict().keys()
    assert set(losses.SMOOTHED) < set(losses.LOSSES)
