"""Foret et al.'s augmentations against torchvision's and their own code's, image by image."""

import numpy as np
import pytest
import torch
from torchvision.transforms import autoaugment as theirs
from torchvision.transforms import functional as tv

from samscope import tasks
from samscope.seeding import stream
from samscope.tasks import autoaugment, images
from samscope.tasks.augment import AUGMENTATIONS
from samscope.train.feed import Feed
from tiny_cell import tiny

NEW = ("basic", "cutout", "cutout_batch", "autoaugment")
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random pixels without the mean colour, so that a zero is a hole."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("test", 20)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    names = np.array([f"c{i}" for i in range(100)])
    np.savez(folder / "cifar100.npz", **arrays, classes=names)
    return folder


def cell(name, **changes):
    leaves = {"data": "cifar100", "augment": name, "train_size": 200, "val_size": 100}
    return tiny(**leaves, **changes)


@pytest.mark.parametrize("name", NEW)
def test_images_are_bit_for_bit_torchvisions_one_by_one(name, folder):
    splits = tasks.load(cell(name).task, folder)
    draws = images.draw(splits, 200, stream(0, "augment", 0))
    (found,) = images.prepare(splits, splits.train.inputs, draws)
    raw = splits.train.inputs[0]
    if name == "autoaugment":
        raw = autoaugment.apply(raw, draws[:, 6:])
    for i, row in enumerate(draws.tolist()):
        top, left, flip = row[:3]
        image = tv.to_pil_image(raw[i])
        image = tv.crop(tv.pad(image, 4, padding_mode="reflect"), top, left, 32, 32)
        expected = tv.normalize(tv.to_tensor(tv.hflip(image) if flip else image), MEAN, STD)
        if name.startswith("cutout"):
            expected[:, hole(*draws[0 if name == "cutout_batch" else i, 4:6].tolist())] = 0
        assert torch.equal(found[i], expected)


def hole(top, left):
    """Where their code cuts, by the padding around a patch at a centre drawn within the image."""
    centres, size, half = (top + 8, left + 8), 32, 8
    assert all(0 <= centre < size for centre in centres)
    low = [max(0, centre - half) for centre in centres]
    high = [max(0, size - centre - half) for centre in centres]
    shape = [size - a - b for a, b in zip(low, high, strict=True)]
    return np.pad(np.ones(shape, bool), [(low[0], high[0]), (low[1], high[1])])


@pytest.mark.parametrize(("name", "of_a_batch"), [("cutout", False), ("cutout_batch", True)])
def test_a_patch_is_of_an_image_or_of_a_batch(name, of_a_batch, folder):
    feed = Feed(cell(name), 0, tasks.load(cell(name).task, folder))
    patches = [(x == 0).all(1) for (x,), _ in feed.training(0)]
    assert len(patches) == 7
    assert all(p.flatten(1).any(1).all() for p in patches)
    assert all(bool((p == p[0]).all()) == of_a_batch for p in patches)
    assert len({p[0].numpy().tobytes() for p in patches}) > 4


def test_augmentations_differ_by_nothing_but_what_they_add(folder):
    """The same crops and flips in all: a table's columns are paired."""
    drawn = {}
    for name in NEW:
        splits = tasks.load(cell(name).task, folder)
        drawn[name] = images.draw(splits, 50, stream(0, "augment", 0))[:, :6]
    assert all(torch.equal(rows, drawn["basic"]) for rows in drawn.values())


@pytest.mark.parametrize("name", NEW)
def test_validation_and_test_images_are_left_alone(name, folder):
    splits = tasks.load(cell(name).task, folder)
    feed = Feed(cell(name), 0, splits)
    for part, batches in ((splits.val, feed.validation(0)), (splits.test, feed.test())):
        (((found,), _),) = batches
        assert torch.equal(found, images.prepare(splits, part.inputs, None)[0])


def test_every_name_of_the_task_is_an_augmentation():
    assert tasks.TASKS["images"].augmentations == ("none", *AUGMENTATIONS)
    assert set(tasks.VALIDATION_TOO) < set(AUGMENTATIONS)


# AutoAugment


def pictures(count):
    """Noise, smooth colours, few values, one value: whatever an operation treats apart."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=random)
    coarse = torch.rand(count, 3, 4, 4, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear").mul(255).byte()
    kinds = [noise, smooth, noise // 4 + 60, (noise > 128).byte() * 200, noise[:, :, :1, :1]]
    return torch.stack([kinds[i % 5].expand_as(noise)[i] for i in range(count)])


def test_a_batch_is_bit_for_bit_torchvisions_autoaugment_of_each_image(monkeypatch):
    """Every pair of the policy, both signs, operations done and left out, on 5 kinds of image."""
    count = 1000
    random = torch.Generator().manual_seed(1)
    pair = torch.arange(count) // 5 % 25
    luck = torch.rand(count, 2, generator=random)
    luck[::2] = 0.0  # half of them do both
    sign = torch.randint(2, (count, 2), generator=random)
    raw = pictures(count)
    found = autoaugment.apply(raw, autoaugment.chosen(32, pair, luck, sign))
    policy = theirs.AutoAugment(theirs.AutoAugmentPolicy.CIFAR10)
    changed = 0
    for i in range(count):
        params = (int(pair[i]), luck[i], sign[i])
        monkeypatch.setattr(policy, "get_params", lambda _, params=params: params)
        expected = policy(raw[i])
        assert torch.equal(found[i], expected), (i, policy.policies[int(pair[i])])
        changed += not torch.equal(expected, raw[i])
    assert changed > count / 2


def test_operations_are_drawn_as_often_as_the_policy_says():
    count = 50_000
    operations = autoaugment.draw(count, 32, stream(0, "augment", 0))
    known = autoaugment.policy(32, torch.device("cpu"))
    for place in (0, 1):
        expected = torch.zeros(len(known.share))
        for pair in range(25):
            for sign in (0, 1):
                share = known.chance[pair, place] / 50
                expected[known.operation[pair, place, sign]] += share
                expected[0] += 1 / 50 - share
        found = torch.bincount(operations[:, place], minlength=len(expected)) / count
        assert ((found - expected).abs() <= 5 * (expected / count) ** 0.5).all()
