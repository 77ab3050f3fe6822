"""Lists of tensors and bits: the numbers of the plain definitions, in fewer calls."""

import itertools

import pytest
import torch

from samscope.optim import Mix, combine, count, named_mix, regions
from samscope.optim.bits import applies, mix_by_bits
from samscope.optim.lists import mix_in_place, mix_lists, norm_of
from samscope.optim.mixes import REGIONS

torch.set_num_threads(1)

SETS = ["".join(s) for n in (1, 2, 3, 4) for s in itertools.combinations("1234", n)]
MIXES = [
    *("sam", "direction", "magnitude"),
    *(form.format(s) for form in ("ckpt{}", "ckpt{}-magnitude") for s in SETS),
]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 1e-45, -1e-45, 1e-30, 3e38, -3e38]
OWN = Mix("own", [(0.5, 0, 0, 0), (0, 0, 2.0, 0), (0.5, 0, 0, 0), (0, 0, 0, -1.0)], (0, 0, 0, 0))


def counts_of():
    return torch.zeros(len(REGIONS), dtype=torch.int64)


INTEGERS = {torch.float64: torch.int64, torch.float32: torch.int32}
HALVES = {torch.float16: torch.int16, torch.bfloat16: torch.int16}


@pytest.mark.parametrize("dtype", [*INTEGERS, *HALVES])
@pytest.mark.parametrize("mix", [*map(named_mix, MIXES), OWN], ids=lambda mix: mix.name)
def test_bits_give_the_mix_and_the_counts(mix, dtype):
    special = torch.tensor(SPECIAL, dtype=dtype)
    special = special[special.isfinite()]
    generator = torch.Generator().manual_seed(0)
    g, h = (torch.randn(70_000, generator=generator).to(dtype) for _ in range(2))
    g = torch.cat([special.repeat(len(special)), g])
    h = torch.cat([special.repeat_interleave(len(special)), h])
    codes, before = regions(g, h), g.clone()
    expected, counts = combine(g, h, mix, codes), counts_of()
    assert applies(g, h)
    mix_by_bits(g, h, mix, counts)
    as_integers = (INTEGERS | HALVES)[dtype]
    assert torch.equal(h.view(as_integers), expected.view(as_integers))  # zeros with their signs
    assert torch.equal(g, before)
    assert torch.equal(counts, count(codes))
    assert counts[:6].min() > 0


def test_what_has_no_bits_to_be_read_is_left_to_arithmetic():
    x = torch.randn(4, 3)
    unlike = [x.t(), x.double(), x.int(), torch.imag(torch.complex(x, x).conj()), x.to("meta")]
    for y in unlike:
        assert not applies(y, y) or y.dtype == torch.float64
        assert not applies(x, y)
        assert not applies(y, x)


@pytest.mark.parametrize("finite", [False, True])
@pytest.mark.parametrize("name", ["sam", "ckpt12", "magnitude"])
def test_small_tensors_are_mixed_together(name, finite):
    generator = torch.Generator().manual_seed(0)
    shapes = [(5,), (3, 4), (), (70_000,), (2, 3, 4, 5), (30_000,), (6_000,), (0,), (128, 300)]
    kinds = [torch.float32] * 5 + [torch.float64, torch.float32, torch.float32, torch.bfloat16]
    pairs = [
        [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]
        for shape, dtype in zip(shapes, kinds, strict=True)
    ]
    pairs[4] = [t.contiguous(memory_format=torch.channels_last) for t in pairs[4]]
    if not finite:
        pairs[1][1][0, 0], pairs[3][0][5] = torch.nan, torch.inf
    mix, counts, number = named_mix(name), counts_of(), counts_of()
    expected = []
    for g, h in pairs:
        codes = regions(g, h)
        expected.append(combine(g, h, mix, codes).clone())
        number += count(codes)
    gs, hs = ([pair[n].clone() for pair in pairs] for n in (0, 1))
    mix_lists(gs, hs, mix, 0.0, counts, finite)
    for h, wanted in zip(hs, expected, strict=True):
        torch.testing.assert_close(h, wanted, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(counts, number)
    assert counts.sum() == sum(torch.Size(shape).numel() for shape in shapes)


def test_an_epsilon_is_heeded_by_finite_vectors():
    g, h, counts = torch.zeros(3), torch.tensor([1.0, -1.0, 0.0]), counts_of()
    mix_in_place(g, h, named_mix("ckpt1"), 1e-8, counts, finite=True)
    assert counts.tolist() == [1, 0, 1, 0, 0, 1, 0]


def test_without_counts_or_regions_nothing_is_sorted(monkeypatch):
    def called(*_):
        raise AssertionError("regions are computed")

    for name in ("kinds", "mix_by_bits"):
        monkeypatch.setattr(f"samscope.optim.lists.{name}", called)
    g, h = torch.ones(5), -torch.arange(5.0)
    mix_lists([g], [h], named_mix("sam"))
    assert torch.equal(h, -torch.arange(5.0))
    mix_lists([g], [h], named_mix("direction"))
    assert h.tolist() == [0.0, -1.0, -1.0, -1.0, -1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_norm_of_lists(dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (200_000,), (), (0,), (131_072,)]
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    for some in (tensors, tensors[1:2], tensors[:1]):
        exact = torch.cat([t.flatten() for t in some]).double().norm()
        found = norm_of(some)
        assert found.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert found.item() == pytest.approx(exact.item(), rel=1e-5)
    many = torch.full((4_000_000,), 300.0, dtype=dtype)  # whose squares float16 cannot hold
    assert norm_of([many]).item() == pytest.approx(600_000.0, rel=1e-4)


def test_the_norm_of_several_dtypes():
    mixed = [torch.full((3,), 2.0, dtype=torch.bfloat16), torch.tensor([2.0])]
    assert norm_of(mixed).item() == norm_of(mixed[::-1]).item() == 4.0
    assert norm_of(mixed).dtype == torch.float32
    assert norm_of([*mixed, torch.zeros(1).double()]).dtype == torch.float64


def test_channels_last_are_blocks_as_any(monkeypatch):
    shape = (256, 512, 3, 3)
    ones = torch.full(shape, 0.1).contiguous(memory_format=torch.channels_last)
    assert norm_of([ones]).item() == pytest.approx(0.1 * ones.numel() ** 0.5, rel=2e-5)
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(shape, generator=generator) for _ in range(2)]
    expected, counts = combine(*pair, named_mix("ckpt13"), regions(*pair)), counts_of()
    g, h = (t.contiguous(memory_format=torch.channels_last) for t in pair)
    number = count(regions(*pair))
    monkeypatch.setattr("samscope.optim.lists.kinds", None)  # the slow way, which is not taken
    mix_in_place(g, h, named_mix("ckpt13"), counts=counts, finite=True)
    assert torch.equal(h, expected)
    assert torch.equal(counts, number)
