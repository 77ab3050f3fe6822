"""Sets that torchvision downloads: from a local ``.npz``, or by its download."""

from pathlib import Path

import numpy as np

from samscope.errors import InputError


def fetch(source: str, path: Path, shape: str) -> dict[str, np.ndarray]:
    """The set as torchvision downloads it: ``x_train``, ``y_train``, ``x_test``, ``y_test``, uint8.

    Args:
        source: name of a class of ``torchvision.datasets``.
        path: of the ``.npz`` that may be there in its place; torchvision's files go beside it.
        shape: of its images, in words.

    Raises:
        InputError: when it cannot be downloaded.
    """
    arrays = {}
    try:
        from torchvision import datasets

        for part, train in (("train", True), ("test", False)):
            images = getattr(datasets, source)(str(path.parent), train=train, download=True)
            x = np.asarray(images.data, dtype=np.uint8)
            arrays[f"x_{part}"] = x if x.ndim == 4 else x[..., None]
            arrays[f"y_{part}"] = np.asarray(images.targets, dtype=np.uint8)
    except (OSError, RuntimeError, ImportError) as error:
        raise InputError(
            path,
            "data set",
            f"absent, and torchvision cannot download it ({error})",
            f"this file with uint8 x_train, y_train, x_test, y_test (images {shape}), or a network",
        ) from error
    return arrays
