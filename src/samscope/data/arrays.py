"""Data sets on disk: ``<data_dir>/<name>.npz`` and a manifest that holds its checksums."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from samscope.errors import InputError


def describe(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Shape, dtype and SHA-256 of the bytes of each array."""
    return {
        key: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
        }
        for key, array in arrays.items()
    }


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays to ``path`` (``.npz``): aside first, so that no reader sees half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(aside, **arrays)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_manifest(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``<name>.json`` beside ``path``: what `read` checks the arrays against."""
    manifest = path.with_suffix(".json")
    aside = manifest.with_name(f".{manifest.name}.{os.getpid()}.tmp")
    try:
        text = json.dumps({"name": path.stem, "arrays": describe(arrays)}, indent=1, sort_keys=True)
        aside.write_text(text + "\n")
        os.replace(aside, manifest)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of ``path``, whole and as the manifest beside it (if there is one) says.

    Raises:
        InputError: for a damaged file, a missing array, images without a label or labels without
            an image, or a checksum that differs.
    """
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in keys}
    # What a truncated or foreign zip raises depends on where it is cut.
    except Exception as error:
        allowed = "a whole file with the arrays " + ", ".join(keys)
        raise InputError(path, "content", f"damaged ({error!r})", allowed) from error
    for key, array in arrays.items():
        shape = "N x H x W x C" if key.startswith("x") else "N"
        if array.dtype != np.uint8 or array.ndim != len(shape.split(" x ")):
            found = f"{array.dtype} {list(array.shape)}"
            raise InputError(path, key, found, f"uint8, {shape}")
    for key in [key for key in keys if key.startswith("x")]:
        images, labels = len(arrays[key]), len(arrays[f"y{key[1:]}"])
        if images != labels:
            allowed = f"{images}, one for each image of {key}"
            raise InputError(path, f"y{key[1:]}", f"{labels} labels", allowed)
    manifest = path.with_suffix(".json")
    if manifest.exists():
        _check(path, manifest, arrays)
    return arrays


def _check(path: Path, manifest: Path, arrays: dict[str, np.ndarray]) -> None:
    try:
        expected = json.loads(manifest.read_text())["arrays"]
    except (ValueError, KeyError, TypeError) as error:
        allowed = "a manifest; delete it to do without"
        raise InputError(manifest, "content", "damaged", allowed) from error
    for key, found in describe(arrays).items():
        if found != expected.get(key):
            raise InputError(
                path,
                key,
                f"sha256 {found['sha256'][:12]}",
                f"the array of {manifest.name}; delete both files to prepare them anew",
            )
