"""The grokking study's transformer, and a perceptron for equations that groks within seconds.

openai/grok@3d64b1d, grok/transformer.py: two layers, width 128, four heads, layer normalisation
after each residual sum, no biases in linear maps, positions as sines, no dropout. With its 239
tokens it has 455,424 parameters.
"""

import math

import torch
from torch import Tensor, nn

from samscope.models.attention import positions

ANSWERS = 2
"""Tokens at the end of an input whose successors are asked for."""


class Attention(nn.Module):
    """softmax(q k^T / sqrt(width / heads)) v of each head over places that are past, then a map."""

    kind = "attention"

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, last: int) -> Tensor:
        """New features [N, last, width] of the last places, from features [N, T, width]."""
        asked, places = x[:, -last:], x.shape[1]
        heads = (
            f(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f, of in ((self.q, asked), (self.k, x), (self.v, x))
        )
        q, k, v = heads
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        past = torch.ones(places, places, dtype=torch.bool, device=x.device).tril()[-last:]
        weights = scores.masked_fill(~past, -math.inf).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A layer: attention, then a map of each place, a normalisation after each residual sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.near = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.ReLU(),
            nn.Linear(4 * width, width, bias=False),
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, last: int) -> Tensor:
        """Features [N, last, width] of the last places."""
        x = self.norm1(x[:, -last:] + self.attention(x, last))
        return self.norm2(x + self.near(x))


class Decoder(nn.Module):
    """The transformer.

    Args:
        tokens: size of the vocabulary.
        layers: blocks.
        width: of a token's features.
        heads: of the attention.
    """

    def __init__(self, tokens: int, layers: int = 2, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.out = nn.Linear(width, tokens, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [N, 2, vocabulary] of what follows each of the last two of tokens [N, T].

        No other place is answered for, so the last layer computes no other.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embed(tokens)
        x = x + positions(places, self.width).to(x.dtype)
        for block in self.blocks[:-1]:
            x = block(x, tokens.shape[1])
        return self.out(self.blocks[-1](x, ANSWERS))


class Perceptron(nn.Module):
    """A stand-in: both operands embedded, one hidden layer, the two answers; no biases.

    Args:
        tokens: size of the vocabulary.
        width: of an operand's features.
        hidden: units.
    """

    def __init__(self, tokens: int, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.left, self.right = nn.Embedding(tokens, width), nn.Embedding(tokens, width)
        self.near = nn.Linear(2 * width, hidden, bias=False)
        self.out = nn.Linear(hidden, ANSWERS * tokens, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [N, 2, vocabulary] of equations, of which it reads a and b: tokens [N, 6]."""
        both = torch.cat([self.left(tokens[:, 1]), self.right(tokens[:, 3])], 1)
        return self.out(self.near(both).relu()).unflatten(1, (ANSWERS, -1))
