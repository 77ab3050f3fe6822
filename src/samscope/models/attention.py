"""The CS-439 report's attention network for heartbeats: one encoder layer, then a large head.

As its code has it (francpp/sharpness-aware_minimization@9269d25, models/transformer/, after
mselmangokmen/TimeSeriesProject): 19,528,109 parameters, of which 19.3 million are the head's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(q k^T / sqrt(width / heads)) v of each head, then a linear layer."""

    kind = "attention"

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """New features of features, both [N, T, width]."""
        heads = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        q, k, v = heads
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class AttentionNet(nn.Module):
    """The network of the report.

    Args:
        num_classes: number of outputs.
        encoded: the axis that positions are counted along: ``batch``, as coded (``batch_first`` is
            False of a tensor whose first axis is the sample), where what is added to a beat depends
            on its place in the batch alone; ``time``, as described.
        batch: samples of a batch of training and test, as coded: places start anew after so many,
            whatever the batches that a model is measured on.
        width: of a sample's features.
        heads: of the attention.
        hidden: of the feed-forward layer.
        head: widths of the layers before the last.
        samples: of a beat.
        dropout: after positions, attention, feed-forward layer, and within it.
    """

    def __init__(
        self,
        num_classes: int,
        encoded: str = "batch",
        batch: int = 128,
        width: int = 200,
        heads: int = 2,
        hidden: int = 128,
        head: tuple[int, ...] = (512, 256, 128),
        samples: int = 187,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width, self.batch = width, batch if encoded == "batch" else 0
        self.embed = nn.Linear(1, width)
        self.attention = Attention(width, heads)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.near1, self.near2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        sizes = (width * samples, *head, num_classes)
        self.head = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        self.dropout = nn.Dropout(dropout)

    def forward(self, signals: Tensor) -> Tensor:
        """Logits [N, num_classes] of signals [N, samples]."""
        x = self.embed(signals.unsqueeze(-1))
        if self.batch:
            places = torch.arange(len(x), device=x.device)[:, None] % self.batch
        else:
            places = torch.arange(x.shape[1], device=x.device)
        x = self.dropout(x + positions(places, self.width).to(x.dtype))
        x = self.norm1(x + self.dropout(self.attention(x)))
        near = self.near2(self.dropout(self.near1(x).relu()))
        x = self.norm(self.norm2(x + self.dropout(near))).flatten(1)
        for layer in self.head[:-1]:
            x = layer(x).relu()
        return self.head[-1](x)


def positions(places: Tensor, width: int) -> Tensor:
    """sin(t / 10000^(2i / width)) and its cosine in turn (Vaswani et al. 2017): [..., width].

    Args:
        places: t, whole numbers [...].
        width: of what they are added to.
    """
    rates = torch.arange(0, width, 2, device=places.device) * (-math.log(10000.0) / width)
    angles = places[..., None] * rates.exp()
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)
