"""Images on disk in a folder for each class, as ImageNet is: read by batches, scored by five."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from samscope import data, tasks
from samscope.errors import InputError
from samscope.stages.train import train_cell
from samscope.tasks import photos
from samscope.tasks.samples import top5_acc_percent
from samscope.train.feed import Feed
from tiny_cell import tiny

CELL = tiny(
    task="photos", data="imagenet", augment="resized_crop", model="resnet8_w8", variant="sgd",
    train_size=None, val_size=2, epochs=1, batch_size=3, label_noise=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of four and of two images of noise, of unequal sizes; one grey."""
    root, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for place, name in enumerate(("ant", "bee")):
            for i in range(count):
                path = root / f"imagenet/{part}/{name}/{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = (40 + 30 * i, 60 + 10 * place, 3)
                pixels = random.integers(256, size=size if i else size[:2], dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    return root


NORMAL = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def test_images_are_those_of_torchvisions_own_transforms(folder):
    splits = tasks.load(CELL.task, folder)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [6, 2, 4]
    assert splits.sizes == (2, 3)
    draws = photos.draw(splits, 6, torch.Generator().manual_seed(1))
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    ways = (
        (splits.test, None, [transforms.Resize(256), transforms.CenterCrop(224)]),
        (splits.train, draws, crop),
    )
    for samples, seeds, how in ways:
        (found,) = photos.prepare(splits, samples.inputs, seeds)
        for place, path in enumerate(samples.inputs[0].paths):
            torch.manual_seed(0 if seeds is None else int(seeds[place]))
            expected = transforms.Compose(how + NORMAL)(Image.open(path).convert("RGB"))
            assert torch.allclose(found[place], expected, atol=1e-5)
    assert all(("bee" in path) == bool(label) for path, label in zip(
        splits.train.inputs[0].paths, splits.train.targets, strict=True))  # fmt: skip


def test_batches_are_read_when_they_come_and_a_run_has_both_scores(folder, tmp_path):
    splits = tasks.load(CELL.task, folder)
    feed = Feed(CELL, 0, splits)
    batches = [*feed.training(0), *feed.validation(0), *feed.test()]
    assert [tuple(inputs[0].shape) for inputs, _ in batches] == [
        (n, 3, 224, 224) for n in (3, 3, 2, 4)
    ]
    again = [*Feed(CELL, 0, splits).training(0)]
    assert torch.equal(batches[0][0][0], again[0][0][0])
    train_cell(CELL, [0], tmp_path / "out", folder, lambda line: None)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["runs"][0]
    assert metrics["test_top5_acc_percent"]["last"] == 100  # of two classes
    assert metrics["test_acc_percent"]["last"] in (0, 25, 50, 75, 100)


def test_among_the_five_largest():
    outputs = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]).repeat(3, 1)
    assert top5_acc_percent(outputs, torch.tensor([1, 2, 6])) == 200


def test_a_manifest_counts_what_is_there(folder):
    told = json.loads(data.prepare("imagenet", folder).read_text())["parts"]
    assert {name: (p["classes"], p["images"]) for name, p in told.items()} == {
        "train": (2, 8), "val": (2, 4),
    }  # fmt: skip


def image(path):
    path.parent.mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(path)


def test_folders_that_are_none_are_named_in_one_line(tmp_path):
    def refused(words):
        with pytest.raises(InputError) as caught:
            tasks.load(CELL.task, tmp_path)
        assert "\n" not in str(caught.value)
        assert words in str(caught.value)

    root = tmp_path / "imagenet"
    refused("imagenet/train: folder: (missing) is not allowed; allowed: a folder with a folder of")
    (root / "train").mkdir(parents=True)
    (root / "val").mkdir()
    refused("imagenet/train: classes: Couldn't find any class folder in ")
    (root / "train/ant").mkdir()
    refused("imagenet/train: classes: Found no valid file for the classes ant")
    image(root / "train/bee/0.png")
    (root / "train/ant").rmdir()
    image(root / "val/wasp/0.png")
    refused("imagenet/val: classes: not both: bee is not allowed; allowed: the 1 of train")


def test_a_file_that_is_no_image_is_named(folder, tmp_path):
    splits = tasks.load(CELL.task, folder)
    broken = tmp_path / "no.png"
    broken.write_text("not a picture")
    with pytest.raises(InputError, match=r"no\.png: image: cannot identify"):
        photos.prepare(splits, (photos.Files(np.array([str(broken)])),), None)
