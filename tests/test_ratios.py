"""What is gathered of g and h: against NumPy, element by element, and no trace on the training."""

import csv
from itertools import pairwise

import numpy as np
import pytest
import torch

from samscope import models
from samscope.observe import ratios, reductions
from samscope.observe.observer import Observer
from samscope.observe.persistence import Persistence, members, pack, reference_steps
from samscope.optim import REGIONS, regions
from samscope.optim.bins import BINS, COLUMNS, EDGES, KINDS, PERSISTENCE, RATIOS, REST, SUMS
from samscope.stages.train import train_cell
from samscope.store import records
from samscope.train.compiled import compile_alike
from tiny_cell import tiny

CPU = torch.device("cpu")
REGION_BITS = torch.tensor([1, 2, 4, 8, 0, 0, 0], dtype=torch.uint8)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def pair():
    """g and h with elements in every bin, at every edge, tied, zero; more than a block of them."""
    random = torch.Generator().manual_seed(0)
    g = torch.randn(40_001, generator=random)
    h = g * torch.randn(40_001, generator=random).mul(3).exp() * (g.roll(1).sign())
    h[:100], h[100:200], g[200:300], h[250:350] = g[:100], -g[100:200], 0.0, 0.0
    edges = torch.tensor([1.0, 2.0, 0.125, 64.0, 1229 / 1024]).repeat(20)
    g[400:500] = torch.arange(1.0, 101.0)
    h[400:500] = g[400:500] * edges
    g[500:600] = torch.rand(100, generator=random) + 1
    h[500:550] = torch.nextafter(g[500:550], torch.tensor(9.0))
    h[550:600] = torch.nextafter(g[550:600], torch.tensor(0.0))
    return g, h


@pytest.fixture
def kinds():
    return torch.arange(40_001).mul(7).remainder(9).clamp(max=7).to(torch.uint8)


def by_numpy(g, h, kinds):
    """The table's columns from their definition, in float64."""
    g, h, kinds = (v.double().numpy() for v in (g, h, kinds))
    with np.errstate(all="ignore"):
        r, finite = h / g, np.isfinite(g) & np.isfinite(h)
    zero, tie = finite & (g * h == 0), finite & (abs(g) == abs(h)) & (g * h != 0)
    limits = [0, *EDGES, np.inf]
    masks = [
        finite & ~zero & ~tie & (np.sign(r) == s) & (abs(r) >= low) & (abs(r) < high)
        for s in (1, -1)
        for low, high in pairwise(limits)
    ]
    rest = [tie, zero, ~finite]
    inside = [(r > 1), (r > 0) & (r < 1), r < -1, (r < 0) & (r > -1)]
    parts = [finite & ~zero & ~tie & part for part in inside]
    parts.append(finite & (zero | tie))
    rows = []
    for kind in range(len(KINDS)):
        of = kinds == kind
        counts = [(of & m).sum() for m in (*masks, *rest)]
        sums = [p[of & m].sum() for p in (g * g, h * h, g * h) for m in parts]
        rows.append([*counts, *sums])
    return np.array(rows)


def assert_same(found, expected):
    """Equal counts; sums within what rounding to float32 does to those of all kinds."""
    found, expected = (np.asarray(table) for table in (found, expected))
    counted = len(BINS) + len(REST)
    assert (found[:, :counted] == expected[:, :counted]).all()
    squares = expected[:, counted : counted + 10].sum(0)
    scale = np.concatenate([squares, np.sqrt(squares[:5] * squares[5:])])
    assert (abs(found - expected)[:, counted:] <= 1e-6 * scale).all()


def by_bits(g, h, kinds):
    """The second of two steps."""
    order = torch.arange(len(g) - 1, -1, -1)
    both = (torch.stack([v[order], v]) for v in (g, h))
    table, flags = ratios.tally(*both, ratios.places(kinds, 2))
    assert torch.equal(flags[0, order], flags[1])
    return table[:, 1], flags[1]


