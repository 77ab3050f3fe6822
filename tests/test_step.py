"""One update: against a plain loop, against SAM around torch's SGD, compiled, in bf16."""

import pytest
import torch
import torch.nn.functional as F

from samscope import models
from samscope.optim import REGIONS, SAM, named_mix, regions, rules
from samscope.optim.ascent import ascend
from samscope.optim.settings import Settings
from samscope.optim.update import descend, descend_block, descend_plain
from samscope.train.columns import columns
from samscope.train.compiled import compile_alike
from samscope.train.step import Learner
from tiny_cell import drawn_batch, tiny

CPU = torch.device("cpu")
COLUMNS = columns(["acc_percent"], tiny().method)
SGD = rules.RULES["sgd"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def batch():
    return drawn_batch()


def learner(cell, model=None, compiled=False):
    """A learner about to start a run of a cell from a model's weights."""
    model = model or models.build("cnn3", 10, 1)
    begun = Learner(model, 20, cell.numerics.precision, compiled, CPU)
    begun.begin(cell, model.state_dict())
    return begun


def plain_step(model, images, labels, momenta, cell, rule):
    """One update as the sources write it: parameter by parameter, e subtracted again."""
    parameters = list(model.parameters())
    g = torch.autograd.grad(F.cross_entropy(model(images), labels), parameters)
    norm = torch.stack([x.norm() for x in g]).norm()
    e = [(cell.method.ascent.rho or 0.0) * x / (norm + 1e-12) for x in g]
    for p, x in zip(parameters, e, strict=True):
        p.data += x
    frozen = [b.clone() for b in model.buffers()]
    h = torch.autograd.grad(F.cross_entropy(model(images), labels), parameters)
    for buffer, value in zip(model.buffers(), frozen, strict=True):
        buffer.copy_(value)
    for p, x, y, z, v in zip(parameters, e, g, h, momenta, strict=True):
        p.data -= x
        v.mul_(cell.method.momentum).add_(rule(y, z) + cell.method.weight_decay * p.data)
        p.data -= cell.method.lr * v


RULES = {
    "sgd": lambda g, h: g,
    "sam": lambda g, h: h,
    "ckpt1": lambda g, h: torch.where(h / g > 1, h, g),
    "ckpt34": lambda g, h: torch.where(h / g < 0, h, g),
}
# Of the whole gradient, in one vector.
NORM_RULES = {
    "sgd-norm": lambda g, h: g * h.norm() / g.norm(),
    "sgd-norm-regions": lambda g, h: sum(
        torch.where(inside, g, 0) * factor
        for inside, factor in [
            *(
                (inside, (h[inside].norm() / g[inside].norm()).nan_to_num())
                for r in [h / g]
                for inside in (r > 1, (r > 0) & (r < 1), r < -1, (r < 0) & (r > -1))
            ),
            ((h == 0) | (h.abs() == g.abs()), 1.0),
        ]
    ),
}


@pytest.mark.parametrize("variant", RULES)
def test_updates_are_those_of_a_plain_loop(variant, batch):
    cell = tiny(variant=variant)
    # In float64 the two orders of summation agree far below any element's step.
    ours, plain = (models.build("resnet8_w8", 10, 1, seed=5).double() for _ in range(2))
    (images,), labels = (batch[0][0].double(),), batch[1]
    taught = learner(cell, ours)
    momenta = [torch.zeros_like(p) for p in plain.parameters()]
    for _ in range(3):
        taught.step((images,), labels)
        plain_step(plain, images, labels, momenta, cell, RULES[variant])
    for (name, found), expected in zip(
        ours.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.allclose(found, expected, rtol=1e-7, atol=1e-10), name


@pytest.mark.parametrize("variant", NORM_RULES)
def test_sgd_at_the_norm_of_sams_step(variant, batch):
    model = models.build("resnet8_w8", 10, 1, seed=5).double()
    taught = learner(tiny(variant=variant, momentum=0.0, weight_decay=0.0), model)
    for _ in range(3):
        before = taught.w.clone()
        taught.step((batch[0][0].double(),), batch[1])
        u = NORM_RULES[variant](taught.observer.g, taught.observer.h)
        # The table is float32.
        assert torch.allclose(before - taught.w, 0.1 * u, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("variant", "condition"), [("sgd", None), ("sam", None), ("ckpt12", None), ("sameckpt3", 0.1)]
)
def test_the_update_is_sam_around_torchs_sgd_to_the_bit(variant, condition, batch):
    cell = tiny(variant=variant, condition=condition)
    ours, theirs = (models.build("cnn3", 10, 1) for _ in range(2))
    (images,), labels = batch
    method, taught = cell.method, learner(cell, ours)
    settings = {name: getattr(method, name) for name in ("lr", "momentum", "weight_decay")}
    # One tensor, so that the norm is summed alike.
    vector = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in theirs.parameters()]))
    mix = named_mix(variant, condition)
    settings |= {"mix": mix, "model": theirs, "counts": True}
    optimizer = SAM([vector], torch.optim.SGD, rho=method.ascent.rho or 0.0, **settings)

    def closure():
        values = vector.detach().split([p.numel() for p in theirs.parameters()])
        for p, value in zip(theirs.parameters(), values, strict=True):
            p.data.copy_(value.view_as(p))
        loss = F.cross_entropy(theirs(images), labels)
        gradients = torch.autograd.grad(loss, list(theirs.parameters()))
        vector.grad = torch.cat([g.reshape(-1) for g in gradients])
        return loss

    for _ in range(3):
        row = dict(zip(COLUMNS, taught.step((images,), labels).tolist(), strict=True))
        loss = optimizer.step(closure)
    assert torch.equal(taught.w, vector)
    assert row["train_loss"] == loss.item()
    if variant != "sgd":
        assert [row[name] for name in REGIONS] == optimizer.counts.tolist()
        assert [row["grad_norm"], row["perturbed_grad_norm"]] == [n.item() for n in optimizer.norms]
    running = zip(ours.buffers(), theirs.buffers(), strict=True)
    assert all(torch.equal(found, expected) for found, expected in running)


