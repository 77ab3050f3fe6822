"""The ratio regions of two gradients, and the one equation every variant is made of."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, reduce

import torch
from torch import Tensor

from samscope.optim.mixes import REGIONS, Mix

BLOCK = 2**16
"""Elements of the pieces that large vectors go through in. Temporaries of a piece stay in a core's
cache; whole ones would be fresh mappings, whose page faults cost more than the arithmetic."""

# Codes by kind, see `kinds`.
_CODES = (3, 4, 2, 5, 5, 5, 1, 4, 0, 6)


def regions(g: Tensor, h: Tensor, epsilon: float = 0.0) -> Tensor:
    """The region of every element, from the sign of h g and the order of |h| and |g|.

    Neither a division, which costs more, nor a product, which can underflow and lose its sign.

    Args:
        g: gradient at w, any shape.
        h: gradient at w + e, same shape.
        epsilon: 0, or 1e-8 for the ratio of the original code, h / (g + 1e-8). It is added with its
            sign, so it decides for |g| <= epsilon: there g = 0 with h != 0 is in a region.

    Returns:
        uint8 codes in the shape of g, named by REGIONS: 0 to 3 for the regions 1 to 4,
        4 for ties (|h| = |g| != 0), 5 for zeros (g = 0 or h = 0), 6 where g or h is not finite.

    >>> g = torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0, 0.0, 1.0])
    >>> h = torch.tensor([2.0, 0.5, 3.0, -0.5, -1.0, 7.0, torch.inf])
    >>> regions(g, h).tolist()
    [0, 1, 2, 3, 4, 5, 6]
    """
    index = kinds(g, h, epsilon).long().flatten()
    return _table(torch.uint8, g.device).index_select(0, index).view(g.shape)


def kinds(g: Tensor, h: Tensor, epsilon: float = 0.0) -> Tensor:
    """What `regions` is read from, in the dtype of g: 3 sign(h g) + sign(|h| - |g|) + 4, 0 to 8.

    9 where g or h is not finite. A float for every element is what vectorises; see `regions`.
    """
    sign = g.sign()
    if epsilon:
        g = g + epsilon
        sign = g.sign().add_(g == 0)  # h / +0 is infinite, with the sign of h
    farther = h.abs().sub_(g.abs())  # exact in sign; inf or NaN exactly where g or h is
    kind = farther.sign().add_(sign.mul_(h.sign()), alpha=3).add_(4)
    finite = farther.sub_(farther)  # x - x is 0 or NaN
    if torch.compiler.is_compiling():  # which turns nan_to_num into a loop over single elements
        return torch.where(finite == 0, kind, 9.0)
    return kind.add_(finite).nan_to_num_(nan=9.0)


@cache
def _table(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(_CODES, dtype=dtype, device=device)


def count(codes: Tensor) -> Tensor:
    """How many elements each code of REGIONS has: int64, shape [7], summing to codes.numel().

    >>> count(torch.tensor([0, 0, 5], dtype=torch.uint8)).tolist()
    [2, 0, 0, 0, 0, 1, 0]
    """
    if codes.is_cpu:
        return codes.flatten().bincount(minlength=len(REGIONS))
    # bincount waits for a GPU to learn the largest code
    return torch.stack([(codes == code).sum() for code in range(len(REGIONS))])


def count_kinds(kind: Tensor) -> Tensor:
    """`count` of the regions that `kinds` tells apart."""
    if kind.is_cpu and not torch.compiler.is_compiling():
        counts = kind.flatten().int().bincount(minlength=len(_CODES))
        return counts.new_zeros(len(REGIONS)).index_add_(
            0, _table(torch.int64, kind.device), counts
        )
    # One loop over memory when compiled for a CPU: 32 bits, or every mask is widened twice; few
    # sums, for inductor fuses 16 operations at most. So the zeros are what the others leave.
    width = torch.int32 if kind.numel() < 2**31 else torch.int64
    members = [
        reduce(torch.logical_or, [kind == value for value, c in enumerate(_CODES) if c == code])
        for code, name in enumerate(REGIONS)
        if name != "zero"
    ]
    counts = torch.stack([inside.sum(dtype=width) for inside in members]).long()
    zeros = kind.numel() - counts.sum(0, keepdim=True)
    before = REGIONS.index("zero")
    return torch.cat([counts[:before], zeros, counts[before:]])


def combine(g: Tensor, h: Tensor, mix: Mix | Tensor, codes: Tensor) -> Tensor:
    """Mix the gradients: u = a_k h + b_k g + c_k sign(h)|g| + d_k sign(g)|h| in region k.

    A term whose coefficient is 0 is left out, so that no 0 * inf arises and u is h bit for bit
    for `sam` (the tensor h itself) and g for `sgd`. The sign of NaN is 0, as in torch.

    Args:
        g: gradient at w.
        h: gradient at w + e.
        mix: the coefficients (a, b, c, d) of every region; as a tensor, see `Mix.table`, for
            compiled code that is to serve every mix.
        codes: `regions(g, h)`.

    >>> from samscope.optim.mixes import named_mix
    >>> g, h = torch.tensor([1.0, 1.0]), torch.tensor([2.0, -0.5])
    >>> combine(g, h, named_mix("ckpt1"), regions(g, h))
    tensor([2., 1.])
    """
    return _mixed(g, h, mix, lambda code: codes == code)


def combine_kinds(g: Tensor, h: Tensor, mix: Mix | Tensor, kind: Tensor) -> Tensor:
    """`combine` by what `kinds` gives."""
    return _mixed(g, h, mix, lambda code: kind == _CODES.index(code))


def _mixed(g: Tensor, h: Tensor, mix: Mix | Tensor, inside: Callable[[int], Tensor]) -> Tensor:
    """`combine`, where ``inside`` gives the mask of a region by its code."""
    if isinstance(mix, Tensor):
        *rows, rest = (row.unbind() for row in mix.unbind())
        coefficients = rest
        for code, row in enumerate(rows):
            pairs = zip(row, coefficients, strict=True)
            coefficients = [torch.where(inside(code), k, otherwise) for k, otherwise in pairs]
        return blend(coefficients, g, h)
    u = blend(mix.rest, g, h)
    for row, members in mix.exceptions:
        u = torch.where(reduce(torch.logical_or, map(inside, members)), blend(row, g, h), u)
    return u


def blend(row: Sequence[float] | Sequence[Tensor], g: Tensor, h: Tensor) -> Tensor:
    """The sum a h + b g + c sign(h)|g| + d sign(g)|h|, of numbers or tensors that broadcast."""
    basis = (lambda: h, lambda: g, lambda: h.sign() * g.abs(), lambda: g.sign() * h.abs())
    if isinstance(row[0], Tensor):
        terms = [torch.where(k == 0, 0.0, k * v()) for k, v in zip(row, basis, strict=True)]
    else:
        terms = [v() if k == 1 else k * v() for k, v in zip(row, basis, strict=True) if k]
    return reduce(torch.add, terms) if terms else torch.zeros_like(g)


def blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of one shape, cut alike into flat pieces that fit a CPU's cache, or left whole."""
    if tensors[0].numel() <= BLOCK or not all(t.is_cpu and t.is_contiguous() for t in tensors):
        return [tensors]
    return zip(*(t.view(-1).split(BLOCK) for t in tensors), strict=True)