def by_reductions(g, h, kinds, reduce=None):
    """The same of a room; the flags of vacant places must be none."""
    layout = reductions.layout(kinds)
    rooms = [reductions.room(layout, g) for _ in "gh"]
    for room, gradient in zip(rooms, (g, h), strict=True):
        room.view(-1)[: len(g)] = gradient
    for _ in range(2):  # what the first leaves in the room must not matter to the second
        table, flags = reductions.tally(*rooms, layout, reduce)
    assert not flags[len(g) :].any()
    return table, flags[: len(g)]


def compiled(g, h, kinds):
    return by_reductions(g, h, kinds, compile_alike(reductions.reductions))


def traced(g, h, kinds):
    """As `compiled`, whose C++ takes half a minute, but torch's own kernels at the end."""
    whole = torch.compile(reductions.reductions, fullgraph=True, backend="aot_eager")
    return by_reductions(g, h, kinds, whole)


FORMS = [by_bits, by_reductions, traced, pytest.param(compiled, marks=pytest.mark.slow)]


@pytest.mark.parametrize("form", FORMS)
def test_a_tally_is_what_numpy_counts(form, pair, kinds):
    table, flags = form(*pair, kinds)
    found, expected = ratios.columns(table).numpy(), by_numpy(*pair, kinds)
    assert (expected[:, : COLUMNS.index("zero")].sum(0) > 0).all()  # every bin is tried
    assert_same(found, expected)
    assert torch.equal(flags, REGION_BITS[regions(*pair).long()])


@pytest.mark.parametrize("form", [by_bits, by_reductions])
def test_what_is_not_finite_is_counted_apart(form, pair, kinds):
    g, h = pair
    g[1000], h[1001], h[1002] = torch.inf, torch.nan, -torch.inf
    table, flags = form(g, h, kinds)
    found, expected = ratios.columns(table).numpy(), by_numpy(g, h, kinds)
    assert expected[:, COLUMNS.index("nonfinite")].sum() == 3
    assert_same(found, expected)
    assert torch.equal(flags, REGION_BITS[regions(g, h).long()])


@pytest.mark.parametrize("size", [reductions.ROW - 1, reductions.ROW, reductions.ROW + 1])
def test_rows_that_end_anywhere(size, pair, kinds):
    g, h, kinds = (v[:size] for v in (*pair, kinds))
    one, other = (ratios.columns(form(g, h, kinds)[0]) for form in (by_bits, by_reductions))
    assert_same(other, one)


def test_bins_add_up_to_the_forms_of_the_study():
    octaves = [f"{low}<r<{2 * low}" for low in (1, 2, 4, 8, 16, 32)]
    assert set(octaves[1:]) < set(BINS)
    assert [b for b in BINS[3:9]] == [
        "0.5<r<1", "1<r<1.2", "1.2<r<1.5", "1.5<r<2", "2<r<4", "4<r<8",
    ]  # fmt: skip
    assert len(set(COLUMNS)) == len(COLUMNS) == 2 * 13 + 3 + 15


def test_kinds_are_those_of_the_layers():
    model = models.build("resnet8_w8", 10, 1)
    kinds = ratios.layer_kinds(model)
    named = dict(model.named_parameters())
    expected = {kind: 0 for kind in KINDS}
    for name, p in named.items():
        norm = any(part.startswith(("bn", "norm")) for part in name.split(".")) or p.ndim == 1
        kind = "convolution" if p.ndim == 4 else "linear" if p.ndim == 2 else "batchnorm"
        expected["bias" if name == "linear.bias" else kind] += p.numel()
        assert norm or p.ndim > 1
    assert {k: int((kinds == i).sum()) for i, k in enumerate(KINDS)} == expected
    start = sum(p.numel() for p in list(named.values())[:-2])
    assert set(kinds[start:-10].tolist()) == {KINDS.index("linear")}
    assert set(kinds[-10:].tolist()) == {KINDS.index("bias")}


