"""How the ratio r = h/g of two gradients is spread over parameters: a tally.

Two functions of the same meaning make one. `tally`, for a CPU, looks the bin of a quotient up by
its bits and counts with bincount. `samscope.observe.reductions` is for compiled code and GPUs. They
differ where r is a rounding away from the edges 1.2 and 1.5, or outside the range of float32.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from samscope.optim.bins import BINS, EDGES, KINDS, PARTS, REST, region_of
from samscope.optim.mixes import REGIONS
from samscope.optim.ratio import regions

BLOCK = 2**16
"""Elements at a time: temporaries that stay in a core's cache."""

COUNTED = (*BINS, *REST)
TIE, ZERO, NONFINITE = (len(BINS) + i for i in range(len(REST)))
PART = [region_of(name) - 1 for name in BINS] + [PARTS.index("none")] * len(REST)
_FLAG = [1 << part if part < 4 else 0 for part in PART]
WIDTH = 32  # of the codes of a kind, a power of two above len(COUNTED)
_LANES = 4
ONE = EDGES.index(1.0) + 1
_DROPPED = 13  # trailing bits of a float32 that no edge has


def layer_kinds(model: nn.Module) -> Tensor:
    """The place in KINDS of every parameter, uint8, in the order of ``model.parameters()``.

    A module whose attribute ``kind`` is one of KINDS says so of its matrices and of those within.
    """
    kind_of = dict(_kinds(model, ""))
    places = [KINDS.index(kind_of[p]) for p in model.parameters()]
    sizes = [p.numel() for p in model.parameters()]
    return torch.tensor(places, dtype=torch.uint8).repeat_interleave(torch.tensor(sizes))


def _kinds(module: nn.Module, within: str) -> Iterator[tuple[nn.Parameter, str]]:
    """The kind of each parameter of a module, in another that says what its matrices are, or ""."""
    known = next((kind for of, kind in _KNOWN.items() if isinstance(module, of)), "linear")
    said = getattr(module, "kind", "attention" if known == "attention" else None)
    within = said if said in KINDS else within
    for parameter in module.parameters(recurse=False):
        if known in ("batchnorm", "layernorm"):
            yield parameter, known
        else:
            yield parameter, within or known if parameter.ndim > 1 else "bias"
    for child in module.children():
        yield from _kinds(child, within)


_KNOWN = {
    _BatchNorm: "batchnorm",
    nn.LayerNorm: "layernorm",
    _ConvNd: "convolution",
    nn.Embedding: "embedding",
    nn.MultiheadAttention: "attention",
}


