"""SAM in two processes: the whole batch's step on both, or a rank's own ascent."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.optim import SGD

from samscope.optim import SAM
from samscope.train.step import Learner
from tiny_cell import tiny

RHO, STEPS, PER_RANK = 0.3, 3, 8

RANKS = """
import os, sys
import torch
from torch import distributed, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, {tests!r})
from samscope.optim import SAM
from test_sam_ddp import PER_RANK, batch, left_out, network, normalised, train
torch.set_num_threads(1)
other = os.fork()  # which has imported torch
rank = int(other == 0)
distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=2)
result = {{}}
for mix in ("sam", "ckpt12"):
    for view in (False, True):
        model = DistributedDataParallel(network(), gradient_as_bucket_view=view)
        part = slice(PER_RANK * rank, PER_RANK * (rank + 1))
        result[f"{{mix}} {{view}}"] = train(model, mix, *(t[part] for t in batch()))
part = slice(PER_RANK * rank, PER_RANK * (rank + 1))
for name, make in (("own", network), ("normalised", normalised)):
    model = DistributedDataParallel(make())
    result[name] = train(model, "sam", *(t[part] for t in batch()), first=model.no_sync)
result["left out"] = [
    left_out(DistributedDataParallel(network()), part, rank, form) for form in ("scaler", "skip")
]
try:
    SAM(network().parameters(), ZeroRedundancyOptimizer, optimizer_class=torch.optim.SGD, lr=0.1)
except ValueError as error:
    result["refused"] = str(error)
torch.save(result, sys.argv[2 + rank])
distributed.destroy_process_group()
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def normalised():
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)
    return nn.Sequential(*layers).double()


def batch():
    x = torch.randn(2 * PER_RANK, 4, generator=torch.Generator().manual_seed(1)).double()
    return x, torch.arange(2 * PER_RANK) % 3


def train(model, mix, x, y, first=nullcontext):
    """Weights after some steps of the two-call form, the first pass in a context."""
    optimizer = SAM(model.parameters(), SGD, rho=RHO, mix=mix, lr=0.5, momentum=0.9)
    for _ in range(STEPS):
        with first():
            nn.functional.cross_entropy(model(x), y).backward()
        optimizer.first_step()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.second_step(zero_grad=True)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def left_out(model, part, rank, form):
    """Scale and weights after a step in whose first pass, not averaged, one rank has a NaN."""
    scaler = torch.amp.GradScaler("cpu", enabled=form == "scaler")
    settings = {"rho": RHO, "model": model, "skip_nonfinite": form == "skip", "lr": 0.5}
    optimizer = SAM(model.parameters(), SGD, **settings)
    x, y = (t[part] for t in batch())
    with model.no_sync():
        loss = nn.functional.cross_entropy(model(x), y) * (torch.nan if rank else 1.0)
        scaler.scale(loss).backward()
    optimizer.first_step(scaler=scaler)
    scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
    optimizer.second_step()
    scaler.update()
    weights = nn.utils.parameters_to_vector(model.parameters()).detach()
    return scaler.get_scale(), weights


def each_its_own():
    """m-sharpness by hand: the mean over the halves of gradients, each at its own w + e."""
    model = network()
    parts = list(model.parameters())
    sgd = SGD(parts, lr=0.5, momentum=0.9)
    x, y = batch()
    for _ in range(STEPS):
        start, mean = [p.detach().clone() for p in parts], [torch.zeros_like(p) for p in parts]
        for half in (slice(PER_RANK), slice(PER_RANK, None)):
            g = torch.autograd.grad(nn.functional.cross_entropy(model(x[half]), y[half]), parts)
            norm = torch.cat([part.flatten() for part in g]).norm()
            for p, e in zip(parts, g, strict=True):
                p.data += RHO * e / norm
            h = torch.autograd.grad(nn.functional.cross_entropy(model(x[half]), y[half]), parts)
            for p, w, total, part in zip(parts, start, mean, h, strict=True):
                p.data.copy_(w)
                total += part / 2
        for p, total in zip(parts, mean, strict=True):
            p.grad = total
        sgd.step()
    return nn.utils.parameters_to_vector(parts).detach()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    code = RANKS.format(tests=str(__file__).rsplit("/", 1)[0])
    files = [folder / f"rank{rank}" for rank in range(2)]
    subprocess.run([sys.executable, "-c", code, folder / "meet", *files], check=True, timeout=120)
    return [torch.load(path) for path in files]


@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("mix", ["sam", "ckpt12"])
def test_two_ranks_take_the_step_of_the_whole_batch(ranks, mix, view):
    one, other = (rank[f"{mix} {view}"] for rank in ranks)
    assert torch.equal(one, other)
    torch.testing.assert_close(one, train(network(), mix, *batch()), rtol=0, atol=1e-12)


def test_a_first_pass_without_synchronisation_is_a_ranks_own(ranks):
    one, other = (rank["own"] for rank in ranks)
    assert torch.equal(one, other)
    torch.testing.assert_close(one, each_its_own(), rtol=0, atol=1e-12)
    assert not torch.allclose(one, train(network(), "sam", *batch()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "make"), [("own", network), ("normalised", normalised)])
def test_ranks_that_climb_on_their_own_are_micro_batches(ranks, name, make):
    leaves = {"variant": "sam", "rho": RHO, "lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}
    cell = tiny(**leaves, batch_size=2 * PER_RANK, drop_last=True, micro_batch=PER_RANK)
    learner = Learner(make(), 2 * PER_RANK, "float32", False, torch.device("cpu"))
    learner.begin(cell, make().state_dict())
    x, y = batch()
    for step in range(STEPS):
        learner.draw(0, step)
        learner.step((x,), y)
    torch.testing.assert_close(learner.w, ranks[0][name], rtol=0, atol=1e-12)
    assert torch.equal(ranks[0][name], ranks[1][name])


@pytest.mark.parametrize("form", [0, 1], ids=["scaler", "skip"])
def test_ranks_leave_out_a_step_together(ranks, form):
    (scale, one), (other_scale, other) = (rank["left out"][form] for rank in ranks)
    assert scale == other_scale
    assert torch.equal(one, other)
    assert torch.equal(one, nn.utils.parameters_to_vector(network().parameters()).detach())


def test_a_sharded_optimizer_is_refused(ranks):
    for rank in ranks:
        assert rank["refused"].startswith("SAM: base_optimizer: ZeroRedundancyOptimizer is not")
