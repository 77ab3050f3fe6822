"""MNIST (LeCun, Cortes and Burges 1998), from a local ``.npz`` or by torchvision's download."""

from pathlib import Path

import numpy as np

from samscope.errors import InputError


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The set as torchvision downloads it: ``x_train``, ``y_train``, ``x_test``, ``y_test``, uint8.

    Args:
        name: ``mnist``.
        data_dir: where torchvision puts its files.

    Raises:
        InputError: when it cannot be downloaded.
    """
    arrays = {}
    try:
        from torchvision.datasets import MNIST

        for part, train in (("train", True), ("test", False)):
            images = MNIST(str(data_dir), train=train, download=True)
            arrays[f"x_{part}"] = np.asarray(images.data, dtype=np.uint8)[..., None]
            arrays[f"y_{part}"] = np.asarray(images.targets, dtype=np.uint8)
    except (OSError, RuntimeError, ImportError) as error:
        raise InputError(
            data_dir / f"{name}.npz",
            "data set",
            f"absent, and torchvision cannot download it ({error})",
            "this file with uint8 x_train, y_train, x_test, y_test (images N x 28 x 28 x 1), "
            "or a network",
        ) from error
    return arrays
