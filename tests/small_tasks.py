"""Tasks that are no images, of the digits: tables, sequences of grey values, graphs of pixels.

And a model for each. `install` puts them into the registries for the length of a test.
"""

import torch
from torch import Tensor, nn

from samscope import models, tasks
from samscope.models import Model
from samscope.tasks import Kind, Task, images
from samscope.tasks.samples import Samples, Splits

GREYS = 17


def load(task: Task, data_dir) -> Splits:
    """The split of the images, each sample in the form of the task."""
    splits, form = images.load(task, data_dir), FORMS[task.name]
    parts = {name: form(getattr(splits, name)) for name in ("train", "val", "test")}
    return Splits(**parts, sizes=(10,), facts={"classes": 10})


def prepare(splits: Splits, inputs: tuple, draws: None) -> tuple:
    """As they are."""
    return inputs


def table(samples: Samples) -> Samples:
    """64 numbers [N, 64]."""
    return Samples((samples.inputs[0].flatten(1).float() / 16,), samples.targets)


def sequence(samples: Samples) -> Samples:
    """64 tokens [N, 64]."""
    return Samples((samples.inputs[0].flatten(1).long(),), samples.targets)


def graph(samples: Samples) -> Samples:
    """Lit pixels [N, n, 3], edges between neighbours [N, e, 2], and which nodes are some [N, n]."""
    nodes, edges = [], []
    for image in samples.inputs[0][:, 0]:
        row, column = (image > 3).nonzero(as_tuple=True)
        at = torch.stack([row, column], 1)
        nodes.append(torch.cat([image[row, column, None] / 16, at / 8], 1))
        edges.append(((at[:, None] - at).abs().sum(-1) == 1).nonzero())
    pad = lambda parts: nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=-1)  # noqa: E731
    x, edges = pad(nodes), pad(edges)
    mask = x[..., 0] >= 0
    # Edges that are none join the last place, which no graph has.
    x, mask = (nn.functional.pad(v, (0, 0, 0, 1) if v.ndim > 2 else (0, 1)) for v in (x, mask))
    return Samples((x, edges.where(edges >= 0, x.shape[1] - 1), mask), samples.targets)


FORMS = {"table": table, "numbers": table, "sequence": sequence, "graph": graph}


class Perceptron(nn.Sequential):
    def __init__(self, classes: int) -> None:
        super().__init__(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, classes))


class Reader(nn.Module):
    """Embedding, convolution, attention and a layer normalisation; random, by its dropout."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(GREYS, 8)
        self.near = nn.Conv1d(8, 8, 4, stride=4)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(8), nn.Dropout(0.1)
        self.out = nn.Linear(8 * 16, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.near(self.tokens(tokens).mT).mT
        x = self.norm(x + self.dropout(self.attend(x, x, x, need_weights=False)[0]))
        return self.out(x.flatten(1))


class GraphLayer(nn.Module):
    """Of each node, and of the mean of its neighbours."""

    kind = "graph"

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.own, self.near = nn.Linear(features, width), nn.Linear(features, width, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges.unbind(-1)
        wide = lambda nodes: nodes.unsqueeze(-1).expand(-1, -1, x.shape[-1])  # noqa: E731
        sums = torch.zeros_like(x).scatter_add(1, wide(target), x.gather(1, wide(source)))
        degree = torch.zeros_like(x[..., 0]).scatter_add(1, target, torch.ones_like(target) * 1.0)
        return self.own(x) + self.near(sums / degree.clamp(min=1).unsqueeze(-1))


class GraphNet(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = GraphLayer(3, 16), GraphLayer(16, 16)
        self.out = nn.Linear(16, classes)

    def forward(self, x: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        x = self.second(self.first(x, edges).relu(), edges).relu()
        mask = mask.unsqueeze(-1)
        return self.out((x * mask).sum(1) / mask.sum(1))


def install(monkeypatch) -> None:
    """Until the end of a test."""
    for name in FORMS:
        takes = "table" if name == "numbers" else name
        scores = () if name == "numbers" else ("acc_percent",)
        kind = Kind("small_tasks", takes, data=("digits",), scores=scores)
        monkeypatch.setitem(tasks.TASKS, name, kind)
    for name, takes in (("Perceptron", "table"), ("Reader", "sequence"), ("GraphNet", "graph")):
        model = Model("small_tasks", name, takes=takes)
        monkeypatch.setitem(models.MODELS, name.lower(), model)
