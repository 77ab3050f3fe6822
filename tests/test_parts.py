"""m-sharpness: parts of a batch that climb on their own, against replicas written out by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F

from samscope import models, tasks
from samscope.errors import InputError
from samscope.train import engine, pure
from samscope.train.engine import train
from samscope.train.feed import Feed
from samscope.train.step import Learner
from tiny_cell import drawn_batch, tiny

CPU = torch.device("cpu")
PAPER = {"variant": "sam", "rho": 0.3, "weight_decay": 0.05, "batch_size": 20}
OFFICIAL = PAPER | {
    "decay_in_loss": True, "clip": 0.5, "nesterov": True, "randomness": "same",
    "ascent_epsilon": 0.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def batch():
    return drawn_batch(torch.float64)


def learner(cell, model):
    begun = Learner(model, 20, "float32", False, CPU)
    begun.begin(cell, model.state_dict())
    begun.model.train()
    return begun


def penalised(model, images, labels, decay):
    """Gradients of a replica's loss, by parameter."""
    parts = list(model.parameters())
    loss = F.cross_entropy(model(images), labels)
    loss = loss + decay / 2 * sum(p.square().sum() for p in parts)
    return torch.autograd.grad(loss, parts)


def length(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


def by_replicas(model, images, labels, momenta, cell, m, average="gradients"):
    """A step as google-research/sam has it with a replica for every m samples.

    Each replica has weights and running statistics of its own; gradients and, before evaluation,
    statistics are averaged over the replicas. ``perturbations``: as the slides have it.
    """
    method = cell.method
    decay = method.weight_decay if method.decay_in_loss else 0.0
    rho, epsilon = method.ascent.rho, method.ascent.ascent_epsilon
    batches = list(zip(images.split(m), labels.split(m), strict=True))
    replicas = [copy.deepcopy(model) for _ in batches]
    es = []
    for replica, (x, y) in zip(replicas, batches, strict=True):
        g = penalised(replica, x, y, decay)
        es.append([rho * part / (length(g) + epsilon) for part in g])
    kept = [[b.clone() for b in replica.buffers()] for replica in replicas]
    if average == "perturbations":
        es = [[sum(parts) / len(es) for parts in zip(*es, strict=True)]] * len(es)
    hs = []
    for replica, (x, y), e in zip(replicas, batches, es, strict=True):
        for p, part in zip(replica.parameters(), e, strict=True):
            p.data += part
        hs.append(penalised(replica, x, y, decay))
    u = [sum(parts) / len(hs) for parts in zip(*hs, strict=True)]
    if method.clip:
        u = [part * min(1.0, method.clip / length(u).item()) for part in u]
    for p, part, v in zip(model.parameters(), u, momenta, strict=True):
        part = part + (0.0 if method.decay_in_loss else method.weight_decay) * p.data
        v.mul_(method.momentum).add_(part)
        p.data -= method.lr * (part + method.momentum * v if method.nesterov else v)
    for buffer, *each in zip(model.buffers(), *kept, strict=True):
        buffer.copy_(torch.stack(each).double().mean(0))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("average", ["gradients", "perturbations"])
@pytest.mark.parametrize("m", [1, 4, 20])
@pytest.mark.parametrize("protocol", [PAPER, OFFICIAL], ids=["paper text", "official code"])
def test_steps_are_those_of_replicas(protocol, m, average, together, batch, monkeypatch):
    if not together:
        monkeypatch.setattr(pure, "TOGETHER", 1)
    cell = tiny(**protocol, micro_batch=m, micro_average=average)
    ours, theirs = (models.build("cnn3", 10, 1, seed=5).double() for _ in range(2))
    taught, momenta = learner(cell, ours), [torch.zeros_like(p) for p in theirs.parameters()]
    (images,), labels = batch
    for step in range(2):
        taught.draw(0, step)
        taught.step((images,), labels)
        by_replicas(theirs.train(), images, labels, momenta, cell, m, average)
    for (name, found), expected in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=name)


