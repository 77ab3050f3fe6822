"""Heartbeats of the MIT-BIH arrhythmia database: 109,446 of 187 samples, in five classes.

Moody and Mark 2001 (IEEE Eng. Med. Biol. 20, 45), PhysioNet (Goldberger et al. 2000), cut into
beats at 125 Hz, scaled to [0, 1] and filled up with zeros by Kachuee et al. 2018
(arXiv:1805.00794), who published them as two CSVs on Kaggle: heartbeat, ``mitbih_train.csv`` and
``mitbih_test.csv``. Kaggle asks for a login, so nothing is downloaded here.
"""

from pathlib import Path

import numpy as np

from samscope.errors import InputError

SAMPLES = 187
CLASSES = "NSVFQ"
"""Normal, supraventricular, ventricular, fusion, other: the classes 0 to 4."""

FILES = ("mitbih_train.csv", "mitbih_test.csv")


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The arrays of the two CSVs in ``data_dir``, which have no header.

    Args:
        name: ``mitbih``.
        data_dir: where they are.

    Returns:
        ``x`` float32 [N, 187], ``y`` uint8 [N], ``is_test`` bool [N], and ``record`` uint8 [N]: 0,
        since the CSVs do not say whose beat it is.

    Raises:
        InputError: for a file that is missing or damaged, or see `check`.
    """
    tables = []
    for file in FILES:
        path = data_dir / file
        if not path.exists():
            allowed = (
                f"{' and '.join(FILES)} of Kaggle's heartbeat set in this folder, or {name}.npz"
            )
            raise InputError(path, "file", "(missing)", allowed)
        tables.append(_read(path))
    table = np.concatenate(tables)
    found = {
        "x": np.ascontiguousarray(table[:, :SAMPLES]),
        "y": table[:, SAMPLES].astype(np.uint8),
        "is_test": np.repeat([False, True], [len(t) for t in tables]),
        "record": np.zeros(len(table), dtype=np.uint8),
    }
    check(found, data_dir / f"{name}.npz")
    return found


def check(arrays: dict[str, np.ndarray], where: Path) -> None:
    """Refuse beats that are none.

    Raises:
        InputError: for samples that are not finite, or a class that is none or is in no split.
    """
    x, y = arrays["x"], arrays["y"]
    bad = ~np.isfinite(x).all(1)
    if bad.any():
        raise InputError(where, "x", f"not finite in beat {int(np.argmax(bad)) + 1}", "numbers")
    if y.max(initial=0) >= len(CLASSES):
        raise InputError(where, "y", int(y.max()), f"0 to {len(CLASSES) - 1}")
    for part, chosen in (("training", ~arrays["is_test"]), ("test", arrays["is_test"])):
        counts = np.bincount(y[chosen], minlength=len(CLASSES))
        if not counts.all():
            missing = CLASSES[int(np.argmin(counts))]
            raise InputError(where, "y", f"no {part} beat of class {missing}", "one of each class")


def _read(path: Path) -> np.ndarray:
    """A CSV, float32 [rows, 188]: samples, then the class."""
    try:
        table = np.loadtxt(path, dtype=np.float32, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise InputError(path, "row", found, f"{SAMPLES} samples and a class") from None
    if table.shape[1] != SAMPLES + 1:
        allowed = f"{SAMPLES + 1}: {SAMPLES} samples and a class"
        raise InputError(path, "columns", table.shape[1], allowed)
    y = table[:, SAMPLES]
    if not np.isin(y, np.arange(len(CLASSES))).all():
        line = int(np.argmin(np.isin(y, np.arange(len(CLASSES))))) + 1
        allowed = f"a class in the last column, 0 to {len(CLASSES) - 1}"
        raise InputError(path, f"line {line}", float(y[line - 1]), allowed)
    return table
