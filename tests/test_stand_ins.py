"""The digits in the forms of heartbeats and of molecules: their pixels, and the same each time.

Read back to images, and against graphs that networkx makes of a grid.
"""

import networkx as nx
import numpy as np
import pytest
import torch

from samscope import data, models, tasks
from samscope.data import digit_graphs, digit_signals
from samscope.errors import InputError
from samscope.tasks import Task


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Images [1797, 8, 8] and their classes."""
    held = data.read("digits", tmp_path_factory.mktemp("digits"))
    return held["x"][..., 0], held["y"]


def task(name, **changes):
    of = {"beats": "digit_signals", "molecules": "digit_graphs"}[name]
    settings = {"augment": "none", "label_noise": 0.0, "train_size": None, "val_size": 0}
    return Task(of, **{**settings, "split_seed": 3, "name": name, **changes})


def test_signals_are_the_pixels_row_by_row(pixels, tmp_path):
    images, y = (held[:1000] for held in pixels)
    held = data.read("digit_signals", tmp_path)
    assert np.array_equal(held["x"] * 16, images.reshape(1000, 64))
    assert np.array_equal(held["y"], y)
    assert held["is_test"].tolist() == [False] * 667 + [True] * 333
    assert not held["record"].any()
    splits = tasks.load(task("beats"), tmp_path)
    assert (splits.sizes, splits.facts) == ((10,), {"classes": 10})
    # of class 0 there are fewer than the normal beats that are kept, so all stay
    assert sorted(splits.train.targets.tolist()) == sorted(y[:667].tolist())
    assert sorted(splits.test.targets.tolist()) == sorted(y[667:].tolist())


def test_of_signals_too_the_first_class_is_downsampled(pixels, tmp_path):
    splits = tasks.load(task("beats", split="downsampled"), tmp_path)
    for part, y in ((splits.train, pixels[1][:667]), (splits.test, pixels[1][667:1000])):
        counts = np.bincount(y, minlength=10)
        counts[0] = min(counts[0], counts[1:].max())
        assert torch.bincount(part.targets).tolist() == counts.tolist()


def test_graphs_are_the_inked_pixels_and_their_neighbours(pixels, tmp_path):
    images, y = pixels
    held = data.read("digit_graphs", tmp_path)
    chosen = [n for n, digit in enumerate(y) if digit in (1, 4, 7, 0, 6, 8)][:1000]
    images, y = images[chosen], y[chosen]
    assert held["y"].tolist() == [int(digit not in (1, 4, 7)) for digit in y]
    read = np.zeros((1000, 64), bool)
    read[held["graph"], held["atoms"]] = True
    assert np.array_equal(read.reshape(1000, 8, 8), images >= 8)
    grid = nx.grid_2d_graph(8, 8)
    bonds = held["graph"][held["bonds"][:, 0]]
    for number in (0, 1, 500, 999):
        kept = [tuple(int(i) for i in place) for place in np.argwhere(images[number] >= 8)]
        expected = {(8 * a + b, 8 * c + d) for (a, b), (c, d) in grid.subgraph(kept).edges}
        found = held["atoms"][held["bonds"][bonds == number]].tolist()
        assert len(found) == 2 * len(expected)
        assert {tuple(pair) for pair in found} == expected | {(b, a) for a, b in expected}


@pytest.mark.parametrize("name", ["digit_signals", "digit_graphs"])
def test_a_stand_in_is_the_same_each_time_and_is_told_in_its_manifest(name, tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        data.prepare(name, folder)
    for file in (f"{name}.npz", f"{name}.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_of_graphs_70_percent_train(tmp_path):
    splits = tasks.load(task("molecules"), tmp_path)
    assert (len(splits.train), len(splits.test)) == (700, 300)
    assert (splits.sizes, splits.facts) == ((2, 64), {"classes": 2})


@pytest.mark.parametrize(
    ("model", "name", "parameters"),
    [
        # of widths 8 and 16: embedding, attention, three norms, two layers, and the head
        (
            "attention_small",
            *("beats", 16 + 4 * 72 + 3 * 16 + 8 * 16 + 16 + 16 * 8 + 8 + 64 * 8 * 64 + 64 + 650),
        ),
        ("attention_time_small", "beats", 34_114),
        # of widths 32 and 64 twice a layer, one bias
        ("gcn_small", "molecules", 2 * 64 * 32 + 32 + 2 * 32 * 64 + 64 + 2 * (2 * 64**2 + 64)
         + 64 * 32 + 32 + 32 * 2 + 2),
    ],
)  # fmt: skip
def test_the_small_networks_take_them(model, name, parameters, tmp_path):
    splits = tasks.load(task(name), tmp_path)
    network = models.build(model, *splits.sizes)
    assert sum(p.numel() for p in network.parameters()) == parameters
    some = splits.train[torch.arange(7)]
    assert network(*some.inputs).shape == (7, splits.sizes[0])
    assert tasks.TASKS[name].inputs == models.MODELS[model].takes


def test_signals_that_are_no_grey_values_are_refused(tmp_path):
    held = digit_signals.fetch("digit_signals", tmp_path)
    held["x"][4, 7] = np.nan
    np.savez(tmp_path / "digit_signals.npz", **held)
    with pytest.raises(InputError, match=r"signals\.npz: x: outside in signal 5 .* 0 to 1"):
        tasks.load(task("beats"), tmp_path)
    held["x"][4, 7], held["y"][3] = 0.5, 10
    np.savez(tmp_path / "digit_signals.npz", **held)
    with pytest.raises(InputError, match="y: 10 is not allowed; allowed: 0 to 9"):
        tasks.load(task("beats"), tmp_path)


def test_graphs_that_are_none_are_refused(tmp_path):
    held = digit_graphs.fetch("digit_graphs", tmp_path)
    held["bonds"][0] = 0, len(held["atoms"]) - 1
    np.savez(tmp_path / "digit_graphs.npz", **held)
    with pytest.raises(InputError, match=r"graphs\.npz: edge: .* two nodes of one graph"):
        tasks.load(task("molecules"), tmp_path)