def test_a_step_is_as_exact_as_float32_allows():
    """Batch statistics of 32,768 values, which a plain sum in float32 gets wrong by 1e-5."""
    images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32) % 10
    cell, rows = tiny(variant="sgd", batch_size=32), []
    for dtype in (torch.float32, torch.float64):
        model = models.build("resnet8_w8", 10, 3).to(dtype)
        taught = Learner(model, 32, "float32", False, CPU)
        taught.begin(cell, model.state_dict())
        taught.model.train()
        taught.step((images.to(dtype),), labels)
        rows.append(torch.cat([buffer.double().flatten() for buffer in taught.model.buffers()]))
    assert torch.allclose(*rows, rtol=1e-6, atol=1e-7)


def test_flat_parameters_are_the_models_own(batch):
    model, twin = (models.build("cnn3", 10, 1) for _ in range(2))
    taught = learner(tiny(), model)
    assert torch.allclose(model(*batch[0]), twin(*batch[0]), atol=1e-6)
    taught.w.zero_()
    assert not model.linear.weight.any()
    assert not model.features[0].weight.any()


def test_a_restored_snapshot_is_the_model_again(batch):
    taught = learner(tiny())
    taught.step(*batch)
    before = {k: v.clone() for k, v in taught.model.state_dict().items()}
    copy = taught.snapshot()
    taught.step(*batch)
    taught.restore(copy)
    after = taught.model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert after["features.1.num_batches_tracked"] == 1


def test_a_learner_keeps_nothing_of_the_run_before(batch):
    fresh, used = learner(tiny()), learner(tiny(variant="sam", lr=0.3))
    start = models.build("cnn3", 10, 1).state_dict()
    used.step(*batch)
    used.begin(tiny(), start)
    for _ in range(2):
        assert torch.equal(fresh.step(*batch), used.step(*batch))
    assert torch.equal(fresh.w, used.w)
    assert torch.equal(fresh.slots["momentum"], used.slots["momentum"])


def test_what_a_step_leaves(batch):
    taught = learner(tiny())
    logits = taught.model(*batch[0])
    row = dict(zip(COLUMNS, taught.step(*batch).tolist(), strict=True))
    assert row["train_loss"] == F.cross_entropy(logits, batch[1]).item()
    assert row["train_acc_percent"] == 100 * (logits.argmax(1) == batch[1]).sum().item()
    assert row["grad_norm"] != row["perturbed_grad_norm"]
    assert sum(row[name] for name in REGIONS) == len(taught.w)
    assert row["region1"] > row["region3"] > 0


@pytest.fixture
def vectors():
    """w, g, h and momentum with every kind of element; longer than a block."""
    random = torch.Generator().manual_seed(1)
    w, g, buffer = (torch.randn(70_000, generator=random) for _ in range(3))
    h = g * torch.randn(70_000, generator=random) * 2
    h[:10], g[5:15], h[20:30] = g[:10], 0.0, -g[20:30]
    g[40], h[41] = torch.inf, torch.nan
    return w, g, h, buffer


