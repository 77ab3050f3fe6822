"""A data set cut into files small enough for a slow link to carry one by one.

The images, in order and whatever array they belong to, are the tiles of lossless mosaics
``<name>-000.webp``, ``<name>-001.webp``, ...; ``<name>-labels.npz`` holds the other arrays, and
``<name>-pieces.json`` says what belongs together, with a checksum of each file and of each array.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samscope.data import arrays as store
from samscope.data import prepare
from samscope.errors import InputError

PIECE_BYTES = 10_500_000
"""Size of a piece at most: CIFAR-100 makes ten."""

WEBP = {"lossless": True, "quality": 50, "method": 6}
"""CIFAR-100's 184 MB become 104 MB in 35 s. Quality 100 saves another 0.7 % for six times the time;
method 4 takes half the time and 0.5 % more. xz of the differences between pixels comes out at
16 % more and, after a prediction in two dimensions, at 0.6 % less, in three times the time.
"""

MAX_PIXELS = 1 << 26
"""Of a mosaic: below what Pillow takes for a decompression bomb, its sides below WebP's 16,383."""


def pack(
    name: str, data_dir: str | Path, out_dir: str | Path, piece_bytes: int = PIECE_BYTES
) -> list[Path]:
    """Write a data set to ``out_dir`` in pieces; one data set always gives the same bytes.

    That is for one version of libwebp: another may compress otherwise, to the same pixels.

    Args:
        name: of the data set, which is prepared where it is not there yet.
        data_dir: folder of ``<name>.npz``.
        out_dir: folder of the pieces.
        piece_bytes: size of a mosaic at most.

    Returns:
        The files to carry, the manifest last.

    Raises:
        InputError: as `samscope.data.prepare`; for images of several shapes or of neither 1 nor
            3 channels; for a size that not even one image fits.
    """
    source, out_dir = prepare(name, data_dir), Path(out_dir)
    known = json.loads(source.with_suffix(".json").read_text())["arrays"]
    with np.load(source) as file:
        arrays = {key: file[key] for key in file.files if key in known}
    shapes = {array.shape[1:] for array in arrays.values() if array.ndim == 4}
    if len(shapes) != 1 or next(iter(shapes))[2] not in (1, 3):
        found = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise InputError(source, "images", found, "one shape H x W x 1 or H x W x 3")

    out_dir.mkdir(parents=True, exist_ok=True)
    manifest, labels = out_dir / f"{name}-pieces.json", out_dir / f"{name}-labels.npz"
    manifest.unlink(missing_ok=True)
    images = {}
    stacked = np.concatenate([array for array in arrays.values() if array.ndim == 4])
    for index, (count, data) in enumerate(_pieces(stacked, piece_bytes)):
        path = out_dir / f"{name}-{index:03d}.webp"
        path.write_bytes(data)
        images[path.name] = count
    store.write(labels, {key: array for key, array in arrays.items() if array.ndim != 4})
    paths = [*(out_dir / file for file in images), labels]
    content = {
        "arrays": store.describe(arrays),
        "images": images,
        "files": {path.name: _sha256(path.read_bytes()) for path in paths},
    }
    manifest.write_text(json.dumps({**content, "sha256": _seal(content)}, indent=1) + "\n")
    return [*paths, manifest]


def unpack(name: str, folders: Iterable[str | Path], data_dir: str | Path) -> Path:
    """Put the pieces of a data set together to ``<data_dir>/<name>.npz`` and its manifest.

    Needs numpy and Pillow alone. A file there that holds the same is kept.

    Args:
        name: of the data set.
        folders: where the pieces lie, in any distribution; of several copies a whole one is taken.
        data_dir: folder of ``<name>.npz``.

    Returns:
        The path of the ``.npz``, byte for byte the one packed where `store.write` wrote that.

    Raises:
        InputError: for an absent or damaged manifest, or manifests of several packs; naming every
            piece that is missing or damaged; where another file is there.
    """
    places, path = [Path(folder) for folder in folders], Path(data_dir) / f"{name}.npz"
    manifest = _manifest(name, places)
    if path.exists():
        if _holds(path, manifest["arrays"]):
            return path
        allowed = "a folder without it; delete it, and its manifest, to put the pieces in its place"
        raise InputError(f"data {name}", "file", str(path), allowed)
    paths = _find(name, places, manifest["files"])
    shapes = {key: entry["shape"] for key, entry in manifest["arrays"].items()}
    tile = next(shape[1:] for shape in shapes.values() if len(shape) == 4)
    tiles = [_tiles(paths[file], tile)[:count] for file, count in manifest["images"].items()]
    stacked, start, arrays = np.concatenate(tiles), 0, {}
    with np.load(paths[f"{name}-labels.npz"]) as labels:
        for key, shape in shapes.items():
            if len(shape) == 4:
                arrays[key] = stacked[start : start + shape[0]]
                start += shape[0]
            else:
                arrays[key] = labels[key]
    for key, found in store.describe(arrays).items():
        if found != manifest["arrays"][key]:
            value = f"{found['shape']}, sha256 {found['sha256'][:12]}"
            raise InputError(f"{name}-pieces.json", key, value, "the array that was packed")
    store.write(path, arrays)
    store.write_manifest(path, arrays)
    return path


