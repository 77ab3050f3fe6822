"""A data set in pieces: it comes back byte for byte, and what did not arrive is named."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from samscope import data
from samscope.data import pieces, prepare
from samscope.data.pieces import pack, unpack
from samscope.errors import InputError

SIZE = {"digits": 15_000, "cifar10": 40_000}


@pytest.fixture(scope="module")
def source(data_dir, tmp_path_factory):
    """The digits, and colour images that are neither square nor a whole number of rows."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copy(data_dir / "digits.npz", folder)
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 401), ("test", 96)):
        smooth = random.normal(0, 4, (count, 12, 17, 3)).cumsum(1).cumsum(2)
        arrays[f"x_{part}"] = smooth.astype(np.int64).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count, dtype=np.uint8) % 10
    np.savez(folder / "cifar10.npz", **arrays)
    for name in SIZE:
        prepare(name, folder)
    return folder


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    for name, size in SIZE.items():
        pack(name, source, folder, size)
    return folder


@pytest.fixture
def digits(packed, tmp_path):
    """A folder of its own with the pieces of the digits."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for path in packed.glob("digits-*"):
        shutil.copy(path, folder)
    return folder


def change(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


# There and back


@pytest.mark.parametrize("name", SIZE)
def test_a_data_set_comes_back_byte_for_byte(source, packed, tmp_path, name):
    mosaics = sorted(packed.glob(f"{name}-*.webp"))
    assert len(mosaics) >= 3
    assert all(path.stat().st_size <= SIZE[name] for path in mosaics)
    path = unpack(name, [packed], tmp_path)
    assert path == tmp_path / f"{name}.npz"
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.npz", f"{name}.json"}
    for file in (f"{name}.npz", f"{name}.json"):
        assert (tmp_path / file).read_bytes() == (source / file).read_bytes()


def test_a_pack_is_deterministic_and_lists_its_files(source, packed, tmp_path):
    files = pack("cifar10", source, tmp_path, SIZE["cifar10"])
    assert {path.name for path in files} == {path.name for path in packed.glob("cifar10-*")}
    assert files[-1].name == "cifar10-pieces.json"
    for path in files:
        assert path.read_bytes() == (packed / path.name).read_bytes()


def test_pieces_are_about_equal(packed):
    images = json.loads((packed / "cifar10-pieces.json").read_text())["images"]
    assert sum(images.values()) == 497
    assert max(images.values()) - min(images.values()) <= 0.1 * max(images.values())


def test_a_piece_stays_below_what_pillow_opens(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "MAX_PIXELS", 150 * 12 * 17)
    pack("cifar10", source, tmp_path, 10**9)
    images = json.loads((tmp_path / "cifar10-pieces.json").read_text())["images"]
    assert sum(images.values()) == 497
    assert len(images) == 4
    assert max(images.values()) <= 150


def test_pieces_of_other_sizes_than_expected_are_cut_again(source, tmp_path):
    # A sample of a thousand is every second image, and these are black.
    with np.load(source / "digits.npz") as file:
        x, y = np.tile(file["x"], (2, 1, 1, 1))[:2000], np.zeros(2000, np.uint8)
    x[::2] = 0
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    files = pack("digits", tmp_path, tmp_path / "pieces", 5_000)
    assert all(path.stat().st_size <= 5_000 for path in files[:-2])
    unpack("digits", [tmp_path / "pieces"], tmp_path / "back")
    assert (tmp_path / "back/digits.npz").read_bytes() == (tmp_path / "digits.npz").read_bytes()


def test_unpacking_needs_numpy_and_pillow_alone(source, digits, tmp_path):
    script = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {*sys.stdlib_module_names, "numpy", "PIL", "samscope"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Bare())
from samscope.data.pieces import unpack
unpack("digits", sys.argv[1:2], sys.argv[2])
"""
    subprocess.run([sys.executable, "-c", script, digits, tmp_path / "bare"], check=True)
    assert (tmp_path / "bare/digits.npz").read_bytes() == (source / "digits.npz").read_bytes()


# What arrives


def test_pieces_may_arrive_in_several_folders(source, digits, tmp_path):
    folders = [tmp_path / f"day{i}" for i in range(3)]
    for folder in folders:
        folder.mkdir()
    for index, path in enumerate(sorted(digits.iterdir())):
        path.rename(folders[index % 3] / path.name)
    unpack("digits", folders, tmp_path)
    assert (tmp_path / "digits.npz").read_bytes() == (source / "digits.npz").read_bytes()