def test_kinds_of_layers_that_convolve_nothing():
    model = torch.nn.TransformerEncoderLayer(6, 2, 10)
    model.tokens, model.graph = torch.nn.Embedding(5, 6), torch.nn.Linear(6, 3)
    model.graph.kind, model.norm1.kind = "graph", "of another sort"
    found = ratios.layer_kinds(model)
    assert {kind: int((found == i).sum()) for i, kind in enumerate(KINDS)} == {
        "convolution": 0,
        "batchnorm": 0,
        "linear": 2 * 6 * 10,
        "bias": 4 * 6 + 10 + 6 + 3,
        "layernorm": 2 * 2 * 6,
        "embedding": 5 * 6,
        "attention": 4 * 6 * 6,
        "graph": 6 * 3,
    }


@pytest.mark.parametrize("size", [8, 9])
def test_packed_members(size):
    flags = torch.tensor([1, 2, 4, 8, 0, 1, 1, 2, 4])[:size].to(torch.uint8)
    expected = [(flags == bit).sum().item() for bit in (1, 2, 4, 8)]
    assert members(pack(flags)).tolist() == expected


def test_magnitude_ranks_are_the_studys(pair):
    g, h = (v[1000:3000] for v in pair)
    found = ratios.magnitude_ranks(g, h)
    inside = (regions(g, h) == 0).numpy()
    assert found["members"] == 100 * inside.mean()
    for name, x in (("g", g), ("h", h)):
        size = abs(x.numpy())
        threshold = np.sort(size)[::-1][inside.sum()]
        assert found[f"threshold_{name}"] == threshold
        assert found[f"above_{name}"] == pytest.approx(100 * (size[inside] > threshold).mean())


# Persistence


def walk(steps, size=501):
    """Regions of elements at every step: some never move, some are drawn anew."""
    random = np.random.default_rng(0)
    codes = random.choice(5, size=(steps, size), p=[0.5, 0.3, 0.1, 0.08, 0.02])
    codes[:, :200] = codes[0, :200]
    return codes


