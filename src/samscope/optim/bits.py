"""Regions and mixes from the bits of numbers, for a CPU: faster than signs, exact to the bit.

As integers, the numbers of IEEE 754 without their signs are in the order of their sizes, and the
first bit of g xor h tells whether two signs differ. A number is chosen among two, u and v, by a
mask of ones or zeros: u xor ((u xor v) and mask), to the bit, whatever they are. NumPy compares
integers and counts what is true several times as fast as torch does.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samscope.optim.mixes import REGIONS, H, Mix
from samscope.optim.ratio import BLOCK, blend

_INTEGERS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}

Bits = NDArray[Any]
Mask = NDArray[np.bool_]


def applies(g: Tensor, h: Tensor) -> bool:
    """Whether `mix_by_bits` takes such tensors."""
    plain = all(
        type(t) is Tensor and t.is_cpu and t.is_contiguous() and not t.is_neg() for t in (g, h)
    )
    return plain and g.dtype == h.dtype and g.dtype in _INTEGERS


def mix_by_bits(g: Tensor, h: Tensor, mix: Mix, counts: Tensor | None) -> None:
    """`samscope.optim.lists.mix_in_place` of finite tensors."""
    g, h = g.detach().view(-1), h.detach().view(-1)
    size = min(BLOCK, len(g))
    g_bits, h_bits = _bits(g), _bits(h)
    scratch, masks = np.empty((3, size), g_bits.dtype), np.empty((5, size), np.bool_)
    found = [0] * len(REGIONS)
    for start in range(0, len(g), size or 1):
        piece, last = slice(start, start + size), len(g) - start
        numbers, sorted_out = scratch[:, :last], masks[:, :last]
        none = _sort(g_bits[piece], h_bits[piece], numbers, sorted_out)
        if counts is not None:
            these = _count(sorted_out, *none)
            found = [a + b for a, b in zip(found, these, strict=True)]
        if mix.exceptions or mix.rest != H:
            _mix(g[piece], h[piece], mix, numbers, sorted_out)
    if counts is not None:
        total = counts.numpy()
        np.add(total, found, out=total)


def _bits(t: Tensor) -> Bits:
    return t.view(_INTEGERS[t.dtype]).numpy()


def _sort(g: Bits, h: Bits, scratch: Bits, masks: Mask) -> tuple[int, int]:
    """Tell the elements apart; how many are ties, and zeros.

    Args:
        g: of a piece.
        h: likewise.
        scratch: overwritten.
        masks: the first four are filled: |r| > 1; in none of the regions; r < -1; r < 0.
    """
    far, none, both, against, zero = masks
    size_g, size_h, _ = scratch
    no_sign = np.iinfo(g.dtype).max
    np.less(np.bitwise_xor(g, h, out=size_g), 0, out=against)
    np.bitwise_and(g, no_sign, out=size_g)
    np.bitwise_and(h, no_sign, out=size_h)
    np.greater(size_h, size_g, out=far)
    np.equal(size_h, size_g, out=none)
    zeros, ties = 0, int(np.count_nonzero(none))
    if not (size_g.min() and size_h.min()):
        np.equal(np.minimum(size_g, size_h, out=size_g), 0, out=zero)
        zeros = int(np.count_nonzero(zero))
        np.bitwise_or(none, zero, out=none)
        ties = int(np.count_nonzero(none)) - zeros
    if zeros or ties:
        np.greater(far, none, out=far)  # of truths: the one and not the other
        np.greater(against, none, out=against)
    np.bitwise_and(far, against, out=both)
    return ties, zeros


def _count(masks: Mask, ties: int, zeros: int) -> tuple[int, ...]:
    """Of what `_sort` left: how many elements are in each of REGIONS."""
    far, both, against = (int(np.count_nonzero(masks[row])) for row in (0, 2, 3))
    second = masks.shape[1] - far - (against - both) - ties - zeros
    return far - both, second, both, against - both, ties, zeros, 0


def _mix(g: Tensor, h: Tensor, mix: Mix, scratch: Bits, masks: Mask) -> None:
    """Overwrite h with the blend of each region, told apart by what `_sort` left."""
    u = blend(mix.rest, g, h)
    blends = [(blend(row, g, h), members) for row, members in mix.exceptions]
    if not blends:
        h.copy_(u)
        return
    first, second, third, fourth, inside = masks  # in which there still is what `_sort` says
    np.bitwise_or(np.bitwise_or(first, fourth, out=inside), second, out=second)
    np.logical_not(second, out=second)
    np.bitwise_xor(first, third, out=first)
    np.bitwise_xor(fourth, third, out=fourth)
    chosen, ones, spare = scratch
    among = _bits(u)
    for number, (own, members) in enumerate(blends, 1):
        np.bitwise_or(masks[members[0]], masks[members[-1]], out=inside)
        for code in members[1:-1]:
            np.bitwise_or(inside, masks[code], out=inside)
        np.copyto(ones, np.negative(inside.view(np.int8), out=inside.view(np.int8)))
        np.bitwise_and(np.bitwise_xor(_bits(own), among, out=chosen), ones, out=chosen)
        into = _bits(h) if number == len(blends) else spare
        among = np.bitwise_xor(chosen, among, out=into)
