"""The CS-439 report's graph network: GraphConv layers, the mean of the atoms, two linear layers.

As its code has it (francpp/sharpness-aware_minimization@9269d25, models/gcn.py, after the example
of torch_geometric): four of the five convolutions are called, the fourth without an activation, and
there is none between the linear layers. Parameters have torch_geometric's names.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DROPOUT = 0.8
"""Before each linear layer."""


class GraphConv(nn.Module):
    """W_1 x_i + W_2 sum_j x_j + b, over the j with an edge to i; torch_geometric's.

    Source: Morris et al. 2019, arXiv:1810.02244.

    Args:
        features: of a node, at first.
        width: of a node, afterwards.
    """

    kind = "graph"

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.lin_rel = nn.Linear(features, width)
        self.lin_root = nn.Linear(features, width, bias=False)

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """New features [nodes, width] of features [nodes, features] and edges, two [edges]."""
        near = torch.zeros_like(x).index_add(0, target, x.index_select(0, source))
        return self.lin_rel(near) + self.lin_root(x)


class GCN(nn.Module):
    """The network of the report.

    The fifth convolution is never called. Its 32,896 numbers are buffers here, no parameters: they
    stay as they were drawn, as in the report's own checkpoints, and no norm, no perturbation and no
    Hessian counts them.

    Args:
        num_classes: number of outputs.
        num_atoms: kinds of atoms, each a feature.
        hidden: width of the first layer and of the last but one; half that of the others.
    """

    def __init__(self, num_classes: int, num_atoms: int, hidden: int = 64) -> None:
        super().__init__()
        self.num_atoms = num_atoms
        self.conv1 = GraphConv(num_atoms, hidden)
        self.conv2 = GraphConv(hidden, 2 * hidden)
        self.conv3 = GraphConv(2 * hidden, 2 * hidden)
        self.conv4 = GraphConv(2 * hidden, 2 * hidden)
        self.conv5 = GraphConv(2 * hidden, 2 * hidden)
        self.lin1 = nn.Linear(2 * hidden, hidden)
        self.lin2 = nn.Linear(hidden, num_classes)
        for linear in self.conv5.children():
            for name, value in list(linear.named_parameters()):
                delattr(linear, name)
                linear.register_buffer(name, value.detach())

    def forward(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        """Logits [N, num_classes] of graphs, see `samscope.tasks.molecules`."""
        kinds, source, target, graph, real = packed(atoms, bonds)
        x = F.one_hot(kinds, self.num_atoms).to(self.lin1.weight.dtype)
        x = self.conv1(x, source, target).relu()
        x = self.conv2(x, source, target).relu()
        x = self.conv3(x, source, target).relu()
        x = self.conv4(x, source, target)
        x = mean_of_graphs(x, graph, real, len(atoms))
        x = self.lin1(F.dropout(x, DROPOUT, self.training))
        return self.lin2(F.dropout(x, DROPOUT, self.training))


def packed(atoms: Tensor, bonds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A batch of padded graphs as one graph of their nodes.

    A CPU leaves the padding out. On a GPU, where a recorded step has one shape, it stays: nodes of
    kind 0 that are not ``real``, and edges from the first node to one that no graph has.

    Returns:
        Kinds [nodes], sources and targets of the edges, the graph of each node, int64 all; and
        which nodes are real.
    """
    count, width = atoms.shape
    # One node more at the end, which padded edges join.
    flat = F.pad(atoms.reshape(-1).long(), (0, 1), value=-1)
    real, last = flat >= 0, count * width
    graph = torch.arange(last + 1, device=atoms.device) // width
    first = torch.arange(count, device=atoms.device) * width
    edges, held = (
        (bonds.long() + first[:, None, None]).flatten(0, 1),
        bonds.flatten(0, 1)[:, 0] >= 0,
    )
    if atoms.is_cuda:
        source, target = edges[:, 0].where(held, 0), edges[:, 1].where(held, last)
        return flat.clamp(min=0), source, target, graph, real
    place = real.cumsum(0) - 1
    source, target = place[edges[held]].unbind(1)
    return flat[real], source, target, graph[real], real[real]


def mean_of_graphs(x: Tensor, graph: Tensor, real: Tensor, count: int) -> Tensor:
    """The mean of the real nodes of each graph: [count, features] of [nodes, features]."""
    weights = real.to(x.dtype)
    # The node that no graph has would be of graph `count`.
    sums = x.new_zeros(count + 1, x.shape[1]).index_add(0, graph, x * weights[:, None])
    sizes = x.new_zeros(count + 1).index_add(0, graph, weights)
    return sums[:count] / sizes[:count, None].clamp(min=1)
