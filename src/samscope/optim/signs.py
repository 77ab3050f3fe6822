"""Regions and mixes from signs alone, for a CPU: half the time of comparisons and `where`.

With s = sign(h) sign(g) and f = sign(|h| - |g|), a region is a pair of signs:

    region     1    2    3    4    tie   zero
    s          1    1   -1   -1    +-1    0
    f          1   -1    1   -1     0    any

so the four sums over sf, sf^2, s^2 f and s^2 f^2 tell how many elements each has, and whether an
element is in a set of regions is a polynomial of s and f. A CPU multiplies and adds floats several
times as fast as it compares, and selects by bits as fast as it adds.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from samscope.optim.mixes import Mix
from samscope.optim.ratio import blend

_SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""s and f of the regions 1 to 4."""

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def applies(g: Tensor, h: Tensor) -> bool:
    """Whether `mix_by_signs` takes such tensors; sums in 16 bits would not be exact."""
    alike = g.dtype == h.dtype and g.dtype in _BITS
    return alike and g.is_cpu and g.is_contiguous() and h.is_contiguous()


def mix_by_signs(g: Tensor, h: Tensor, mix: Mix, counts: Tensor | None) -> None:
    """`samscope.optim.lists.mix_in_place`, to the bit, of finite vectors up to 2^24 elements."""
    f = h.abs().sub_(other := g.abs()).sign_()
    s = torch.sign(h, out=other).mul_(p := g.sign())
    p = torch.mul(s, f, out=p)
    if counts is not None:
        counts += _count(s, f, p)
    u = blend(mix.rest, g, h)
    for number, (row, members) in enumerate(mix.exceptions, 1):
        ruled, bits = blend(row, g, h), _BITS[g.dtype]
        outside = _outside(members, s, f, p).to(bits)  # 0 or -1: no bits, or all
        last = number == len(mix.exceptions)
        u, ruled = u.view(bits), ruled.view(bits)
        x = u.bitwise_xor_(ruled) if last else u.bitwise_xor(ruled)
        x.bitwise_and_(outside)
        u = (ruled.bitwise_xor_(x) if last else ruled.bitwise_xor(x)).view(g.dtype)
    if u.data_ptr() != h.data_ptr():
        h.copy_(u)


def _count(s: Tensor, f: Tensor, p: Tensor) -> Tensor:
    """As `samscope.optim.ratio.count`. Sums of ones are exact up to 2^24, also in float32."""
    moments = (p.sum(), p.dot(f), p.dot(s), p.dot(p), s.dot(s))
    sf, sff, ssf, ssff, ss = (int(moment.item()) for moment in moments)
    in_regions = [(ssff + a * sff + b * ssf + a * b * sf) // 4 for a, b in _SIGNS]
    return torch.tensor((*in_regions, ss - ssff, s.numel() - ss, 0))


def _outside(members: Collection[int], s: Tensor, f: Tensor, p: Tensor) -> Tensor:
    """0 in the regions of these codes, -1 elsewhere: p (a p + b f + c s + d) - 1, p = s f."""
    signs = [_SIGNS[code] for code in members]
    terms = (
        (sum(a for a, _ in signs) / 4, f),
        (sum(b for _, b in signs) / 4, s),
        (len(signs) / 4, p),
    )
    (first, vector), *others = [(k, vector) for k, vector in terms if k]
    total = vector * first
    for k, vector in others:
        total.add_(vector, alpha=k)
    constant = sum(a * b for a, b in signs) / 4
    if constant:
        total.add_(constant)
    return total.mul_(p).sub_(1)