def _holds(path: Path, arrays: dict[str, Any]) -> bool:
    """Whether a file holds these arrays, as `store.describe` tells them."""
    try:
        with np.load(path) as file:
            return store.describe({key: file[key] for key in arrays}) == arrays
    except Exception:  # whatever a file that is none makes NumPy raise
        return False


def _pieces(images: np.ndarray, piece_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Mosaics of consecutive images of about equal number, each with that number."""
    if piece_bytes < 1:
        raise InputError("pack", "piece_bytes", piece_bytes, "a number of bytes above 0")
    # What an image takes is learnt from a thousand; a piece that comes out too large after all is
    # cut again, with all that follow it.
    sample = images[:: max(1, len(images) // 1000)]
    expected = len(images) / len(sample) * len(_webp(sample))
    left = math.ceil(max(expected / piece_bytes, images[..., 0].size / MAX_PIXELS))
    start = 0
    while start < len(images):
        count = math.ceil((len(images) - start) / left)
        data = _webp(images[start : start + count])
        if len(data) <= piece_bytes:
            yield count, data
            start, left = start + count, left - 1
        elif count > 1:
            left = math.ceil(left * len(data) / piece_bytes)
        else:
            raise InputError("pack", "piece_bytes", piece_bytes, f"at least {len(data)} bytes")


def _webp(images: np.ndarray) -> bytes:
    """A lossless mosaic of images, row by row, about square, the last row filled up with black."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, height, width, channels), np.uint8)
    tiles[:count] = images
    grid = tiles.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    mosaic = grid.reshape(rows * height, columns * width, channels)
    file = io.BytesIO()
    # WebP has no grey: three equal channels cost it next to nothing.
    Image.fromarray(mosaic.repeat(3 // channels, axis=2)).save(file, "WEBP", **WEBP)
    return file.getvalue()


def _tiles(path: Path, tile: list[int]) -> np.ndarray:
    """The images of a mosaic, uint8 [N, H, W, C], and the black ones that fill it up."""
    height, width, channels = tile
    with Image.open(path) as image:
        mosaic = np.asarray(image)[..., :channels]
    rows, columns = mosaic.shape[0] // height, mosaic.shape[1] // width
    grid = mosaic.reshape(rows, height, columns, width, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(-1, height, width, channels)


def _manifest(name: str, folders: list[Path]) -> dict[str, Any]:
    """The manifest in the folders, without its seal; copies of it may lie in several."""
    file = f"{name}-pieces.json"
    paths = [folder / file for folder in folders if (folder / file).is_file()]
    if not paths:
        raise InputError(_shown(folders), "pieces", f"without {file}", "the folders of a pack")
    intact = {}
    for path in paths:
        try:
            content = json.loads(path.read_text())
            seal = content.pop("sha256")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if seal == _seal(content):
            intact[seal] = content
    if not intact:
        raise InputError(_shown(paths), "content", "damaged", "the manifest as it was packed")
    if len(intact) > 1:
        raise InputError(_shown(paths), "content", "of different packs", "the pieces of one pack")
    return next(iter(intact.values()))


def _find(name: str, folders: list[Path], files: dict[str, str]) -> dict[str, Path]:
    """A whole copy of each file; all that have none are named in one error."""
    found: dict[str, Path] = {}
    faults: dict[str, list[str]] = {"missing": [], "damaged": []}
    for file, sha256 in files.items():
        copies = [folder / file for folder in folders if (folder / file).is_file()]
        whole = next((path for path in copies if _sha256(path.read_bytes()) == sha256), None)
        if whole:
            found[file] = whole
        else:
            faults["damaged" if copies else "missing"].append(file)
    if any(faults.values()):
        value = "; ".join(f"{fault} {', '.join(names)}" for fault, names in faults.items() if names)
        allowed = f"the {len(files)} files of {name}-pieces.json, as they were packed"
        raise InputError(_shown(folders), "pieces", value, allowed)
    return found


def _shown(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _seal(content: dict[str, Any]) -> str:
    """Checksum of the manifest itself: past it, all that is read was written by `pack`."""
    return _sha256(json.dumps(content).encode())
