"""Regions and mixes from signs alone, for a CPU: half the time of comparisons and `where`.

With s = sign(h) sign(g) and f = sign(|h| - |g|), a region is a pair of signs:

    region     1    2    3    4    tie   zero
    s          1    1   -1   -1    +-1    0
    f          1   -1    1   -1     0    any

so the four sums over sf, sf^2, s^2 f and s^2 f^2 tell how many elements each has, and whether an
element is in a set of regions is a polynomial of s and f. A CPU multiplies and adds floats several
times as fast as it compares and selects.
"""

from collections.abc import Collection
from functools import reduce

import torch
from torch import Tensor

from samscope.optim.mixes import REGIONS, G, H, Mix
from samscope.optim.ratio import BLOCK, blend

_SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""s and f of the regions 1 to 4."""


def applies(g: Tensor, h: Tensor) -> bool:
    """Whether `mix_by_signs` takes such tensors; sums in 16 bits would not be exact."""
    exact = g.dtype == h.dtype and g.dtype in (torch.float32, torch.float64)
    return exact and g.is_cpu and g.is_contiguous() and h.is_contiguous()


def mix_by_signs(g: Tensor, h: Tensor, mix: Mix, counts: Tensor | None) -> None:
    """`samscope.optim.lists.mix_in_place` of finite tensors; a zero may lose its sign."""
    found = [0] * len(REGIONS)
    scratch = g.new_empty(4, min(BLOCK, g.numel()))
    for some_g, some_h in zip(g.view(-1).split(BLOCK), h.view(-1).split(BLOCK), strict=True):
        s, f, p, t = scratch[:, : some_g.numel()]
        torch.abs(some_h, out=f).sub_(torch.abs(some_g, out=s)).sign_()
        torch.sign(some_h, out=s).mul_(torch.sign(some_g, out=p))
        torch.mul(s, f, out=p)
        if counts is not None:
            found = [a + b for a, b in zip(found, _count(s, f, p), strict=True)]
        if mix.exceptions:
            _mix(some_g, some_h, mix, (s, f, p, t))
        elif mix.rest != H:
            some_h.copy_(blend(mix.rest, some_g, some_h))
    if counts is not None:
        counts += torch.tensor(found)


def _count(s: Tensor, f: Tensor, p: Tensor) -> tuple[int, ...]:
    """In the order of REGIONS. Sums of ones are exact up to 2^24, also in float32."""
    moments = (s.dot(f), p.dot(f), p.dot(s), p.dot(p), s.dot(s))
    sf, sff, ssf, ssff, ss = (int(moment.item()) for moment in moments)
    in_regions = [(ssff + a * sff + b * ssf + a * b * sf) // 4 for a, b in _SIGNS]
    return (*in_regions, ss - ssff, s.numel() - ss, 0)


def _mix(g: Tensor, h: Tensor, mix: Mix, signs: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    """Sums of which all terms but one are 0."""
    if mix.rest == G and len(mix.exceptions) == 1 and mix.exceptions[0][0] == H:  # in place
        inside = _inside(mix.exceptions[0][1], *signs)
        h.mul_(inside).add_(g.addcmul_(g, inside, value=-1))
        return
    # Masked before they are blended: a blend that overflows elsewhere must not meet the 0.
    outside, terms = torch.ones_like(g), []
    for row, members in mix.exceptions:
        inside = _inside(members, *signs)
        terms.append(blend(row, g * inside, h * inside))
        outside.sub_(inside)
    terms.append(blend(mix.rest, g * outside, h * outside))
    h.copy_(reduce(torch.add, terms))


def _inside(members: Collection[int], s: Tensor, f: Tensor, p: Tensor, into: Tensor) -> Tensor:
    """1 in the regions of these codes, 0 elsewhere: p (a p + b f + c s + d), p = s f."""
    signs = [_SIGNS[code] for code in members]
    constant = sum(a * b for a, b in signs) / 4
    torch.mul(p, len(signs) / 4, out=into)
    for k, vector in ((sum(a for a, _ in signs) / 4, f), (sum(b for _, b in signs) / 4, s)):
        if k:
            into.add_(vector, alpha=k)
    if constant:
        into.add_(constant)
    return into.mul_(p)
