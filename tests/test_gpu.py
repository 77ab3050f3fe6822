"""What only a GPU can show; skipped without one. Needs torch, scikit-learn and pytest alone."""

import math

import pytest
import torch
import torch.nn.functional as F

from samscope import models, tasks
from samscope.measure.hessian import Hessian
from samscope.measure.objective import MeanLoss
from samscope.observe import ratios
from samscope.seeding import allow_tf32, make_deterministic
from samscope.tasks.augment import AUGMENTATIONS
from samscope.train import engine
from samscope.train.feed import Feed
from samscope.train.step import Learner
from tiny_cell import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def _deterministic():
    make_deterministic(1)


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 8, 8, generator=random)
    return (images.to(GPU),), torch.randint(0, 10, (20,), generator=random).to(GPU)


def learner(cell, device=GPU):
    model = models.build("cnn3", 10, 1)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    taught = Learner(model, 20, cell.numerics.precision, cell.numerics.compiled, device)
    taught.begin(cell, state)
    return taught


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_cpu_and_gpu_see_the_same_images(name):
    known = AUGMENTATIONS[name]
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8, generator=random)
    draws = known.draw(50, 32, random)
    normalise = lambda x: x.float().div_(255.0).sub_(0.5).div_(0.25)  # noqa: E731
    on_cpu = known.apply(images, draws, normalise)
    on_gpu = known.apply(images.to(GPU), draws.to(GPU), normalise)
    # A GPU divides by a number by multiplying with its reciprocal: the last bit differs.
    assert torch.allclose(on_cpu, on_gpu.cpu(), atol=1e-6)


def test_batches_are_those_of_the_cpu(data_dir):
    cell, splits = tiny(), tasks.load(tiny().task, data_dir)
    feeds = Feed(cell, 3, splits), Feed(cell, 3, splits.to(GPU))
    for ((images,), labels), ((on_gpu,), labels_on_gpu) in zip(
        *(f.training(2) for f in feeds), strict=True
    ):
        assert torch.equal(labels, labels_on_gpu.cpu())
        assert torch.allclose(images, on_gpu.cpu(), atol=1e-6)


@pytest.mark.parametrize("variant", ["sgd", "sam", "ckpt12"])
def test_a_step_is_the_cpus_within_rounding(variant, batch):
    cell = tiny(variant=variant)
    on_cpu, on_gpu = learner(cell, CPU), learner(cell)
    row = on_cpu.step((batch[0][0].cpu(),), batch[1].cpu())
    assert torch.allclose(row[:4], on_gpu.step(*batch)[:4].cpu(), rtol=1e-4)
    assert torch.allclose(on_cpu.w, on_gpu.w.cpu(), atol=1e-4)


@pytest.mark.parametrize("changes", [
    {}, {"precision": "bf16"}, {"optimizer": "adam", "clip": 0.1}, {"ascent_steps": 3},
    {"direction": "random"}, {"adaptive": "kwon2021", "decay_in_loss": True},
])  # fmt: skip
def test_a_recorded_step_is_the_step_to_the_bit(changes, batch):
    cell = tiny(**changes)
    recorded, plain = learner(cell), learner(cell)
    for step, lr in enumerate((0.1, 0.05)):
        for taught in (recorded, plain):
            taught.set_learning_rate(lr)
            taught.draw(0, step)
        assert torch.equal(recorded.step(*batch), plain._step(*batch))
    assert torch.equal(recorded.w, plain.w)
    assert all(torch.equal(slot, plain.slots[name]) for name, slot in recorded.slots.items())
    running = zip(recorded.model.buffers(), plain.model.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in running)


def test_one_compiled_graph_serves_every_variant(batch):
    eager, compiled = learner(tiny()), learner(tiny(compiled=True))
    state = {k: v.clone() for k, v in models.build("cnn3", 10, 1).state_dict().items()}
    for variant, rho in (("ckpt12", 0.2), ("sam", 0.1), ("ckpt3", 0.4)):
        for taught in (eager, compiled):
            taught.begin(tiny(variant=variant, rho=rho), state)
        rows = [taught.step(*batch).clone() for taught in (eager, compiled)]
        assert torch.allclose(rows[0][:4], rows[1][:4], rtol=1e-4)
        assert torch.allclose(eager.w, compiled.w, atol=1e-5)
    assert len(compiled._graphs) == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_a_resumed_run_ends_with_the_same_bytes(compiled, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "STATE_SHARE", math.inf)
    cell = tiny(epochs=4, batch_size=25, compiled=compiled, precision="bf16")
    splits = tasks.load(cell.task, data_dir).to(GPU)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = engine.train(cell, 0, splits, tmp_path / "whole", print)
    # By this margin no second epoch fits: one is made, its state kept, and so on.
    monkeypatch.setattr(engine, "MARGIN", math.inf)
    lines, parts = [], None
    while parts is None:
        parts = engine.train(cell, 0, splits, tmp_path / "parts", lines.append, 1e12)
    assert len(lines) == 3
    assert parts.weights == whole.weights
    assert parts.metrics == whole.metrics
    assert parts.history == whole.history
    assert parts.ratios == whole.ratios
    assert parts.persistence == whole.persistence


@pytest.mark.parametrize("variant", ["sam", "sgd-norm", "sgd-norm-regions"])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_gathered_is_what_a_cpu_counts(variant, compiled, batch):
    taught = learner(tiny(variant=variant, compiled=compiled))
    taught.observer.begin(2, 3)
    kinds = ratios.layer_kinds(taught.model)
    expected = 0
    for _ in range(3):
        taught.step(*batch)
        both = (v.cpu()[None] for v in (taught.observer.g, taught.observer.h))
        expected = expected + ratios.tally(*both, ratios.places(kinds, 1))[0][:, 0]
    found, expected = (ratios.columns(t) for t in (taught.observer.sum, expected))
    # The edges 1.2 and 1.5 may be a rounding away.
    assert (found - expected)[:, :29].abs().sum() <= 4
    assert torch.allclose(found[:, 29:], expected[:, 29:], rtol=1e-4, atol=1e-5)
    assert taught.observer.persistence.rows(0)


def test_tf32_rounds_and_float32_does_not():
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=random) for _ in range(2))
    exact = a.double() @ b.double()
    errors = []
    for allowed in (False, True):
        allow_tf32(allowed)
        errors.append(((a.to(GPU) @ b.to(GPU)).cpu() - exact).abs().max().item())
    allow_tf32(False)
    assert errors[0] < 1e-4 < errors[1]


def test_a_product_with_the_hessian_is_the_cpus():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 1, 8, 8, generator=random), torch.arange(40) % 10
    model = models.build("cnn3", 10, 1)
    vector = torch.randn(sum(p.numel() for p in model.parameters()), generator=random)
    here, there = (
        Hessian(MeanLoss(model.to(device), F.cross_entropy, (x, y))).matvec(vector).cpu()
        for device in (CPU, GPU)
    )
    assert (here - there).norm() < 1e-4 * here.norm()