@pytest.mark.parametrize(
    ("variant", "condition"),
    [
        ("sam", None),
        ("ckpt1", None),
        ("ckpt24-magnitude", None),
        ("sameckpt3", 0.1),
        ("direction", None),
    ],
)
def test_a_table_of_tensors_gives_what_the_mix_gives(variant, condition, vectors):
    mix = named_mix(variant, condition)
    numbers = (0.1, 0.2, 0.9, 5e-4)
    found = []
    for convert in (lambda mix: mix, lambda mix: torch.tensor(mix.table)):
        scalars = numbers if not found else [torch.tensor(n) for n in numbers]
        w, g, h, buffer = (v.clone() for v in vectors)
        start = w.clone()
        settings, whole = Settings(*scalars, convert(mix)), descend_block if found else None
        slots = {"momentum": buffer}
        counts = descend(w, start, g, h, slots, SGD, settings, whole)
        found.append((w, buffer, counts))
    for eager, table in zip(*found, strict=True):
        assert torch.allclose(eager.double(), table.double(), rtol=1e-6, atol=1e-7, equal_nan=True)
    assert found[0][2].sum() == 70_000
    assert (found[0][2] > 0).all()


def test_a_compiled_update_counts_exactly(vectors):
    vectors = [v[:-3] for v in vectors]  # no whole number of a CPU's registers
    expected = regions(vectors[1], vectors[2]).tolist()
    table = torch.tensor(named_mix("ckpt12").table)
    settings = Settings(*map(torch.tensor, (0.1, 0.2, 0.9, 5e-4)), table)
    eager, compiled = ([v.clone() for v in (vectors[0], *vectors)] for _ in range(2))
    for (*rest, buffer), whole in (
        (eager, descend_block),
        (compiled, compile_alike(descend_block)),
    ):
        counts = descend(*rest, {"momentum": buffer}, SGD, settings, whole)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [expected.count(code) for code in range(len(REGIONS))]
    for found, same in zip(compiled, eager, strict=True):
        assert torch.allclose(found, same, rtol=1e-6, atol=1e-7, equal_nan=True)


def test_ascent_keeps_the_start_to_the_bit(vectors):
    w, g, _, _ = vectors
    g = g.nan_to_num(posinf=1.0)
    before, start = w.clone(), torch.empty_like(w)
    norm = ascend(w, start, g, 0.2)
    assert torch.equal(start, before)
    assert norm.item() == pytest.approx(g.double().norm().item(), rel=1e-6)
    assert (w - start).double().norm().item() == pytest.approx(0.2, rel=1e-5)


def test_plain_descent_is_torchs_sgd_to_the_bit(vectors):
    w, g, _, _ = vectors
    g = g.nan_to_num(posinf=1.0)
    theirs = torch.nn.Parameter(w.clone())
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=5e-4)
    slots = {"momentum": torch.zeros_like(w)}
    for _ in range(3):
        theirs.grad = g
        sgd.step()
        settings = Settings(0.1, 0.0, 0.9, 5e-4, named_mix("sgd"))
        descend_plain(w, g, slots, SGD, settings)
    assert torch.equal(w, theirs)


def test_bf16_rounds_products_and_keeps_weights_in_float32(batch):
    exact, low = learner(tiny()), learner(tiny(precision="bf16"))
    row, rounded = exact.step(*batch), low.step(*batch)
    assert low.w.dtype == low.slots["momentum"].dtype == torch.float32
    assert not torch.equal(exact.w, low.w)
    assert rounded[0].item() == pytest.approx(row[0].item(), rel=0.02)
    assert rounded[2].item() == pytest.approx(row[2].item(), rel=0.05)


def test_compiled_steps_agree_with_eager_ones_for_every_variant(batch):
    eager, compiled = learner(tiny()), learner(tiny(), compiled=True)
    start = {k: v.clone() for k, v in models.build("cnn3", 10, 1).state_dict().items()}
    variants = ("ckpt12", "sgd", "sameckpt3", "sgd-norm", "sgd-norm-regions")
    for variant in variants:
        condition = 0.1 if variant == "sameckpt3" else None
        cell = tiny(variant=variant, condition=condition, rho=None if variant == "sgd" else 0.1)
        for taught in (eager, compiled):
            taught.begin(cell, start)
            taught.set_learning_rate(0.05)
        rows = [taught.step(*batch) for taught in (eager, compiled)]
        assert torch.allclose(eager.w, compiled.w, rtol=1e-5, atol=1e-6)
        assert torch.allclose(rows[0][:4], rows[1][:4], rtol=1e-5)
        # A last bit puts an element beyond a tie or a zero, no more than a few of them.
        assert (rows[0][4:] - rows[1][4:]).abs().sum() < 0.01 * len(eager.w)


@pytest.mark.parametrize(("randomness", "equal"), [("same", True), ("fresh", False)])
@pytest.mark.parametrize("steps", [1, 3])
def test_at_no_distance_both_passes_drop_the_same_units_or_others(batch, randomness, equal, steps):
    """At rho 0 the second gradient is the first, if and only if the function is the same."""
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10)
    ).train()
    leaves = {"variant": "sam", "rho": 0.0, "ascent_steps": steps, "randomness": randomness}
    begun = learner(tiny(**leaves), model)
    for step in range(2):
        begun.draw(0, step)
        begun.step(*batch)
        assert torch.equal(begun._g, begun._h) is equal
