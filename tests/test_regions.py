import doctest
import importlib
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from samscope.optim import REGIONS, Mix, combine, count, named_mix, regions
from samscope.optim.lists import mix_in_place

SETS = ["".join(s) for n in (1, 2, 3, 4) for s in itertools.combinations("1234", n)]


def by_definition(g, h):
    """The region of one pair of numbers, by exact rational arithmetic."""
    if not (math.isfinite(g) and math.isfinite(h)):
        return 6
    if g == 0 or h == 0:
        return 5
    r = Fraction(h) / Fraction(g)
    return next(
        k for k, member in enumerate((r > 1, 0 < r < 1, r < -1, -1 < r < 0, True)) if member
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_regions_partition_any_pair_of_numbers(dtype):
    info = torch.finfo(dtype)
    one = torch.tensor(1.0, dtype=dtype)
    sizes = [0.0, info.smallest_normal, info.smallest_normal * info.eps, 1e-30, 0.3, 1.0, info.max]
    sizes += [torch.nextafter(one, one + k).item() for k in (-1, 1)] + [math.inf]
    values = [sign * size for size in sizes for sign in (1, -1)] + [math.nan]
    pairs = torch.tensor(list(itertools.product(values, values)), dtype=dtype)
    codes = regions(*pairs.T)
    assert codes.tolist() == [by_definition(g, h) for g, h in pairs.tolist()]
    assert set(codes.tolist()) == set(range(len(REGIONS)))
    assert count(codes).tolist() == [codes.tolist().count(k) for k in range(len(REGIONS))]


def test_epsilon_is_the_signed_one_of_the_original_ratio():
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(4000, generator=generator) * torch.logspace(-10, 0, 4000)
    h = torch.randn(4000, generator=generator) * g
    g[:4] = torch.tensor([0.0, 0.0, -1e-8, -1e-8])
    h[:4] = torch.tensor([1e-9, -1.0, 1e-9, -1e-9])
    with np.errstate(divide="ignore"):
        # divided in float64, where the quotient of two different float32 never rounds to 1
        r = h.double().numpy() / (g + 1e-8).double().numpy()
    codes = regions(g, h, epsilon=1e-8).numpy()
    for k, member in enumerate((r > 1, (r > 0) & (r < 1), r < -1, (r < 0) & (r > -1))):
        assert np.array_equal(codes == k, member)
    assert not torch.equal(regions(g, h), regions(g, h, epsilon=1e-8))


def as_published(name, g, h):
    """The update of a variant as the protocol states it: masks on the ratio, in numpy."""
    r = h / (g + 1e-8)
    masks = {"1": r > 1, "2": (r > 0) & (r < 1), "3": r < -1, "4": (r < 0) & (r > -1)}
    inside = np.any([masks[digit] for digit in name if digit.isdigit()] or [r != r], axis=0)
    direction = np.sign(h) * np.abs(g)
    if name.startswith("ckpt"):
        return np.where(inside, h, direction if name.endswith("-magnitude") else g)
    if name.startswith("sameckpt"):
        return np.where(inside, 0.3 * h, h)
    return {"sam": h, "sgd": g, "direction": direction, "magnitude": np.sign(g) * np.abs(h)}[name]


@pytest.mark.parametrize("form", ["ckpt{}", "ckpt{}-magnitude", "sameckpt{}", "fixed"])
def test_combine_is_the_published_update(form):
    generator = torch.Generator().manual_seed(1)
    g, h = torch.randn(2, 500, dtype=torch.float64, generator=generator)
    fixed = ["sgd", "sam", "direction", "magnitude"]
    for name in fixed if form == "fixed" else [form.format(s) for s in SETS]:
        mix = named_mix(name, 0.3 if name.startswith("same") else None)
        u = combine(g, h, mix, regions(g, h))
        assert np.array_equal(u.numpy(), as_published(name, g.numpy(), h.numpy())), name


def test_all_coefficients_of_a_custom_table_count():
    rows = [(2, 0, 0, 0), (0, 3, -1, 0), (0, 0, 0, 0), (1, 1, 1, 1)]
    g, h = torch.tensor([1.0, 2.0, 1.0, -4.0, 0.0]), torch.tensor([2.0, 1.0, -3.0, 1.0, 5.0])
    u = combine(g, h, Mix("mine", rows, rest=(0.5, 0, 0, 0)), regions(g, h))
    assert u.tolist() == [4.0, 3 * 2 - 2, 0.0, 1 - 4 + 4 - 1, 2.5]


def bits(tensor):
    return tensor.view(torch.int32).tolist()


def test_sam_and_sgd_are_h_and_g_bit_for_bit():
    special = torch.tensor([0.0, -0.0, 1.0, -2.0, 1e-45, math.inf, -math.inf, math.nan])
    g, h = special.repeat(8), special.repeat_interleave(8)
    codes = regions(g, h)
    assert bits(combine(g, h, named_mix("sam"), codes)) == bits(h)
    assert bits(combine(g, h, named_mix("sgd"), codes)) == bits(g)
    # and an infinite neighbour of the other kind spoils no element of a ckpt mix
    in_h = (codes == 0) | (codes == 3)
    assert bits(combine(g, h, named_mix("ckpt14"), codes)) == bits(torch.where(in_h, h, g))


@pytest.mark.parametrize("shape", [(150_001,), (400, 400), (2, 3, 4, 5), ()])
def test_cutting_into_blocks_changes_nothing(shape):
    generator = torch.Generator().manual_seed(2)
    g, h = torch.randn(2, *shape, generator=generator)
    if len(shape) == 4:
        g, h = (t.contiguous(memory_format=torch.channels_last) for t in (g, h))
    mix, codes = named_mix("ckpt12"), regions(g, h)
    expected, counts = combine(g, h, mix, codes), torch.zeros(len(REGIONS), dtype=torch.int64)
    mix_in_place(g, h, mix, 0.0, counts)
    assert torch.equal(h, expected)
    assert torch.equal(counts, count(codes))
    assert counts.sum() == h.numel()


@pytest.mark.parametrize(
    "module",
    [
        *("ascent", "batchnorm", "gap", "lists", "look", "method", "mixes"),
        *("ratio", "sam", "scaling", "schedules", "update"),
    ],
)
def test_the_examples_run(module):
    module = importlib.import_module(f"samscope.optim.{module}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
