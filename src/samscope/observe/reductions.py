"""The tally of a step by comparisons and sums alone.

These compile into few passes over memory and wait for no GPU. Nothing is divided: |h| is compared
with multiples of |g|.
"""

from collections.abc import Callable
from functools import cache, reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from samscope.observe.ratios import NONFINITE, ONE, PART, TIE, WIDTH, ZERO
from samscope.optim.bins import BINS, EDGES, KINDS, PARTS

ROW = 2**12


class Layout(NamedTuple):
    """Gradients in rows: all elements, then those of the lesser kinds.

    Attributes:
        size: number of elements.
        rows: how many hold all of them, in order, the last filled up with zeros.
        lesser: int64 [more rows, ROW], elements of one kind each, ``size`` where a row ends early.
        kind: float64 [KINDS, rows + more rows], which sums of rows make a kind: the largest is all
            less the others.
        vacant: float64 [KINDS], zeros that are no elements.
    """

    size: int
    rows: int
    lesser: Tensor
    kind: Tensor
    vacant: Tensor

    def to(self, device: torch.device) -> "Layout":
        """The same on a device."""
        return self._replace(
            **{n: getattr(self, n).to(device) for n in ("lesser", "kind", "vacant")}
        )


def layout(kinds: Tensor) -> Layout:
    """The layout for parameters of these kinds, see `layer_kinds`."""
    size, rows = len(kinds), len(kinds) // ROW + 1  # one place is vacant at least
    members = [(kinds == kind).nonzero().view(-1) for kind in range(len(KINDS))]
    largest = max(range(len(KINDS)), key=lambda kind: len(members[kind]))
    vacant = torch.zeros(len(KINDS), dtype=torch.float64)
    vacant[largest] = rows * ROW - size
    lesser, signs = [kinds.new_empty(0, ROW).long()], [torch.zeros(len(KINDS), rows)]
    signs[0][largest] = 1
    for kind in [kind for kind in range(len(KINDS)) if kind != largest]:
        left = -len(members[kind]) % ROW
        lesser.append(F.pad(members[kind], (0, left), value=size).view(-1, ROW))
        signs.append(torch.zeros(len(KINDS), len(lesser[-1])))
        signs[-1][kind], signs[-1][largest] = 1, -1
        vacant[kind], vacant[largest] = left, vacant[largest] - left
    return Layout(size, rows, torch.cat(lesser), torch.cat(signs, 1).double(), vacant)


def room(layout: Layout, like: Tensor) -> Tensor:
    """Zeros [rows, ROW] for a gradient that is written to the first elements."""
    return like.new_zeros(layout.rows + len(layout.lesser), ROW)


def tally(
    g: Tensor, h: Tensor, layout: Layout, reduce: Callable | None = None
) -> tuple[Tensor, Tensor]:
    """Count the elements of each bin and sum their squares and products, for each kind.

    Args:
        g: gradient at w in a `room`, whose rows after the first are written here.
        h: gradient at w + e, likewise.
        layout: of the parameters.
        reduce: `reductions`, or a compiled form of it.

    Returns:
        float64 [4, KINDS, codes] and uint8 flags, as those of a step of `ratios.tally`; flags for
        all places of the rows that hold all elements.
    """
    for gradient in (g, h):
        gradient[layout.rows :] = gradient.view(-1)[layout.lesser]
    counts, sums, flags = (reduce or reductions)(g, h)
    by_row = torch.cat([counts, sums]).double()
    table = (layout.kind @ by_row.T @ _widen(g.device)).view(len(KINDS), 4, WIDTH)
    table[:, 0, ZERO] -= layout.vacant
    return table.transpose(0, 1), flags[: layout.rows].view(-1)


def reductions(g: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a tally is made of, by row: counts [30, rows], sums [15, rows] and flags [rows, ROW].

    Counts, for positive and for negative r: all, and those with |h| at least each edge times |g|,
    after the edge 1 those above it; then zeros and what is not finite. Sums in the order of SUMS.
    """
    g_size, h_size = g.abs(), h.abs()
    finite, signs = g.isfinite() & h.isfinite(), g.sign() * h.sign()
    passed = [h_size >= edge * g_size for edge in EDGES]
    passed.insert(ONE, h_size > g_size)
    masks, regions = [], []
    for alike in (finite & (signs > 0), finite & (signs < 0)):
        masks += [alike, *(alike & p for p in passed)]
        regions += [alike & passed[ONE], alike & ~passed[ONE - 1]]
    masks += [finite & (signs == 0), ~finite]
    none = finite & ~(regions[0] | regions[1] | regions[2] | regions[3])
    products = (g * g, h * h, g * h)
    sums = [torch.where(m, p, 0.0).sum(1) for p in products for m in (*regions, none)]
    bits = [torch.where(m, 1 << k, 0) for k, m in enumerate(regions)]
    flags = reduce(torch.add, bits).to(torch.uint8)
    counts = [mask.sum(1, dtype=torch.int32) for mask in masks]
    return torch.stack(counts), torch.stack(sums), flags


@cache
def _widen(device: torch.device) -> Tensor:
    """From the counts and sums of `reductions` to those of a tally: float64 [45, 4 * WIDTH]."""
    steps = len(EDGES) + 2
    matrix = torch.zeros(2 * steps + 2 + 3 * len(PARTS), 4, WIDTH, dtype=torch.float64)
    for row in range(2 * steps):
        sign, passed = divmod(row, steps)
        # Those that pass an edge and not the next; above -1 and 1, what does is a tie.
        bin_ = sign * len(BINS) // 2 + passed - (passed > ONE)
        matrix[row, 0, TIE if passed == ONE else bin_] += 1
        if passed + 1 < steps:
            matrix[row + 1, 0, TIE if passed == ONE else bin_] -= 1
    matrix[2 * steps, 0, ZERO] = matrix[2 * steps + 1, 0, NONFINITE] = 1
    for i in range(3 * len(PARTS)):
        product, part = divmod(i, len(PARTS))
        matrix[2 * steps + 2 + i, product + 1, PART.index(part)] = 1
    return matrix.view(len(matrix), -1).to(device)
