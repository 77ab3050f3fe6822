"""Heartbeats: Kaggle's files, which beats are kept, the attention network, what does not fit."""

import csv

import numpy as np
import pytest
import torch
from torch import nn

from samscope import data, models, tasks
from samscope.data import mitbih, mitdb
from samscope.errors import InputError
from samscope.models.attention import AttentionNet, positions
from samscope.spec import Cell
from samscope.stages.train import train_cell
from samscope.tasks import Task, beats

COUNTS = {"train": (700, 20, 30, 15, 40), "test": (200, 8, 9, 7, 10)}
"""Beats of each class in the tests' files."""


def task(**changes):
    settings = {"augment": "none", "label_noise": 0.0, "train_size": None, "val_size": 0}
    return Task("mitbih", **{**settings, "split_seed": 12345, "name": "beats", **changes})


def lines(part):
    """The rows of a file, sorted by class as Kaggle's are: 187 samples that tell the row."""
    rows = []
    for kind, count in enumerate(COUNTS[part]):
        shape = [f"{kind / 4}"] * 100
        rows += [[f"{kind / 8:.3f}", f"{i / 1000:.3f}", *["0.5"] * 85, *shape, f"{kind}.0"]
                 for i in range(count)]  # fmt: skip
    return [",".join(row) for row in rows]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    for part in COUNTS:
        (folder / f"mitbih_{part}.csv").write_text("\n".join(lines(part)) + "\n")
    whole = {"training": COUNTS["train"], "test": COUNTS["test"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mitdb, "COUNTS", whole)
        yield folder


def test_files_are_read_as_they_are(data_dir):
    arrays = data.read("mitbih", data_dir)
    assert arrays["x"].shape == (sum(map(sum, COUNTS.values())), 187)
    for part, chosen in (("train", ~arrays["is_test"]), ("test", arrays["is_test"])):
        assert tuple(np.bincount(arrays["y"][chosen])) == COUNTS[part]
    assert arrays["x"][701, :3].tolist() == [np.float32(0.125), np.float32(0.001), 0.5]
    assert not arrays["record"].any()


def test_what_is_kept_is_all_but_most_normal_beats(data_dir):
    splits = tasks.load(task(), data_dir)
    assert torch.bincount(splits.train.targets).tolist() == [641, *COUNTS["train"][1:]]
    assert torch.bincount(splits.test.targets).tolist() == [161, *COUNTS["test"][1:]]
    # with the class sizes of the whole set, 72,471 and 18,118 normal beats among them
    rest = {"train": 2223 + 5788 + 641 + 6431, "test": 556 + 1448 + 162 + 1608}
    assert {part: n + rest[part] for part, n in beats.NORMAL.items()} == {
        **{"train": 87_553 - 71_829, "test": 21_891 - 17_956}
    }
    for samples in (splits.train, splits.test):
        (x,) = samples.inputs
        assert torch.equal((x[:, 0] * 8).round().long(), samples.targets)
    same, other = (tasks.load(task(split_seed=s), data_dir) for s in (12345, 1))
    drawn = lambda s: set(s.test.inputs[0][s.test.targets == 0][:, 1].tolist())  # noqa: E731
    assert drawn(same) == drawn(splits) != drawn(other)
    assert len(drawn(splits)) == 161


def test_validation_beats_are_a_stratified_part(data_dir):
    splits = tasks.load(task(train_size=300, val_size=100), data_dir)
    assert (len(splits.train), len(splits.val)) == (300, 100)
    shares = torch.bincount(splits.val.targets) / 100
    whole = torch.tensor([641, *COUNTS["train"][1:]])
    assert torch.allclose(shares, whole / whole.sum(), atol=0.011)
    with pytest.raises(InputError, match=r"train_size: 700 .* beside 100 for validation, of 746"):
        tasks.load(task(train_size=700, val_size=100), data_dir)
    with pytest.raises(InputError, match=r"val_size: 746 is not .* allowed: at most 745, of 746"):
        tasks.load(task(val_size=746), data_dir)
    with pytest.raises(
        InputError, match=r"y: no training sample of class 1 among 3 is not allowed"
    ):
        tasks.load(task(train_size=3), data_dir)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda rows: [*rows[:3], rows[3].rpartition(",")[0], *rows[4:]],
            "mitbih_test.csv: line 4: 187 values is not allowed; allowed: 187 samples and a class",
        ),
        (lambda rows: [row.rpartition(",")[0] for row in rows], "line 1: 187 values is not allow"),
        (
            lambda rows: [rows[0].replace("0.5", "nan", 1), *rows[1:]],
            "mitbih_test.csv: line 1: nan in column 3 is not allowed",
        ),
        (lambda rows: rows[: 200 + 8], "beats: 200 N, 8 S, 0 V, 0 F, 0 Q is not allowed"),
        (lambda rows: [*rows[:-1], rows[-1][:-3] + "0.5"], "line 234: 0.5 is not allowed; allowed"),
    ],
)
def test_beats_that_are_none_are_one_line(edit, words, data_dir, tmp_path):
    (tmp_path / "mitbih_train.csv").write_text((data_dir / "mitbih_train.csv").read_text())
    (tmp_path / "mitbih_test.csv").write_text("\n".join(edit(lines("test"))) + "\n")
    with pytest.raises(InputError) as error:
        tasks.load(task(), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mitbih.npz").exists()


def test_arrays_of_ones_own_are_checked(tmp_path):
    y = np.tile(np.arange(5, dtype=np.uint8), 4)
    arrays = {"x": np.zeros((20, 187), np.float32), "y": y, "record": y, "is_test": y > 9}
    arrays["is_test"] = np.arange(20) >= 10
    np.savez(tmp_path / "mitbih.npz", **arrays)
    assert len(tasks.load(task(), tmp_path).test) == 10
    arrays["x"][7, 3] = np.inf
    np.savez(tmp_path / "mitbih.npz", **arrays)
    with pytest.raises(InputError, match="x: inf in beat 8 is not allowed; allowed: numbers from"):
        tasks.load(task(), tmp_path)


# The network


def small(**changes):
    settings = {"width": 20, "hidden": 12, "head": (16, 8), "samples": 30, "dropout": 0.0}
    return AttentionNet(5, **{**settings, **changes})


@pytest.mark.parametrize("name", ["attention", "attention_time"])
def test_parameters_are_the_published_number(name):
    with torch.device("meta"):
        model = models.build(name, len(mitbih.CLASSES))
        assert model(torch.empty(3, 187)).shape == (3, 5)
    assert sum(p.numel() for p in model.parameters()) == 19_528_109


def test_the_layer_is_torchs_encoder_layer():
    model, x = small(), torch.randn(4, 30, 20, generator=torch.Generator().manual_seed(0))
    theirs = nn.TransformerEncoderLayer(20, 2, 12, 0.0, layer_norm_eps=1e-12, batch_first=True)
    own = {
        "self_attn.out_proj": model.attention.out, "linear1": model.near1, "linear2": model.near2,
        "norm1": model.norm1, "norm2": model.norm2,
    }  # fmt: skip
    first = (model.attention.q, model.attention.k, model.attention.v)
    state = {f"{name}.{k}": v for name, m in own.items() for k, v in m.state_dict().items()}
    for kind in ("weight", "bias"):
        state[f"self_attn.in_proj_{kind}"] = torch.cat([getattr(m, kind) for m in first])
    theirs.load_state_dict(state)
    seen = model.norm1(x + model.attention(x))
    seen = model.norm2(seen + model.near2(model.near1(seen).relu()))
    assert torch.allclose(seen, theirs(x), atol=1e-5)


def test_positions_turn_by_powers_of_ten_thousand():
    found = positions(torch.arange(50), 8).double()
    for t in (0, 7, 49):
        for i in range(4):
            angle = torch.tensor(t / 10000 ** (2 * i / 8), dtype=torch.float64)
            expected = torch.stack([angle.sin(), angle.cos()])
            assert torch.allclose(found[t, 2 * i : 2 * i + 2], expected, atol=1e-5)


def test_as_coded_an_answer_depends_on_the_place_in_the_batch_and_not_on_time():
    x = torch.rand(6, 30, generator=torch.Generator().manual_seed(0))
    coded, described = small(), small(encoded="time")
    described.load_state_dict(coded.state_dict())
    turned = {model: model(x.flip(0)).flip(0) for model in (coded, described)}
    threes = small(batch=3)
    threes.load_state_dict(coded.state_dict())
    apart = torch.cat([coded(x[:3]), coded(x[3:])])
    assert torch.allclose(threes(x), apart, atol=1e-6)
    assert not torch.allclose(coded(x), apart, atol=1e-4)
    assert not torch.allclose(turned[coded], coded(x), atol=1e-4)
    assert torch.allclose(turned[described], described(x), atol=1e-6)
    # Without positions in time, turning time turns what the encoder gives the head, and no more.
    heads = {}
    for model in (coded, described):
        model.norm.register_forward_hook(lambda _, args, out, m=model: heads.update({m: out}))
        model(x)
        straight = heads[model]
        model(x.flip(1))
        assert torch.allclose(heads[model].flip(1), straight, atol=1e-5) == (model is coded)


def test_a_network_of_the_kind_is_trained_by_adaptive_sam(data_dir, tmp_path, monkeypatch):
    settings = {"batch": 30, "width": 12, "hidden": 12, "head": (16,)}
    small_one = models.Model("attention", "AttentionNet", settings, takes="signals")
    monkeypatch.setitem(models.MODELS, "small_attention", small_one)
    cell = Cell.from_dict({
        "model": "small_attention", "task": "beats", "data": "mitbih", "augment": "none",
        "label_noise": 0.0, "train_size": 240, "val_size": 0, "split_seed": 12345,
        "loss": "smoothed_kl", "smoothing": 0.1, "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
        "optimizer": "adam", "schedule": "constant", "epochs": 4, "batch_size": 30,
        "drop_last": False, "threads": 1, "precision": "float32", "compiled": False,
        "variant": "sam", "rho": 0.5, "adaptive": "davda54",
    })  # fmt: skip
    train_cell(cell, [0], tmp_path, data_dir, lambda line: None)
    rows = list(csv.DictReader((tmp_path / "seed=0" / "history.csv").open()))
    assert float(rows[-1]["train_loss"]) < 0.6 * float(rows[0]["train_loss"])
    ratios = list(csv.DictReader((tmp_path / "seed=0" / "ratios.csv").open()))
    sizes = {row["kind"]: int(row["parameters"]) for row in ratios if row["batch"] == "all"}
    assert sizes == {
        "attention": 4 * 12 * 12,
        "layernorm": 3 * 2 * 12,
        "linear": 12 + 2 * 12 * 12 + 187 * 12 * 16 + 16 * 5,
        "bias": 12 + 4 * 12 + 2 * 12 + 16 + 5,
    }