def test_everything_missing_or_damaged_is_named_in_one_line(packed, digits, tmp_path):
    change(digits / "digits-001.webp", 1000)
    whole = (digits / "digits-002.webp").read_bytes()
    (digits / "digits-002.webp").write_bytes(whole[:-1])
    (digits / "digits-000.webp").unlink()
    (digits / "digits-labels.npz").unlink()
    with pytest.raises(InputError) as error:
        unpack("digits", [digits, tmp_path / "nothing"], tmp_path / "data")
    count = len(list(packed.glob("digits-*"))) - 1
    assert str(error.value) == (
        f"{digits}, {tmp_path / 'nothing'}: pieces: missing digits-000.webp, digits-labels.npz; "
        "damaged digits-001.webp, digits-002.webp is not allowed; "
        f"allowed: the {count} files of digits-pieces.json, as they were packed"
    )
    assert not (tmp_path / "data").exists()


def test_of_several_copies_the_whole_one_is_taken(source, packed, digits, tmp_path):
    change(digits / "digits-001.webp", 1000)
    change(digits / "digits-pieces.json", 30)
    unpack("digits", [digits, packed], tmp_path)
    assert (tmp_path / "digits.npz").read_bytes() == (source / "digits.npz").read_bytes()


def test_a_piece_of_another_pack_is_damaged(source, digits, tmp_path):
    pack("digits", source, tmp_path / "other", 12_000)
    shutil.copy(tmp_path / "other/digits-000.webp", digits)
    with pytest.raises(InputError, match=r"pieces: damaged digits-000\.webp is not"):
        unpack("digits", [digits], tmp_path)
    with pytest.raises(InputError, match=r"content: of different packs is not allowed"):
        unpack("digits", [digits, tmp_path / "other"], tmp_path)


def test_a_manifest_that_is_absent_or_damaged_is_named(digits, tmp_path):
    whole = (digits / "digits-pieces.json").read_text()
    for text in (whole[:-20], whole.replace('"uint8"', '"int8"', 1), "[]", "{}"):
        (digits / "digits-pieces.json").write_text(text)
        with pytest.raises(InputError, match=r"digits-pieces\.json: content: damaged"):
            unpack("digits", [digits], tmp_path)
    (digits / "digits-pieces.json").unlink()
    with pytest.raises(InputError, match=r"pieces: without digits-pieces\.json is not allowed"):
        unpack("digits", [digits], tmp_path)


def test_pixels_are_checked_against_what_was_packed(digits, tmp_path):
    """As if libwebp had decoded one pixel otherwise: all files are whole, the array is not."""
    path = digits / "digits-000.webp"
    pixels = np.array(Image.open(path))
    pixels[3, 4] += 1
    Image.fromarray(pixels).save(path, lossless=True)
    manifest = json.loads((digits / "digits-pieces.json").read_text())
    manifest.pop("sha256")
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    (digits / "digits-pieces.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"digits-pieces\.json: x: \[1797, 8, 8, 1\], sha256"):
        unpack("digits", [digits], tmp_path)


# What cannot be packed


@pytest.mark.parametrize(("size", "allowed"), [(20, r"at least \d+ bytes"), (0, "a number")])
def test_a_size_that_fits_no_image_is_refused(source, tmp_path, size, allowed):
    with pytest.raises(InputError, match=f"piece_bytes: {size} is not allowed; allowed: {allowed}"):
        pack("digits", source, tmp_path, size)


@pytest.mark.parametrize("shapes", [((8, 8, 1), (8, 9, 1)), ((8, 8, 2), (8, 8, 2))])
def test_images_that_make_no_mosaic_are_refused(tmp_path, shapes, monkeypatch):
    kinds = {"x_train": "uint8 N x H x W x C", "x_test": "uint8 N x I x J x D"}
    kinds |= {"y_train": "uint8 N", "y_test": "uint8 N"}
    monkeypatch.setitem(data.SOURCES, "cifar10", data.Source("cifar", kinds, {}))
    arrays = {"y_train": np.zeros(5, np.uint8), "y_test": np.zeros(5, np.uint8)}
    for part, shape in zip(("train", "test"), shapes, strict=True):
        arrays[f"x_{part}"] = np.zeros((5, *shape), np.uint8)
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(InputError, match=r"cifar10\.npz: images: .* allowed: one shape H x W x 1"):
        pack("cifar10", tmp_path, tmp_path / "pieces")
    assert not (tmp_path / "pieces").exists()


def test_another_file_that_is_there_is_not_replaced(digits, tmp_path):
    path = unpack("digits", [digits], tmp_path)
    before = path.stat().st_mtime_ns
    assert unpack("digits", [digits], tmp_path) == path
    assert path.stat().st_mtime_ns == before
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "y": arrays["y"][::-1]})
    other = path.read_bytes()
    for held in (other, b"no archive"):
        path.write_bytes(held)
        with pytest.raises(InputError, match=r"data digits: file: .*digits.npz is not allowed"):
            unpack("digits", [digits], tmp_path)
        assert path.read_bytes() == held
