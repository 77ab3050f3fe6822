"""Data: splits, noise and augmentation against their sources; files that are damaged or absent."""

import json
import sys
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from samscope import tasks
from samscope.data import prepare
from samscope.data.split import stratified_split
from samscope.errors import InputError
from samscope.seeding import derive, stream
from samscope.tasks import images
from samscope.tasks.augment import draw
from samscope.tasks.noise import training_targets
from samscope.train.feed import Feed
from tiny_cell import tiny


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare("digits", folder)
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 400), ("test", 100)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 100
    np.savez(folder / "cifar100.npz", **arrays, classes=np.array(["apple"] * 100))
    return folder


def load(cell, folder):
    return tasks.load(cell.task, folder)


def normal(splits, part):
    """The images of a part as a network sees them."""
    return images.prepare(splits, part.inputs, None)[0]


def cifar(**changes):
    settings = {"data": "cifar100", "augment": "crop_flip_cutout", "train_size": None}
    return tiny(**{**settings, "val_size": 100, **changes})


# Splits


@pytest.mark.parametrize(
    ("classes", "count", "train_size", "val_size"),
    [(100, 50_000, 45_000, 5_000), (10, 1797, 500, 300), (7, 1000, 613, 201)],
)
def test_split_is_scikit_learns(classes, count, train_size, val_size):
    from sklearn.model_selection import StratifiedShuffleSplit

    labels = np.random.RandomState(1).randint(0, classes, count)
    source = StratifiedShuffleSplit(
        n_splits=1, train_size=train_size, test_size=val_size, random_state=42
    )
    expected_train, expected_val = next(source.split(np.zeros(count), labels))
    train, val, rest = stratified_split(labels, train_size, val_size, seed=42)
    assert np.array_equal(train, expected_train)
    assert np.array_equal(val, expected_val)
    assert sorted([*train, *val, *rest]) == list(range(count))


def test_digits_are_split_in_three_stratified_parts(data_dir):
    splits = load(tiny(train_size=500, val_size=300), data_dir)
    parts = (splits.train, splits.val, splits.test)
    assert [len(part) for part in parts] == [500, 300, 997]
    assert splits.sizes == (10, 1)
    assert splits.train.inputs[0].shape == (500, 1, 8, 8)
    for part in parts:
        shares = torch.bincount(part.targets, minlength=10) / len(part)
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.015)
    # of scikit-learn's 1,797 images
    assert sum(part.inputs[0].sum().item() for part in parts) == 561_718
    seen = torch.cat([normal(splits, part) for part in parts])
    assert abs(seen.mean().item()) < 1e-3
    assert abs(seen.std().item() - 1) < 1e-3


def test_another_split_seed_moves_the_images_and_another_run_seed_does_not(data_dir):
    first, other = load(tiny(), data_dir), load(tiny(split_seed=1), data_dir)
    assert not torch.equal(first.train.targets, other.train.targets)
    assert torch.equal(first.train.targets, load(tiny(), data_dir).train.targets)


@pytest.mark.parametrize(
    "sizes",
    [
        {"train_size": 1797},
        {"train_size": 100, "val_size": 1700},
    ],
)
def test_more_images_than_there_are_is_refused(data_dir, sizes):
    with pytest.raises(
        InputError, match=r"task images: train_size: .* 1 to \d+ .* for validation, of 1797"
    ):
        load(tiny(**sizes), data_dir)
    with pytest.raises(InputError, match="train_size: all is not allowed; allowed: a number"):
        load(tiny(train_size=None), data_dir)


def test_a_batch_larger_than_an_epoch_is_refused_where_only_whole_ones_count(data_dir):
    splits = load(tiny(train_size=20), data_dir)
    assert Feed(tiny(train_size=20), 0, splits).steps == 1
    with pytest.raises(InputError, match=r"batch_size: 30 is not allowed; allowed: 20 at most"):
        Feed(tiny(train_size=20, drop_last=True), 0, splits)


# Label noise


def test_noisy_labels_are_other_classes_and_exactly_the_share(data_dir):
    splits = load(tiny(train_size=1000), data_dir)
    true, labels = splits.train.targets, training_targets(splits, 0.4, seed=0)
    wrong = labels != true
    assert wrong.sum() == 400
    shift = (labels - true)[wrong] % 10
    counts = torch.bincount(shift, minlength=10)
    assert counts[0] == 0
    # uniform over the 9 others: chi-square with 8 degrees of freedom, 1 in 10^5 above 39
    assert ((counts[1:] - 400 / 9) ** 2 / (400 / 9)).sum() < 39
    assert torch.equal(labels, training_targets(splits, 0.4, seed=0))
    assert not torch.equal(labels, training_targets(splits, 0.4, seed=1))
    assert torch.equal(training_targets(splits, 0.0, seed=0), true)