def kept(codes, seed=3, resume_at=None):
    """The rows of a run of 6 epochs that is stopped and gone on with after a step, if any."""
    steps, size = codes.shape
    taken = Persistence(size, size, CPU)
    taken.begin(6, steps // 6)
    flags = torch.tensor([1, 2, 4, 8, 0], dtype=torch.uint8)[torch.from_numpy(codes)]
    for step, row in enumerate(flags, 1):
        counts = torch.stack([(row == bit).sum() for bit in (1, 2, 4, 8)]).double()
        taken.record(pack(row), counts)
        taken.advance()
        if step == resume_at:
            copy = {k: v.clone() for k, v in taken.state().items()}
            taken = Persistence(size, size, CPU)
            taken.begin(6, steps // 6)
            taken.restore(copy, step)
    return taken.rows(seed)


def test_persistence_against_brute_force():
    codes = walk(258)
    found = kept(codes)
    assert {row["reference"] for row in found if "reference" in row} == {43, 86, 129, 172}
    for row in found:
        region, lag = row["region"] - 1, row["lag"]
        if "reference" in row:
            starts = [row["reference"]]
        else:
            tenths = {start: 10 * (start - 1) // 258 + 1 for start in (1, 101, 201)}
            starts = [s for s, part in tenths.items() if part == row["part"]]
        assert row["windows"] == len(starts)
        expected = []
        for start in starts:
            inside = codes[start - 1] == region
            later = codes[start : start + lag] == region
            shares = later.mean(1)
            expected.append(
                [
                    inside.mean(),
                    later[-1][inside].mean(),
                    shares[-1],
                    later.all(0)[inside].mean(),
                    shares.prod(),
                ]
            )
        values = [row[name] for name in PERSISTENCE[-5:]]
        assert values == pytest.approx(100 * np.mean(expected, 0), rel=1e-3)
    lags = [row["lag"] for row in found if row.get("reference") == 43 and row["region"] == 1]
    assert lags == [1, 2, 5, 10, 20, 50, 100, 200, 215]
    rolling = [row["lag"] for row in found if row.get("part") == 1 and row["region"] == 1]
    assert rolling == [1, 2, 5, 10, 20, 50, 100]


@pytest.mark.parametrize("resume_at", [43, 100, 101, 200])
def test_a_resumed_persistence_is_the_same(resume_at):
    assert kept(walk(258), resume_at=resume_at) == kept(walk(258))


def test_references_are_ends_of_epochs():
    assert reference_steps(200, 176) == (176, 20 * 176, 50 * 176, 100 * 176, 150 * 176)
    assert reference_steps(9, 10) == (10, 20, 40, 70)
    assert reference_steps(1, 10) == ()


def observed(steps, compiled):
    """Rows of two epochs of an observer that is given gradients step by step."""
    model = models.build("cnn3", 10, 1)
    observer = Observer(model, CPU, compiled)
    observer.begin(2, steps)
    random = torch.Generator().manual_seed(0)
    found = []
    for step in range(1, 2 * steps + 1):
        observer.g.normal_(generator=random)
        observer.h.copy_(observer.g).mul_(torch.randn(len(observer.g), generator=random) + 1)
        observer.record()
        observer.advance()
        if step % steps == 0:
            found += observer.end_row({"seed": 0, "epoch": step // steps}, steps)
    return found, observer.persistence.rows(0)


def test_steps_taken_late_are_those_taken_at_once():
    late, at_once = observed(9, None), observed(9, lambda function: function)
    for rows, same in zip(late, at_once, strict=True):
        assert len(rows) == len(same) > 0
        for row, other in zip(rows, same, strict=True):
            assert row.keys() == other.keys()
            for name, value in row.items():
                exact = isinstance(value, str)
                assert other[name] == (value if exact else pytest.approx(value, rel=2e-3)), name


# In a run


def table(folder, name):
    return list(csv.DictReader((folder / "seed=0" / name).read_text().splitlines()))


def test_a_run_leaves_its_ratios(data_dir, tmp_path):
    cell = tiny(variant="sam", epochs=3)
    train_cell(cell, [0], tmp_path, data_dir)
    history, found = table(tmp_path, "history.csv"), table(tmp_path, "ratios.csv")
    assert tuple(found[0]) == RATIOS
    for epoch in history:
        rows = [row for row in found if row["epoch"] == epoch["epoch"]]
        assert [(row["batch"], row["kind"]) for row in rows] == [
            *(("all", kind) for kind in KINDS[:4]), ("last", "all"),
        ]  # fmt: skip
        *rows, last = rows
        size = sum(int(row["parameters"]) for row in rows)
        for region in range(4):
            names = [b for i, b in enumerate(BINS) if ratios.PART[i] == region]
            share = sum(
                float(row[b]) * int(row["parameters"]) / size for row in rows for b in names
            )
            assert share == pytest.approx(float(epoch[REGIONS[region]]), abs=0.06)
        squares = sum(float(row[name]) for row in rows for name in SUMS if name.startswith("hh"))
        # The mean of squares is above the square of the mean.
        assert squares**0.5 >= float(epoch["perturbed_grad_norm"]) * 0.999
        assert sum(float(last[name]) for name in (*BINS, *REST)) == pytest.approx(100, abs=0.06)
        assert 0 < float(epoch["members"]) < 100
    lags = {
        int(row["lag"]) for row in table(tmp_path, "persistence.csv") if row["reference"] == "4"
    }
    assert lags == {1, 2, 5, 8}


def test_a_run_with_one_pass_has_no_ratios(data_dir, tmp_path):
    train_cell(tiny(variant="sgd", epochs=1), [0], tmp_path, data_dir)
    assert table(tmp_path, "ratios.csv") == table(tmp_path, "persistence.csv") == []
    assert records.read_run(tmp_path / "seed=0", tiny(variant="sgd", epochs=1), 0)


def test_observing_changes_no_bit_of_the_training(data_dir, tmp_path, monkeypatch):
    cell = tiny(variant="sam", epochs=2)
    train_cell(cell, [0], tmp_path / "with", data_dir)
    monkeypatch.setattr(Observer, "advance", lambda *args: None)
    train_cell(cell, [0], tmp_path / "without", data_dir)
    for name in ("weights.safetensors", "metrics.json", "history.csv"):
        one, other = ((tmp_path / x / "seed=0" / name).read_bytes() for x in ("with", "without"))
        assert one == other
