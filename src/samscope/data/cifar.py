"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), from a local ``.npz`` or by torchvision's download."""

from pathlib import Path

import numpy as np

from samscope.data import vision


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """``cifar10`` or ``cifar100``, see `samscope.data.vision.fetch`."""
    return vision.fetch(name.upper(), data_dir / f"{name}.npz", "N x 32 x 32 x 3")
