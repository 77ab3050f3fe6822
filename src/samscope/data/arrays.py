"""Data sets on disk: ``<data_dir>/<name>.npz`` and a manifest that holds its checksums."""

import hashlib
import json
import os
from collections.abc import Mapping
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
        np.savez(aside, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_manifest(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``<name>.json`` beside ``path``: what `read` checks the arrays against."""
    write_json(path.with_suffix(".json"), {"name": path.stem, "arrays": describe(arrays)})


def write_json(manifest: Path, told: Mapping[str, Any]) -> None:
    """Write a manifest: aside first, so that no reader sees half of it."""
    aside = manifest.with_name(f".{manifest.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
        os.replace(aside, manifest)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays of ``path``, whole and as the manifest beside it (if there is one) says.

    Args:
        path: of the ``.npz``.
        kinds: of the arrays, see `samscope.data.Source.arrays`.

    Raises:
        InputError: for a damaged file, a missing array, one of another type or shape, or a
            checksum that differs.
    """
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in kinds}
    # What a truncated or foreign zip raises depends on where it is cut.
    except Exception as error:
        allowed = "a whole file with the arrays " + ", ".join(kinds)
        raise InputError(path, "content", f"damaged ({error!r})", allowed) from error
    lengths: dict[str, int] = {}
    for key, array in arrays.items():
        dtype, _, shape = kinds[key].partition(" ")
        axes = shape.split(" x ")
        known = [int(axis) if axis.isdigit() else lengths.get(axis, axis) for axis in axes]
        fits = array.dtype == dtype and array.ndim == len(axes)
        if not fits or any(isinstance(k, int) and k != n for k, n in zip(known, array.shape)):  # noqa: B905
            found = f"{array.dtype} {' x '.join(map(str, array.shape))}"
            raise InputError(path, key, found, f"{dtype} {' x '.join(map(str, known))}")
        lengths |= dict(zip(axes, array.shape, strict=True))
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
