"""SAM over a list of tensors, as `samscope.optim.SAM` has them, in few calls of torch.

`samscope.optim.ascent` and `samscope.optim.ratio` say what is computed, for one vector. Here are
the same numbers for the parameters of any model. A call costs as much as the arithmetic of ten
thousand elements, so torch's kernels for lists are called, and small tensors are mixed together.
"""

from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from samscope.optim.ascent import ascend, matrices
from samscope.optim.bits import applies, mix_by_bits
from samscope.optim.method import Ascent
from samscope.optim.mixes import H, Mix
from samscope.optim.ratio import BLOCK, blocks, combine_kinds, count_kinds, kinds
from samscope.optim.scaling import Scaling

_PACK = 2**15
"""Elements of the tensors that are mixed together, at most half of a block of `blocks`."""

_SUMMED = {torch.float32}, {torch.float64}
"""Dtypes of lists whose norm is of that dtype."""


def norm_of(tensors: list[Tensor]) -> Tensor:
    """`samscope.optim.ascent.global_norm` of one tensor at least; at least in float32.

    >>> norm_of([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])])
    tensor(5.)
    """
    dtypes = {t.dtype for t in tensors}
    wide = reduce(torch.promote_types, dtypes, torch.float32) if dtypes not in _SUMMED else None
    pieces, norms = [], []
    for t in tensors:
        if t.numel() > BLOCK and t.is_cpu and (line := _in_line(t)).is_contiguous():
            flat, whole = line.view(-1), t.numel() // BLOCK * BLOCK
            rows = flat[:whole].view(-1, BLOCK)
            norms.append(torch.linalg.vector_norm(rows, dim=1, dtype=wide))
            t = flat[whole:]
        pieces.append(t)
    scalars = torch._foreach_norm(pieces, 2, wide)
    if not norms and len(scalars) == 1:
        return scalars[0]
    return torch.linalg.vector_norm(torch.cat([*norms, torch.stack(scalars)]))


def _in_line(t: Tensor) -> Tensor:
    """The tensor with its axes in the order of memory, where that is that of channels last."""
    last = t.ndim == 4 and t.is_contiguous(memory_format=torch.channels_last)
    return t.permute(0, 2, 3, 1) if last else t


def inner(xs: list[Tensor], ys: list[Tensor]) -> float:
    """The product of two vectors that are given in parts, in float64.

    >>> inner([torch.ones(2), torch.ones(1)], [torch.ones(2), torch.tensor([3.0])])
    5.0
    """
    parts = [(x * y).sum(dtype=torch.float64) for x, y in zip(xs, ys, strict=True)]
    return torch.stack(parts).sum().item()


def steepest(
    ws: list[Tensor], gs: list[Tensor], scaling: Scaling | None
) -> tuple[list[Tensor], Tensor]:
    """The way up of adaptive SAM or, without a scaling, of SAM: T^2 g of each w, and ||T g||_2."""
    if scaling is None:
        return gs, norm_of(gs)
    scales = [scaling(w) for w in ws]
    along = list(torch._foreach_mul(gs, scales))
    reach = norm_of(along)
    torch._foreach_mul_(along, scales)
    return along, reach


def climb(groups: list[list[Tensor]], along: list[Tensor], steps: list[Tensor]) -> None:
    """Each w of a group to w + step along, in place: `samscope.optim.ascent.climb`, to the bit.

    Args:
        groups: of ws.
        along: for the ws of all groups, one after another.
        steps: a scalar for each group.
    """
    ws = [w for group in groups for w in group]
    if ws[0].is_cpu:
        each = [step for step, group in zip(steps, groups, strict=True) for _ in group]
        torch._foreach_addcmul_(ws, along, each)
        return
    first = 0
    for group, step in zip(groups, steps, strict=True):
        last = first + len(group)
        if group:  # a list of scalars that are broadcast would take a kernel for every tensor
            torch._foreach_add_(group, torch._foreach_mul(along[first:last], step))
        first = last


def ascend_flat(
    ws: list[Tensor],
    gs: list[Tensor],
    rho: float,
    ascent: Ascent,
    gradients: Callable[[], list[Tensor]],
) -> None:
    """Each w to w + e, by `samscope.optim.ascent.ascend` on one vector of them all.

    Args:
        ws: moved; of one dtype, on one device.
        gs: gradients at ws.
        rho: radius.
        ascent: which ascent.
        gradients: those where the ws are when it is called, for ascents of several steps.
    """
    w, g = _flatten_dense_tensors(ws), _flatten_dense_tensors(gs)

    def gradient_of() -> Tensor:
        _spread(w, ws)
        return _flatten_dense_tensors(gradients())

    two = matrices(ws) if ascent.adaptive else None
    noise = torch.randn_like(w) if ascent.direction == "random" else None
    ascend(w, torch.empty_like(w), g, rho, ascent, gradient_of, two, noise)
    _spread(w, ws)


def mix_lists(
    gs: list[Tensor],
    hs: list[Tensor],
    mix: Mix,
    epsilon: float = 0.0,
    counts: Tensor | None = None,
    finite: bool = False,
) -> None:
    """Overwrite each h with the mix of g and h.

    Args:
        gs: gradients at w.
        hs: gradients at w + e.
        mix: of both.
        epsilon: see `samscope.optim.ratio.regions`.
        counts: to which the elements in each region are added, int64 [7].
        finite: whether all are known to be; faster on a CPU.
    """
    keeps = mix.rest == H and not mix.exceptions
    if keeps and counts is None:
        return
    for some_g, some_h in _packs(gs, hs):
        if len(some_g) == 1:
            mix_in_place(some_g[0], some_h[0], mix, epsilon, counts, finite)
            continue
        h = _flatten_dense_tensors(some_h)
        mix_in_place(_flatten_dense_tensors(some_g), h, mix, epsilon, counts, finite)
        if not keeps:
            _spread(h, some_h)


def mix_in_place(
    g: Tensor,
    h: Tensor,
    mix: Mix,
    epsilon: float = 0.0,
    counts: Tensor | None = None,
    finite: bool = False,
) -> None:
    """`mix_lists` of one g and one h."""
    if g.stride() == h.stride():
        g, h = _in_line(g), _in_line(h)
    needs_kinds = mix.exceptions or counts is not None
    if finite and needs_kinds and not epsilon and applies(g, h):
        mix_by_bits(g, h, mix, counts)
        return
    for g_block, h_block in blocks(g, h):
        kind = kinds(g_block, h_block, epsilon) if needs_kinds else h_block
        u = combine_kinds(g_block, h_block, mix, kind)
        if u is not h_block:
            h_block.copy_(u)
        if counts is not None:
            counts += count_kinds(kind)


def _packs(gs: list[Tensor], hs: list[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Pairs of one dtype together, as long as they are small."""
    open_packs: dict[torch.dtype, tuple[list[Tensor], list[Tensor], int]] = {}
    for g, h in zip(gs, hs, strict=True):
        size = h.numel()
        if size > _PACK or g.dtype != h.dtype:
            yield [g], [h]
            continue
        some_g, some_h, total = open_packs.pop(h.dtype, ([], [], 0))
        if total + size > _PACK:
            yield some_g, some_h
            some_g, some_h, total = [], [], 0
        some_g.append(g)
        some_h.append(h)
        open_packs[h.dtype] = (some_g, some_h, total + size)
    for some_g, some_h, _ in open_packs.values():
        yield some_g, some_h


def _spread(vector: Tensor, over: list[Tensor]) -> None:
    """Copy a vector's parts into the tensors it was made of."""
    torch._foreach_copy_(over, _unflatten_dense_tensors(vector, over))
