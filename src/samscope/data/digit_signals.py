"""A stand-in for heartbeats, without a download: the digits, each read as 64 samples, row by row.

It says nothing of hearts. Its classes are the ten digits, its samples the grey values of
scikit-learn's images, see `samscope.data.digits`, scaled to [0, 1] as heartbeats are.
"""

from pathlib import Path

import numpy as np

from samscope.data import digits
from samscope.errors import InputError

COUNT = 1000
"""Digits, the first of the set: the test of each epoch costs a quick run as much as its steps."""

TRAINING = 2 / 3
"""Share of them, in the order of the set; the others are the test set."""


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The digits in the form of `samscope.data.mitbih`.

    Args:
        name: ``digit_signals``.
        data_dir: not needed, nothing is downloaded.

    Returns:
        ``x`` float32 [1000, 64], ``y`` uint8 [1000], ``is_test`` bool [1000], the last third, and
        ``record`` uint8 [1000]: 0, since the set does not say who wrote a digit.
    """
    found = digits.fetch("digits", data_dir)
    return {
        "x": found["x"][:COUNT].reshape(COUNT, -1).astype(np.float32) / 16,
        "y": found["y"][:COUNT],
        "is_test": np.arange(COUNT) >= round(TRAINING * COUNT),
        "record": np.zeros(COUNT, dtype=np.uint8),
    }


def check(arrays: dict[str, np.ndarray], where: Path) -> None:
    """Refuse signals that are none.

    Raises:
        InputError: for samples that are no grey values.
    """
    bad = ~((arrays["x"] >= 0) & (arrays["x"] <= 1)).all(1)
    if bad.any():
        raise InputError(where, "x", f"outside in signal {int(np.argmax(bad)) + 1}", "0 to 1")
