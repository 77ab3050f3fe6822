"""Heartbeats of the MIT-BIH arrhythmia database: 109,446 of 187 samples, in five classes.

Moody and Mark 2001 (IEEE Eng. Med. Biol. 20, 45), PhysioNet (Goldberger et al. 2000), cut into
beats at 125 Hz, scaled to [0, 1] and filled up with zeros by Kachuee et al. 2018
(arXiv:1805.00794), who published them as two CSVs on Kaggle: heartbeat, ``mitbih_train.csv`` and
``mitbih_test.csv``. Kaggle asks for a login, so they are taken where a user has put them; else the
beats are cut anew out of the database itself, which is another set: see `samscope.data.mitdb`.
"""

from pathlib import Path

import numpy as np

from samscope.data import mitdb
from samscope.errors import InputError

SAMPLES = mitdb.SAMPLES
CLASSES = "".join(mitdb.CODES)
"""Normal, supraventricular, ventricular, fusion, other: the classes 0 to 4."""

FILES = {"mitbih_train.csv": "training", "mitbih_test.csv": "test"}


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The arrays of Kaggle's two CSVs in ``data_dir``, or else of the records in ``mitdb`` there.

    Args:
        name: ``mitbih``.
        data_dir: where they are; records that are not are downloaded to it.

    Returns:
        ``x`` float32 [N, 187], ``y`` uint8 [N], ``is_test`` bool [N], and ``record`` uint8 [N]: the
        number of the record, 100 to 234; 0 of the CSVs, which do not say whose beat it is.

    Raises:
        InputError: for a file that is missing or damaged, or a set that cannot be downloaded; or
            see `check`.
    """
    where = data_dir / f"{name}.npz"
    if not any((data_dir / file).exists() for file in FILES):
        kaggle = f"{' and '.join(FILES)} of Kaggle's heartbeat set in {data_dir}"
        instead = f"all records of MIT-BIH 1.0.0 in {data_dir / 'mitdb'}, {kaggle}, {where}"
        found = mitdb.fetch(data_dir / "mitdb", instead)
        check(found, where)
        return found
    tables = [_read(data_dir / file) for file in FILES]
    table = np.concatenate(tables)
    found = {
        "x": np.ascontiguousarray(table[:, :SAMPLES]),
        "y": table[:, SAMPLES].astype(np.uint8),
        "is_test": np.repeat([False, True], [len(t) for t in tables]),
        "record": np.zeros(len(table), dtype=np.uint8),
    }
    check(found, where)
    # Sorted by class, a file that breaks off at the end of a line lacks beats of class Q alone.
    for (file, part), read in zip(FILES.items(), tables, strict=True):
        whole = sum(mitdb.COUNTS[part])
        if len(read) != whole:
            raise InputError(data_dir / file, "rows", len(read), f"{whole}, as Kaggle's file has")
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
    allowed = f"a line of {SAMPLES} samples and a class for each beat, and no header"
    if not path.exists():
        raise InputError(path, "file", "(missing)", f"{' and '.join(FILES)}, or neither")
    try:
        with path.open(errors="replace") as lines:
            if not lines.readline().strip():
                raise ValueError("the first line is empty")
        table = np.loadtxt(path, dtype=np.float32, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(path, "row", str(error).splitlines()[0], allowed) from None
    if table.shape[1] != SAMPLES + 1:
        raise InputError(path, "columns", table.shape[1], f"{SAMPLES + 1}: {allowed}")
    y = table[:, SAMPLES]
    known = np.isin(y, np.arange(len(CLASSES)))
    if not known.all():
        line = int(np.argmin(known)) + 1
        allowed = f"a class in the last column, 0 to {len(CLASSES) - 1}"
        raise InputError(path, f"line {line}", float(y[line - 1]), allowed)
    return table
