"""scikit-learn's digits: 1,797 real 8 x 8 images of handwritten digits, embedded in a dependency.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), test part.
"""

from pathlib import Path

import numpy as np


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The set as scikit-learn ships it: ``x`` uint8 [1797, 8, 8, 1], ``y`` uint8 [1797].

    Args:
        name: ``digits``.
        data_dir: not needed, nothing is downloaded.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"x": digits.images[..., None].astype(np.uint8), "y": digits.target.astype(np.uint8)}
