"""The graph network: its sizes as published, each layer against dense algebra, its training."""

import csv
import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call

import tiny_molecules
from samscope import data, models, tasks
from samscope.models.gcn import GraphConv, mean_of_graphs, packed
from samscope.seeding import derive
from samscope.spec import Cell
from samscope.stages.train import train_cell
from samscope.tasks import molecules
from samscope.train.feed import Feed

CELL = {
    **{"model": "gcn", "task": "molecules", "data": "mutagenicity", "augment": "none"},
    **{"label_noise": 0.0, "train_size": None, "val_size": 0, "split_seed": 12345},
    **{"loss": "smoothed_kl", "smoothing": 0.1, "optimizer": "adam", "lr": 0.01, "momentum": 0.9},
    **{"weight_decay": 5e-4, "schedule": "step", "epochs": 4, "batch_size": 16},
    **{"drop_last": False, "threads": 1, "precision": "float32", "compiled": False},
}


def cell(**changes):
    return Cell.from_dict({**CELL, "variant": "sgd", **changes})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    return tiny_molecules.write(folder, tiny_molecules.random_texts(90))


@pytest.fixture
def batch(data_dir):
    """Molecules of several sizes, and an atom alone."""
    arrays = data.read("mutagenicity", data_dir)
    atoms, bonds = (tensor[:7] for tensor in molecules.padded(arrays).inputs)
    alone = torch.full((1, atoms.shape[1]), -1, dtype=atoms.dtype)
    alone[0, 0] = 5
    none = torch.full((1, *bonds.shape[1:]), -1, dtype=bonds.dtype)
    return torch.cat([atoms, alone]), torch.cat([bonds, none])


def dense(model, atoms, bonds):
    """The network on one graph after the other, by its adjacency matrix."""
    out = []
    for kinds, edges in zip(atoms, bonds, strict=True):
        x = F.one_hot(kinds[kinds >= 0].long(), 14).to(model.lin1.weight)
        near = torch.zeros(len(x), len(x), dtype=x.dtype)
        for source, target in edges[edges[:, 0] >= 0].tolist():
            near[target, source] += 1
        for number in range(1, 5):
            layer = getattr(model, f"conv{number}")
            x = near @ x @ layer.lin_rel.weight.T + layer.lin_rel.bias + x @ layer.lin_root.weight.T
            x = x if number == 4 else x.clamp(min=0)
        out.append(model.lin2(model.lin1(x.mean(0))))
    return torch.stack(out)


def test_sizes_are_the_published_ones():
    model = models.build("gcn", 2, 14)
    trained = sum(p.numel() for p in model.parameters())
    assert trained == 92_546
    assert trained + sum(b.numel() for b in model.buffers()) == 125_442
    assert {name.split(".")[0] for name, _ in model.named_buffers()} == {"conv5"}


def test_a_batch_is_what_dense_algebra_gives(batch):
    model = models.build("gcn", 2, 14, seed=1).double().eval()
    assert torch.allclose(model(*batch), dense(model, *batch), rtol=1e-12, atol=1e-12)
    own, theirs = (
        torch.autograd.grad(f.square().sum(), list(model.parameters()))
        for f in (model(*batch), dense(model, *batch))
    )
    for one, other in zip(own, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_a_layer_is_torch_geometrics(batch):
    geometric = pytest.importorskip("torch_geometric.nn")
    kinds, source, target, graph, _ = packed(*batch)
    x, own, theirs = F.one_hot(kinds, 14).float(), GraphConv(14, 64), geometric.GraphConv(14, 64)
    theirs.load_state_dict(own.state_dict())
    expected = theirs(x, torch.stack([source, target]))
    assert torch.allclose(own(x, source, target), expected, atol=1e-6)
    means = mean_of_graphs(expected, graph, torch.ones(len(x)), 8)
    assert torch.allclose(means, geometric.global_mean_pool(expected, graph), atol=1e-6)


def test_padding_that_stays_changes_nothing(batch, monkeypatch):
    # A GPU keeps it: the same with tensors that say they are on one.
    model = models.build("gcn", 2, 14).eval()
    expected, count = model(*batch), (batch[0] >= 0).sum()
    assert len(packed(*batch)[0]) == count < batch[0].numel()
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "is_cuda", True)
        assert len(packed(*batch)[0]) == batch[0].numel() + 1
        assert torch.allclose(model(*batch), expected, atol=1e-6)


def test_dropout_is_before_both_linear_layers(batch):
    model = models.build("gcn", 2, 14).train()
    torch.manual_seed(0)
    masks = [F.dropout(torch.ones(8, width), 0.8) for width in (128, 64)]
    seen = []
    for layer in (model.lin1, model.lin2):
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(0)
    model(*batch)
    assert [torch.equal(x != 0, mask != 0) for x, mask in zip(seen, masks, strict=True)] == [
        True
    ] * 2