def tally(g: Tensor, h: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Count the elements of each bin and sum their squares and products, by kind, in some steps.

    Args:
        g: gradients at w, float32 [steps, n], on a CPU.
        h: gradients at w + e, likewise.
        places: see `places`, of as many steps.

    Returns:
        float64 [4, steps, KINDS, codes], see `columns`, and the region of every element as a bit,
        uint8 [steps, n]: 1, 2, 4, 8 for the regions 1 to 4, 0 for none.

    >>> g, h = torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[1.1, -3.0, 2.0]])
    >>> table, flags = tally(g, h, places(torch.zeros(3, dtype=torch.uint8), 1))
    >>> [name for name, count in zip(COUNTED, table[0, 0, 0]) if count]
    ['1<r<1.2', '-4<r<-2', 'tie']
    >>> flags.tolist()
    [[1, 4, 0]]
    """
    code_of, flag_of = _constants()[:2]
    flags = torch.empty(g.shape, dtype=torch.uint8)
    table = torch.zeros(4, len(g) * _LANES * len(KINDS) * WIDTH, dtype=torch.float64)
    whole = (g.flatten(), h.flatten(), places.flatten(), flags.view(-1))
    parts: Iterable[tuple[Tensor, ...]] = [whole]
    if g.numel() > BLOCK:
        parts = zip(*(v.split(BLOCK) for v in whole), strict=True)
    for g_part, h_part, place, out in parts:
        infinite = None
        if not (g_part.sum() + h_part.sum()).isfinite():
            infinite = (g_part - g_part + h_part - h_part).isnan()
            g_part, h_part = (v.masked_fill(infinite, 0.0) for v in (g_part, h_part))
        bits = (h_part / g_part).view(torch.int32)
        # Rounded down and up: the sum is even for numbers without the dropped bits, as 1 is.
        key = (bits >> _DROPPED).add_((bits + (2**_DROPPED - 1)) >> _DROPPED).add_(_OFFSET)
        code = code_of.index_select(0, key).long()
        if infinite is not None:
            code[infinite] = NONFINITE
        torch.index_select(flag_of, 0, code, out=out)
        code.add_(place)
        table[0] += code.bincount(minlength=table.shape[1])
        product = torch.empty_like(g_part, dtype=torch.float64)
        factors = ((g_part, g_part), (h_part, h_part), (g_part, h_part))
        for row, pair in zip(table[1:], factors, strict=True):
            row.scatter_add_(0, code, torch.mul(*pair, out=product))
    return table.view(4, len(g), _LANES, len(KINDS), WIDTH).sum(2), flags


def places(kinds: Tensor, steps: int) -> Tensor:
    """Where `tally` adds an element, but for its code: int64 [steps, n].

    Neighbours go to different lanes: adding to a place just written waits for the write.
    """
    step, lane = torch.arange(steps)[:, None], torch.arange(len(kinds)) % _LANES
    return ((step * _LANES + lane) * len(KINDS) + kinds).mul_(WIDTH)


_OFFSET = 2 ** (32 - _DROPPED)


@cache
def _constants() -> tuple[Tensor, Tensor, Tensor]:
    """The code of a ratio by its leading bits, the flag of a code, the part of a code."""
    codes = torch.full((2 * _OFFSET,), ZERO, dtype=torch.uint8)  # 0/0 and x/0 among them
    numbers = torch.tensor([0.0, *EDGES, torch.inf]).view(torch.int32)
    ends = (2 * (numbers >> _DROPPED)).tolist()
    for sign, start in enumerate((_OFFSET, 0)):
        for i, (low, high) in enumerate(pairwise(ends)):
            codes[start + low : start + high] = sign * len(BINS) // 2 + i
        codes[start + ends[0]] = ZERO
        codes[start + ends[ONE]] = TIE
    parts = torch.zeros(WIDTH, len(PARTS), dtype=torch.float64)
    parts[range(len(PART)), PART] = 1
    return codes, torch.tensor(_FLAG, dtype=torch.uint8), parts


def empty_table(device: torch.device) -> Tensor:
    """A tally of nothing."""
    return torch.zeros(4, len(KINDS), WIDTH, dtype=torch.float64, device=device)


def memberships() -> Tensor:
    """Which codes are in which of the four regions: float64 [codes, 4] of zeros and ones."""
    return _constants()[2][:, :4].contiguous()


def region_counts(table: Tensor, memberships: Tensor) -> Tensor:
    """How many elements of a tally are in each region: float64 [4], or [steps, 4]."""
    return table[0].sum(-2) @ memberships


def columns(table: Tensor) -> Tensor:
    """What a tally, or a sum of them, says by the names of COLUMNS: float64 [KINDS, COLUMNS].

    A table holds, by kind and code, how many elements there are and their sums of g^2, h^2 and
    g h. Codes are the bins and the rest in order; a region's sums may stand at any of its codes.
    """
    counts, *sums = table.cpu()
    return torch.cat([counts[:, : len(COUNTED)], *(s @ _constants()[2] for s in sums)], 1)


def magnitude_ranks(g: Tensor, h: Tensor) -> dict[str, float]:
    """How the members of region 1 rank among all elements by the size of g, and of h.

    Project 1 of the geometry-SAM study: with n1 members among n elements, the threshold is the
    entry n1 (from 0) of the sizes in decreasing order, and the percentage that of the members above
    it. Were size and membership independent, that would be the share of the members.

    Returns:
        ``members`` in percent of all elements; ``threshold_g``, ``above_g`` in percent of the
        members; the same for h.

    >>> g, h = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([8.0, 1.0, 1.0, 3.0])
    >>> magnitude_ranks(g, h)["members"], magnitude_ranks(g, h)["above_g"]
    (50.0, 50.0)
    """
    inside = regions(g, h) == REGIONS.index("region1")
    count = int(inside.sum())
    ranks = {"members": 100.0 * count / len(g)}
    for name, sizes in (("g", g.abs()), ("h", h.abs())):
        place = min(count, len(sizes) - 1)
        threshold = sizes.topk(place + 1, sorted=False).values.min()
        above = int((inside & (sizes > threshold)).sum())
        ranks |= {
            f"threshold_{name}": threshold.item(),
            f"above_{name}": 100.0 * above / (count or 1),
        }
    return ranks