# Files


def test_prepare_is_repeatable_and_needs_no_scikit_learn_twice(data_dir, tmp_path, monkeypatch):
    prepare("digits", tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files.keys() == {"digits.npz", "digits.json"}
    assert files["digits.npz"] == (data_dir / "digits.npz").read_bytes()
    arrays = json.loads(files["digits.json"])["arrays"]
    assert arrays["x"]["shape"] == [1797, 8, 8, 1]
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    load(tiny(), tmp_path)
    (tmp_path / "digits.json").unlink()
    prepare("digits", tmp_path)
    assert (tmp_path / "digits.json").read_bytes() == files["digits.json"]


def test_truncated_data_is_named(data_dir, tmp_path):
    whole = (data_dir / "digits.npz").read_bytes()
    (tmp_path / "digits.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"digits\.npz: content: damaged"):
        load(tiny(), tmp_path)


def test_changed_data_is_named(tmp_path):
    path = prepare("digits", tmp_path)
    with np.load(path) as file:
        x, y = file["x"].copy(), file["y"]
    x[0, 0, 0, 0] += 1
    np.savez(path, x=x, y=y)
    with pytest.raises(InputError, match=r"digits\.npz: x: sha256 .* the array of digits\.json"):
        load(tiny(), tmp_path)


def test_data_of_another_kind_is_named(tmp_path):
    np.savez(tmp_path / "digits.npz", x=np.zeros((5, 8, 8)), y=np.zeros(5, np.uint8))
    with pytest.raises(InputError, match=r"x: float64 5 x 8 x 8 .* allowed: uint8 N x H x W x 1"):
        load(tiny(), tmp_path)


def test_data_sets_that_do_not_fit_together_are_named(tmp_path):
    def refuse(words, cell, **changes):
        sizes = {"x_train": 400, "y_train": 400, "x_test": 100, "y_test": 100}
        arrays = {
            key: np.zeros((count, 32, 32, 3) if key[0] == "x" else count, np.uint8)
            for key, count in sizes.items()
        } | changes
        path = tmp_path / f"{cell.task.data}.npz"
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=words):
            load(cell, tmp_path)

    pixels, labels = np.zeros((100, 8, 8, 1), np.uint8), np.zeros(1797, np.uint8)
    words = "y: uint8 1797 is not allowed; allowed: uint8 100"
    refuse(rf"digits\.npz: {words}", tiny(), x=pixels, y=labels)
    words = "y_test: uint8 99 is not allowed; allowed: uint8 100"
    refuse(rf"cifar100\.npz: {words}", cifar(), y_test=labels[:99])
    refuse(r"labels: 100 .* 0 to 99", cifar(), y_test=np.full(100, 100, np.uint8))
    grey = np.zeros((400, 32, 32, 1), np.uint8)
    words = "x_train: uint8 400 x 32 x 32 x 1 is not allowed; allowed: uint8 N x H x W x 3"
    refuse(words, cifar(), x_train=grey)
    small = np.zeros((100, 8, 8, 3), np.uint8)
    refuse(r"x_test: uint8 100 x 8 x 8 x 3 .* uint8 M x 32 x 32 x 3", cifar(), x_test=small)


def test_absent_cifar_without_a_network_is_one_line(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no network here")

    torchvision = ModuleType("torchvision")
    torchvision.datasets = SimpleNamespace(CIFAR10=no_network, CIFAR100=no_network)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    with pytest.raises(InputError, match=r"cifar100\.npz: data set: absent.*no network") as error:
        load(cifar(), tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_downloaded_cifar_becomes_a_local_file(tmp_path, monkeypatch):
    def download(root, train, download):
        count = 200 if train else 100
        images = np.full((count, 32, 32, 3), 7, np.uint8)
        return SimpleNamespace(data=images, targets=[i % 100 for i in range(count)])

    torchvision = ModuleType("torchvision")
    torchvision.datasets = SimpleNamespace(CIFAR10=None, CIFAR100=download)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    splits = load(cifar(), tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [100, 100, 100]
    assert (tmp_path / "cifar100.npz").exists()
    assert (tmp_path / "cifar100.json").exists()


# Augmentation


def test_augmentation_is_bit_for_bit_torchvisions_image_by_image(data_dir):
    from torchvision.transforms import functional as tv

    splits = load(cifar(), data_dir)
    draws = draw(300, 32, stream(0, "augment", 0))
    (augmented,) = images.prepare(splits, splits.train.inputs, draws)
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    for raw, row, found in zip(*splits.train.inputs, draws.tolist(), augmented, strict=True):
        top, left, flip, cut, hole_top, hole_left = row
        image = tv.to_pil_image(raw)
        image = tv.crop(tv.pad(image, 4), top, left, 32, 32)
        image = tv.hflip(image) if flip else image
        expected = tv.normalize(tv.to_tensor(image), mean, std)
        if cut:  # the original's Cutout
            bottom, right = min(32, hole_top + 16), min(32, hole_left + 16)
            expected[:, max(0, hole_top) : bottom, max(0, hole_left) : right] = 0
        assert torch.equal(found, expected)


def test_draws_cover_their_ranges_evenly():
    draws = draw(9_000, 32, stream(0, "augment", 0))
    ranges = [(0, 8), (0, 8), (0, 1), (0, 1), (-8, 23), (-8, 23)]
    for column, (low, high) in zip(draws.unbind(1), ranges, strict=True):
        counts = torch.bincount(column - low, minlength=high - low + 1)
        expected = 9_000 / (high - low + 1)
        assert len(counts) == high - low + 1
        assert ((counts / expected - 1).abs() < 6 / expected**0.5).all()


def test_validation_is_augmented_and_test_is_not(data_dir):
    splits = load(cifar(), data_dir)
    feed = Feed(cifar(), 0, splits)
    (((first,), labels),) = feed.validation(0)
    (((second,), _),) = feed.validation(1)
    assert torch.equal(labels, splits.val.targets)
    assert not torch.equal(first, second)
    # Draws of its own: those of training show the same samples otherwise.
    draws = draw(len(labels), 32, stream(0, "augment_val", 0))
    assert torch.equal(first, images.prepare(splits, splits.val.inputs, draws)[0])
    (((test,), _),) = feed.test()
    assert torch.equal(test, normal(splits, splits.test))


def test_augmentation_for_large_images_is_refused_on_small_ones(data_dir):
    with pytest.raises(InputError, match="augment: crop_flip_cutout is not allowed; allowed: none"):
        load(tiny(augment="crop_flip_cutout"), data_dir)


# Batches and streams


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [30, 30, 30, 10]), (True, [30] * 3)])
def test_an_epoch_shows_every_image_once_with_its_label(data_dir, drop_last, sizes):
    splits = load(tiny(), data_dir)
    feed = Feed(tiny(drop_last=drop_last), 0, splits)
    batches = list(feed.training(0))
    assert [len(labels) for _, labels in batches] == sizes
    known = {
        image.numpy().tobytes(): label
        for image, label in zip(normal(splits, splits.train), feed.targets, strict=True)
    }
    shown = [(i.numpy().tobytes(), y) for (x,), labels in batches for i, y in zip(x, labels)]  # noqa: B905
    assert len({image for image, _ in shown}) == sum(sizes)
    assert all(known[image] == label for image, label in shown)


def test_order_depends_on_seed_and_epoch_and_not_on_the_variant(data_dir):
    splits = load(tiny(), data_dir)

    def first_batch(epoch=0, seed=0, **changes):
        return next(Feed(tiny(**changes), seed, splits).training(epoch))[0][0]

    assert torch.equal(first_batch(), first_batch(variant="sgd", lr=0.3))
    assert not torch.equal(first_batch(), first_batch(epoch=1))
    assert not torch.equal(first_batch(), first_batch(seed=1))


def test_batches_of_a_budget_in_steps_go_on_over_epochs(data_dir):
    """Of augmented images too: a part of an epoch has the draws that it has in the whole."""
    steps = cifar(epochs=0, steps=24, report_every=6, batch_size=70)
    splits = load(steps, data_dir)
    whole = Feed(cifar(batch_size=70, epochs=5), 0, splits)
    assert whole.steps == whole.start(1) == 5
    every = [batch for epoch in range(5) for batch in whole.training(epoch)]
    feed = Feed(steps, 0, splits)
    assert [feed.start(row) for row in range(5)] == [0, 6, 12, 18, 24]
    for row in range(4):
        found = list(feed.training(row))
        assert len(found) == 6
        for ((x,), y), ((same,), labels) in zip(found, every[6 * row :], strict=False):
            assert torch.equal(x, same)
            assert torch.equal(y, labels)
        assert len(found[feed.last_whole(row) - 1][1]) == 70
    seen, unseen = set(), next(feed.unseen())[0][0]
    for (x,), _ in every:
        seen |= {image.numpy().tobytes() for image in x}
    assert not seen & {image.numpy().tobytes() for image in unseen}
    assert [len(y) for _, y in feed.unseen(128)] == [128, 128, 44]


def test_streams_are_fixed_and_apart():
    # Another number here means other data orders, weights and noise: raise spec.SEMANTICS.
    assert derive(0, "init") == 16031717674981964909
    seeds = {derive(s, n, e) for s in range(10) for n in ("order", "augment") for e in range(10)}
    assert len(seeds) == 200
