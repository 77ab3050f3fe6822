"""MNIST (LeCun, Cortes and Burges 1998), from a local ``.npz`` or by torchvision's download."""

from pathlib import Path

import numpy as np

from samscope.data import vision


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """``mnist``, see `samscope.data.vision.fetch`."""
    return vision.fetch("MNIST", data_dir / f"{name}.npz", "N x 28 x 28 x 1")
