"""Molecules: TUDataset's files against what they say, splits as coded, what does not fit."""

import zipfile

import numpy as np
import pytest
import torch

import tiny_molecules
from local_server import serving
from samscope import data, tasks
from samscope.data import mutagenicity
from samscope.errors import InputError
from samscope.tasks import Task
from tiny_molecules import TEXTS


def task(**changes):
    settings = {"augment": "none", "label_noise": 0.0, "train_size": None, "val_size": 0}
    return Task("mutagenicity", **{**settings, "split_seed": 12345, "name": "molecules", **changes})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    tiny_molecules.write(folder, tiny_molecules.random_texts(50))
    return folder


def test_files_are_read_as_they_say(tmp_path):
    arrays = data.read("mutagenicity", tiny_molecules.write(tmp_path))
    assert arrays["atoms"].tolist() == [0, 3, 1, 0, 2, 0, 0, 1, 2, 0]
    assert arrays["graph"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
    assert arrays["y"].tolist() == [0, 1, 1, 0]
    # 16 lines, less a bond that is there twice and one of an atom to itself
    assert len(arrays["bonds"]) == 14
    assert {(a, b) for a, b in arrays["bonds"].tolist()} == {
        (b, a) for a, b in arrays["bonds"].tolist()
    }
    assert arrays["bonds"][-3:].tolist() == [[7, 6], [7, 8], [8, 7]]


def test_torch_geometric_reads_the_same(many, tmp_path):
    geometric = pytest.importorskip("torch_geometric")
    raw = tmp_path / "Mutagenicity" / "raw"
    raw.mkdir(parents=True)
    for file in (many / "Mutagenicity").iterdir():
        (raw / file.name).write_text(file.read_text())
    torch.manual_seed(12345)
    theirs = geometric.datasets.TUDataset(str(tmp_path), "Mutagenicity").shuffle()
    splits = tasks.load(task(), many)
    whole = [part[i] for part in (splits.train, splits.test) for i in range(len(part))]
    assert len(theirs) == len(whole) == 50
    for graph, own in zip(theirs, whole, strict=True):
        atoms, bonds = own.inputs
        assert graph.x.argmax(1).tolist() == atoms[atoms >= 0].tolist()
        assert graph.edge_index.T.tolist() == bonds[bonds[:, 0] >= 0].tolist()
        assert graph.y.item() == own.targets


def test_graphs_are_padded_and_lose_nothing(tmp_path):
    arrays = data.read("mutagenicity", tiny_molecules.write(tmp_path))
    atoms, bonds = tasks.module("molecules").padded(arrays).inputs
    assert atoms.tolist() == [[0, 3, 1, -1], [0, 2, -1, -1], [0, 0, 1, 2], [0, -1, -1, -1]]
    assert bonds.shape == (4, 6, 2)
    assert bonds[1].tolist() == [[0, 1], [1, 0], *[[-1, -1]] * 4]
    assert bonds[2].tolist() == [[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2]]
    assert (bonds[3] == -1).all()


def test_the_split_is_that_of_the_source(many):
    splits = tasks.load(task(), many)
    y = torch.from_numpy(data.read("mutagenicity", many)["y"]).long()
    torch.manual_seed(12345)  # DatasetClass/TUD.py, and torch_geometric's Dataset.shuffle
    order = torch.randperm(50)
    assert torch.equal(splits.train.targets, y[order[:35]])
    assert torch.equal(splits.test.targets, y[order[35:]])
    assert (len(splits.val), splits.sizes, splits.facts) == (0, (2, 14), {"classes": 2})


def test_validation_graphs_come_from_the_training_graphs(many):
    whole, some = (tasks.load(task(**sizes), many) for sizes in ({}, {"val_size": 10}))
    assert torch.equal(some.test.inputs[0], whole.test.inputs[0])
    both = torch.cat([some.train.inputs[1], some.val.inputs[1]])
    assert torch.equal(both, whole.train.inputs[1])
    fewer = tasks.load(task(train_size=20), many)
    assert torch.equal(fewer.train.targets, whole.train.targets[:20])
    other = tasks.load(task(split_seed=1), many)
    assert not torch.equal(other.test.targets, whole.test.targets)


@pytest.mark.parametrize("sizes", [{"train_size": 36}, {"train_size": 26, "val_size": 10}])
def test_more_graphs_than_there_are_are_refused(many, sizes):
    with pytest.raises(InputError, match=r"task molecules: train_size: .* of 35"):
        tasks.load(task(**sizes), many)
    with pytest.raises(InputError, match="val_size: 35 is not allowed; allowed: at most 34, of 35"):
        tasks.load(task(val_size=35), many)


def test_a_class_that_is_missing_in_a_part_is_named(tmp_path):
    tiny_molecules.write(tmp_path, TEXTS | {"graph_labels": "0\n1\n0\n0"})
    with pytest.raises(
        InputError, match=r"npz: y: no test sample of class 1 among 2 is not allowed"
    ):
        tasks.load(task(), tmp_path)


def test_labels_are_any_two_and_a_molecule_may_have_no_bond(tmp_path):
    texts = TEXTS | {"graph_labels": "1\n-1\n1\n-1", "A": "1, 2\n2, 1\n8, 8"}
    arrays = data.read("mutagenicity", tiny_molecules.write(tmp_path, texts))
    assert arrays["y"].tolist() == [1, 0, 1, 0]
    assert arrays["bonds"].tolist() == [[0, 1], [1, 0]]
    splits = tasks.load(task(), tmp_path)
    assert {tuple(part.inputs[1].shape) for part in (splits.train, splits.test)} == {(2, 2, 2)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"A": TEXTS["A"] + "\n5, 6"}, "edge: 5, 6 is not allowed; allowed: two nodes of one gr"),
        ({"A": TEXTS["A"] + "\n5, 12"}, "edge: to node 12 is not allowed; allowed: nodes 1 to 10"),
        ({"A": TEXTS["A"] + "\n0, 1"}, "edge: to node 0 is not allowed"),
        ({"A": TEXTS["A"] + "\n12, 12"}, "edge: to node 12 is not allowed"),
        (
            {"A": TEXTS["A"] + "\n5"},
            "Mutagenicity_A.txt: line 17: 1 value is not allowed; allowed: two whole numbers a",
        ),
        ({"A": TEXTS["A"] + "\n5, 9" + "9" * 20}, "Mutagenicity_A.txt: line 17: 99999"),
        ({"A": ""}, "Mutagenicity_A.txt: content: (empty) is not allowed"),
        ({"A": "1\n2"}, "Mutagenicity_A.txt: line 1: 1 value is not allowed"),
        ({"graph_labels": "0\n1\n1"}, "graph labels: 3 is not allowed; allowed: 4, one of each"),
        ({"graph_labels": "0\n1\n1\n0\n1"}, "graph labels: 5 is not allowed; allowed: 4"),
        ({"graph_labels": "0\n1\nno\n0"}, "Mutagenicity_graph_labels.txt: line 3: no is not"),
        (
            {"graph_labels": "0\n1.5\n1\n0"},
            "labels.txt: line 2: 1.5 is not allowed; allowed: a whole",
        ),
        ({"graph_labels": "0\n\n1\n1\n0"}, "labels.txt: line 2: (empty) is not allowed"),
        ({"A": TEXTS["A"].replace("\n", "\n#", 1)}, "A.txt: line 2: #2 in column 1 is not allowed"),
        ({"A": TEXTS["A"] + "\n5, inf"}, "A.txt: line 17: inf in column 2 is not allowed"),
        ({"A": TEXTS["A"] + "\n7, 9"}, "edge: 7, 9 is not allowed; allowed: each bond both ways"),
        ({"graph_indicator": "\n".join("0001122223")}, "labels: 4 is not allowed; allowed: 3, one"),
        ({"graph_labels": "0\n1\n2\n0"}, "graph labels: 3 classes is not allowed; allowed: 2 cla"),
        ({"graph_labels": "1\n1\n1\n1"}, "graph labels: 1 classes is not allowed"),
        (
            {"node_labels": "\n".join("031020012") + "\n257"},
            "labels: 257 in line 10 is not allowed",
        ),
        (
            {"node_labels": "\n".join("031020012") + "\n-1"},
            "-1 in line 10 is not allowed; allowed: 0",
        ),
        ({"node_labels": "0\n1"}, "node labels: 2 is not allowed; allowed: 10, one of each node"),
        ({"graph_indicator": "\n".join("1112244444")}, "graph indicator: line 6 is not allowed"),
        ({"graph_indicator": "\n".join("2111222222")}, "graph indicator: line 1 is not allowed"),
    ],
)
def test_graphs_that_are_none_are_one_line(changes, words, tmp_path):
    tiny_molecules.write(tmp_path, TEXTS | changes)
    with pytest.raises(InputError) as error:
        tasks.load(task(), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mutagenicity.npz").exists()


def test_arrays_that_are_no_graphs_are_refused(many, tmp_path):
    arrays = dict(data.read("mutagenicity", many))
    arrays["bonds"] = arrays["bonds"].copy()
    arrays["bonds"][3, 1] = len(arrays["atoms"]) - 1
    np.savez(tmp_path / "mutagenicity.npz", **arrays)
    with pytest.raises(InputError, match=r"mutagenicity\.npz: edge: .* two nodes of one graph"):
        tasks.load(task(), tmp_path)
    bonds = data.read("mutagenicity", many)["bonds"]
    itself = np.insert(bonds, 0, [0, 0], axis=0)
    for wrong in (bonds[::-1], np.repeat(bonds, 2, axis=0), itself):
        np.savez(tmp_path / "mutagenicity.npz", **{**arrays, "bonds": wrong})
        with pytest.raises(InputError, match=r"edge: .* bonds in ascending order, each once, none"):
            tasks.load(task(), tmp_path)
    np.savez(tmp_path / "mutagenicity.npz", **{k: v[:0] for k, v in arrays.items()})
    with pytest.raises(InputError, match=r"mutagenicity\.npz: graphs: \(none\) is not allowed"):
        tasks.load(task(), tmp_path)
    arrays["bonds"] = arrays["bonds"][:0]
    arrays["atoms"] = np.full_like(arrays["atoms"], 14)
    np.savez(tmp_path / "mutagenicity.npz", **arrays)
    with pytest.raises(InputError, match="atoms: 14 is not allowed; allowed: 0 to 13"):
        tasks.load(task(), tmp_path)


def test_a_missing_file_is_named(tmp_path):
    tiny_molecules.write(tmp_path, {k: v for k, v in TEXTS.items() if k != "graph_labels"})
    with pytest.raises(InputError, match=r"Mutagenicity_graph_labels\.txt: file: .* No such file"):
        data.read("mutagenicity", tmp_path)


def zipped(folder):
    """The set as a zip in the folder."""
    with zipfile.ZipFile(folder / "Mutagenicity.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for part, text in TEXTS.items():
            packed.writestr(f"Mutagenicity/Mutagenicity_{part}.txt", text)
    return folder / "Mutagenicity.zip"


@pytest.fixture
def server(tmp_path_factory, monkeypatch):
    """A server in the place of the official one: its folder, and what it was asked for."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder) as (url, asked):
        monkeypatch.setattr(mutagenicity, "URL", f"{url}Mutagenicity.zip")
        yield folder, asked


def test_the_zip_is_downloaded_once(server, tmp_path):
    folder, asked = server
    zipped(folder)
    first = data.read("mutagenicity", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("Mutagenicity.zip", "mutagenicity.json", "mutagenicity.npz")
    ]
    (tmp_path / "mutagenicity.npz").unlink()
    again = data.read("mutagenicity", tmp_path)
    assert asked == ["Mutagenicity.zip"]
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_download_that_fails_is_one_line_and_leaves_nothing(server, tmp_path):
    with pytest.raises(InputError, match=r"absent, and http://127.* cannot be downloaded .*404"):
        data.read("mutagenicity", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_that_breaks_off_is_one_line_and_leaves_nothing(server, tmp_path):
    folder, asked = server
    zipped(folder)
    asked.broken = {"Mutagenicity.zip"}
    with pytest.raises(InputError, match=r"cannot be downloaded \(IncompleteRead.*or a network"):
        data.read("mutagenicity", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["half", "a page", "garbled", "other"])
def test_a_damaged_zip_is_named(damage, tmp_path):
    path = zipped(tmp_path)
    whole = path.read_bytes()
    if damage == "half":
        path.write_bytes(whole[:200])
    elif damage == "a page":
        path.write_text("<html>Not here any more</html>")
    elif damage == "garbled":
        at = whole.index(b"Mutagenicity_A.txt") + 18
        path.write_bytes(whole[:at] + bytes(30) + whole[at + 30 :])
    else:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("README.txt", "another set")
    with pytest.raises(InputError, match=r"Mutagenicity\.zip: content: damaged"):
        data.read("mutagenicity", tmp_path)