def test_the_loss_has_second_derivatives(batch):
    # Against differences of its gradient, in float64, too small to meet a kink of a ReLU.
    model = models.build("gcn", 2, 14, seed=2).double().eval()
    names = [name for name, _ in model.named_parameters()]

    def gradient(values):
        at = dict(zip(names, values, strict=True))
        loss = F.cross_entropy(functional_call(model, at, batch), torch.tensor([0, 1] * 4))
        return torch.autograd.grad(loss, values, create_graph=True)

    start = [p.detach().clone().requires_grad_() for p in model.parameters()]
    random = torch.Generator().manual_seed(0)
    along = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in start]
    product = sum((g * v).sum() for g, v in zip(gradient(start), along, strict=True))
    own = torch.autograd.grad(product, start)
    pairs = list(zip(start, along, strict=True))
    up, down = (
        gradient([(p + step * v).detach().requires_grad_() for p, v in pairs])
        for step in (1e-8, -1e-8)
    )
    for one, a, b in zip(own, up, down, strict=True):
        assert torch.allclose(one, (a - b) / 2e-8, rtol=1e-4, atol=1e-6)


def test_training_is_torchs_adam_and_learns(data_dir, tmp_path):
    run = cell(epochs=4)
    train_cell(run, [0], tmp_path, data_dir, lambda line: None)
    splits = tasks.load(run.task, data_dir)
    model, feed = models.build("gcn", *splits.sizes, seed=0).train(), Feed(run, 0, splits)
    adam = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    step, losses = 0, []
    for epoch in range(4):
        adam.param_groups[0]["lr"] = 0.01 * 0.2 ** sum(10 * epoch >= k * 4 for k in (3, 6, 8))
        for inputs, targets in feed.training(epoch):
            torch.manual_seed(derive(0, "layers", step))
            smooth = torch.full((len(targets), 2), 0.1).scatter(1, targets[:, None], 0.9)
            loss = F.kl_div(model(*inputs).log_softmax(1), smooth, reduction="batchmean")
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
            step += 1
    rows = list(csv.DictReader((tmp_path / "seed=0" / "history.csv").open()))
    found = [float(row["train_loss"]) for row in rows]
    expected = torch.tensor(losses).reshape(4, -1).mean(1).tolist()
    assert found == pytest.approx(expected, rel=1e-4)
    metrics = json.loads((tmp_path / "seed=0" / "metrics.json").read_text())
    outputs = model.eval()(*splits.test.inputs)
    right = (outputs.argmax(1) == splits.test.targets).float().mean().item()
    assert metrics["test_acc_percent"]["last"] == pytest.approx(100 * right)
    assert metrics["best_epoch"] == 4  # without validation samples, the last


def test_adaptive_sam_trains_and_says_which_parameters_are_of_graphs(data_dir, tmp_path):
    run = cell(variant="sam", rho=0.05, adaptive="davda54", epochs=30)
    train_cell(run, [0], tmp_path, data_dir, lambda line: None)
    rows = list(csv.DictReader((tmp_path / "seed=0" / "history.csv").open()))
    assert float(rows[-1]["train_loss"]) < 0.8 * float(rows[0]["train_loss"])
    ratios = list(csv.DictReader((tmp_path / "seed=0" / "ratios.csv").open()))
    sizes = {row["kind"]: int(row["parameters"]) for row in ratios if row["batch"] == "all"}
    biases = 64 + 3 * 128 + 64 + 2
    linear = 128 * 64 + 64 * 2
    assert sizes == {"graph": 92_546 - biases - linear, "linear": linear, "bias": biases}


def test_what_is_never_called_is_never_moved(data_dir, tmp_path):
    run = cell(variant="sam", rho=0.05)
    train_cell(run, [3], tmp_path, data_dir, lambda line: None)
    trained = load_file(tmp_path / "seed=3" / "weights.safetensors")
    fresh = models.build("gcn", 2, 14, seed=3).state_dict()
    moved = {name for name in fresh if not torch.equal(fresh[name], trained[name])}
    assert moved == {name for name in fresh if not name.startswith("conv5")}


def test_an_idle_layer_is_like_the_others_at_first():
    fifth = models.build("gcn", 2, 14).conv5
    assert fifth.lin_rel.weight.shape == (128, 128)
    bound = 1 / 128**0.5
    assert 0.9 * bound < fifth.lin_rel.weight.max() <= bound
    assert not any(isinstance(v, nn.Parameter) for v in fifth.state_dict(keep_vars=True).values())