def test_the_protocols_are_not_one(batch):
    ends = []
    for changes in (
        *(PAPER, OFFICIAL, OFFICIAL | {"micro_batch": 4}, PAPER | {"micro_batch": 4}),
        PAPER | {"micro_batch": 4, "micro_average": "perturbations"},
    ):
        taught = learner(tiny(**changes), models.build("cnn3", 10, 1).double())
        for step in range(2):
            taught.draw(0, step)
            taught.step(*batch)
        ends.append(taught.w)
    apart = [(a - b).norm() for n, a in enumerate(ends) for b in ends[:n]]
    assert min(apart) > 1e-4


def test_one_part_is_the_whole_batch(batch):
    ends = []
    for m in (0, 20):
        taught = learner(
            tiny(batch_size=20, micro_batch=m), models.build("resnet8_w8", 10, 1).double()
        )
        row = [taught.step(*batch) for _ in range(2)][-1]
        state = torch.cat([v.double().flatten() for v in taught.model.state_dict().values()])
        ends.append(torch.cat([row, state]))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-11)


def test_a_part_of_one_sample_without_batch_norm(batch):
    """Of a linear network with squared loss: each sample's e is its input times its error."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False)).double()
    start = model[1].weight.detach().clone()
    cell = tiny(variant="sam", rho=0.3, micro_batch=1, loss="squared", momentum=0.0,
                weight_decay=0.0)  # fmt: skip
    taught = learner(cell, model)
    row = dict(zip(taught.columns, taught.step(*batch).tolist(), strict=True))
    (images,), labels = batch
    gradients = []
    for x, y in zip(images.flatten(1), F.one_hot(labels, 10).double(), strict=True):
        g = 2 * torch.outer(start @ x - y, x)
        gradients.append(2 * torch.outer((start + 0.3 * g / g.norm()) @ x - y, x))
    u = torch.stack(gradients).mean(0)
    torch.testing.assert_close(model[1].weight.detach(), start - 0.1 * u, rtol=0, atol=1e-12)
    # Means and sums of the first pass, as without parts.
    outputs = images.flatten(1) @ start.T
    error = (outputs - F.one_hot(labels, 10)).square().sum(1).mean().item()
    assert row["train_loss"] == pytest.approx(error)
    assert row["train_acc_percent"] == 100 * (outputs.argmax(1) == labels).sum().item()
    assert row["perturbed_grad_norm"] == pytest.approx(u.norm().item())


def test_regions_are_of_the_means(batch):
    taught = learner(tiny(**PAPER, micro_batch=4), models.build("cnn3", 10, 1).double())
    start, model = taught.w.clone(), copy.deepcopy(taught.model)
    row = dict(zip(taught.columns, taught.step(*batch).tolist(), strict=True))
    (images,), labels = batch
    gs = [penalised(model, x, y, 0.0) for x, y in
          zip(images.split(4), labels.split(4), strict=True)]  # fmt: skip
    g = torch.cat([torch.stack(parts).mean(0).flatten() for parts in zip(*gs, strict=True)])
    torch.testing.assert_close(taught.observer.g, g, rtol=1e-9, atol=1e-12)
    u = (start - taught.w) / 0.1 - 0.05 * start
    torch.testing.assert_close(taught.observer.h, u, rtol=1e-9, atol=1e-9)
    inside = (u * g > 0) & (u.abs() > g.abs())
    assert row["region1"] == pytest.approx(inside.sum().item(), abs=2)
    assert row["grad_norm"] == pytest.approx(g.norm().item())


@pytest.mark.parametrize("together", [True, False])
def test_random_layers_of_parts(batch, together, monkeypatch):
    """At rho 0 both passes of a part are one function; parts of equal samples are not."""
    if not together:
        monkeypatch.setattr(pure, "TOGETHER", 1)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, 10, bias=False)
    ).double()
    images = batch[0][0][:1].expand(20, -1, -1, -1)
    labels = batch[1][:1].expand(20)
    for randomness in ("same", "fresh"):
        cell = tiny(variant="sam", rho=0.0, micro_batch=1, randomness=randomness)
        taught = learner(cell, model)
        taught.draw(0, 1)
        taught.step((images,), labels)
        g, h = taught.observer.g, taught.observer.h
        assert torch.allclose(g, h, rtol=0, atol=1e-12) is (randomness == "same")
        # A pixel is dropped for half of the parts, not for all or none.
        sizes = (g.view(10, 64) / images[0].flatten())[labels[0]].abs()
        assert len(sizes.round(decimals=6).unique()) > 5


SIGNALS = {"task": "beats", "data": "digit_signals", "model": "attention_small"}
GRAPHS = {"task": "molecules", "data": "digit_graphs", "model": "gcn_small"}


@pytest.mark.filterwarnings("error")  # that parts are taken one by one after all
@pytest.mark.parametrize("kind", [SIGNALS, GRAPHS], ids=lambda kind: kind["model"])
def test_signals_and_graphs_in_parts(tmp_path, kind):
    cell = tiny(**kind, **PAPER, micro_batch=10, label_noise=0.0)
    splits = tasks.load(cell.task, tmp_path)
    taught = learner(cell, models.build(cell.model, *splits.sizes))
    for step, (inputs, targets) in enumerate(Feed(cell, 0, splits).training(0)):
        taught.draw(0, step)
        assert taught.step(inputs, targets).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"micro_batch": 4}, "a divisor of the batch_size 30"),
        ({"micro_batch": 60}, "a divisor of the batch_size 30"),
        ({"micro_batch": 15}, "a divisor of the last batch's 10 samples too, or drop_last"),
        ({"micro_batch": -1}, "1 or more"),
        ({"micro_batch": 10, "direction": "random", "variant": "sam"}, "0"),
        ({"micro_average": "perturbations"}, "gradients"),
        ({"micro_batch": 10, "second_order": "kept"}, "0"),
        ({"micro_batch": 10, "compiled": True}, "False with micro_batch or second_order"),
        ({"micro_batch": 10, "precision": "bf16"}, "float32 or tf32 with micro_batch"),
    ],
)
def test_what_parts_cannot_be(changes, allowed):
    with pytest.raises(InputError, match=allowed):
        tiny(**changes)


def test_a_last_batch_that_parts_do_not_divide_is_left_out_or_refused(tmp_path):
    assert tiny(micro_batch=15, drop_last=True).method.ascent.micro_batch == 15
    # All samples but those of the validation: how many is known when they are there.
    cell = tiny(micro_batch=15, train_size=None)
    splits = tasks.load(tiny().task, tmp_path)
    with pytest.raises(InputError, match=r"micro_batch: 15 .*batch's 10 samples"):
        Feed(cell, 0, splits)
    assert Feed(cell.but(drop_last=True), 0, splits).steps == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch": 5},
        {"micro_batch": 10, "task": "molecules", "data": "digit_graphs", "model": "gcn_small"},
        {"second_order": "observed", "ascent_steps": 2},
    ],
)
def test_a_run_goes_on_to_the_same_bits(tmp_path, changes, monkeypatch):
    row = engine._row

    def interrupt():
        raise KeyboardInterrupt

    cell = tiny(variant="ckpt12", label_noise=0.0, epochs=3, **changes)
    splits, lines = tasks.load(cell.task, tmp_path), []
    found = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        if name == "killed":  # in its second epoch
            with monkeypatch.context() as patch:
                patch.setattr(engine, "STATE_SHARE", float("inf"))
                patch.setattr(engine, "_row", lambda *a: row(*a) if a[-1] == 0 else interrupt())
                with pytest.raises(KeyboardInterrupt):
                    train(cell, 0, splits, tmp_path / name, lines.append)
        found.append(train(cell, 0, splits, tmp_path / name, lines.append))
    assert any("goes on after epoch 1 of 3" in line for line in lines)
    whole, killed = found
    assert whole.weights == killed.weights
    assert repr((whole.history, whole.ratios)) == repr((killed.history, killed.ratios))
