"""A stand-in for molecules, without a download: the digits as graphs of their inked pixels.

It says nothing of chemistry. An atom is a pixel of scikit-learn's images, see
`samscope.data.digits`, that is at least half full; its kind is its place in the image, 0 to 63, for
a mean over the atoms of a graph knows no other; bonds join neighbours in a row or a column. The
classes are two, as those of molecules are: digits of straight strokes, and round ones.
"""

from pathlib import Path

import numpy as np

from samscope.data import digits
from samscope.data.digit_signals import COUNT
from samscope.data.mutagenicity import check

__all__ = ["check", "fetch"]

CLASSES = ((1, 4, 7), (0, 6, 8))
"""The digits of each; others are left out."""

INKED = 8
"""Of 16: the grey value from which on a pixel is an atom."""


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The first of these digits in the form of `samscope.data.mutagenicity.graphs`.

    Args:
        name: ``digit_graphs``.
        data_dir: not needed, nothing is downloaded.
    """
    found = digits.fetch("digits", data_dir)
    kept = np.flatnonzero(np.isin(found["y"], np.ravel(CLASSES)))[:COUNT]
    inked = found["x"][kept, ..., 0] >= INKED
    graph, row, column = np.nonzero(inked)
    atom = np.full(inked.shape, -1)
    atom[inked] = np.arange(len(graph))
    pairs = [(atom[:, :, :-1], atom[:, :, 1:]), (atom[:, :-1], atom[:, 1:])]
    bonds = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in pairs])
    bonds = bonds[(bonds >= 0).all(1)]
    return {
        "atoms": (row * inked.shape[2] + column).astype(np.uint8),
        "graph": graph.astype(np.int32),
        "bonds": np.unique(np.concatenate([bonds, bonds[:, ::-1]]), axis=0).astype(np.int32),
        "y": np.isin(found["y"][kept], CLASSES[1]).astype(np.uint8),
    }
