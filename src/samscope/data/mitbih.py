"""Heartbeats of the MIT-BIH arrhythmia database: 109,446 of 187 samples, in five classes.

Moody and Mark 2001 (IEEE Eng. Med. Biol. 20, 45), PhysioNet (Goldberger et al. 2000), cut into
beats at 125 Hz, scaled to [0, 1] and filled up with zeros by Kachuee et al. 2018
(arXiv:1805.00794), who published them as two CSVs on Kaggle: heartbeat, ``mitbih_train.csv`` and
``mitbih_test.csv``. Kaggle asks for a login, so they are taken where a user has put them; else the
beats are cut anew out of the database itself, which is another set: see `samscope.data.mitdb`.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from samscope.data import mitdb
from samscope.data.tables import table
from samscope.errors import InputError

SAMPLES = mitdb.SAMPLES
CLASSES = "".join(mitdb.CODES)
"""Normal, supraventricular, ventricular, fusion, other: the classes 0 to 4."""

FILES = {"mitbih_train.csv": "training", "mitbih_test.csv": "test"}


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The arrays of Kaggle's two CSVs in ``data_dir``, or else of the records in ``mitdb`` there.

    Args:
        name: ``mitbih``.
        data_dir: where they are, the CSVs as they are or packed by gzip; records that are not
            there are downloaded to it.

    Returns:
        ``x`` float32 [N, 187], ``y`` uint8 [N], ``is_test`` bool [N], and ``record`` uint8 [N]: the
        number of the record, 100 to 234; 0 of the CSVs, which do not say whose beat it is.

    Raises:
        InputError: for a file that is missing or damaged, or a set that cannot be downloaded; or
            see `check`.
    """
    files = {part: _place(data_dir / file) for file, part in FILES.items()}
    if not any(path.exists() for path in files.values()):
        where = data_dir / f"{name}.npz"
        kaggle = f"{' and '.join(FILES)} of Kaggle's heartbeat set in {data_dir}"
        instead = f"all records of MIT-BIH 1.0.0 in {data_dir / 'mitdb'}, {kaggle}, {where}"
        found = mitdb.fetch(data_dir / "mitdb", instead)
        check(found, where)
        return found
    for path in files.values():
        if not path.exists():
            raise InputError(path, "file", "(missing)", f"{' and '.join(FILES)}, or neither")
    tables = [_read(path, mitdb.COUNTS[part]) for part, path in files.items()]
    beats = np.concatenate(tables)
    return {
        "x": np.ascontiguousarray(beats[:, :SAMPLES]),
        "y": beats[:, SAMPLES].astype(np.uint8),
        "is_test": np.repeat([False, True], [len(t) for t in tables]),
        "record": np.zeros(len(beats), dtype=np.uint8),
    }


def check(arrays: dict[str, np.ndarray], where: Path) -> None:
    """Refuse beats that are none.

    Raises:
        InputError: for samples that are not from 0 to 1, or a class that is none or is in no split.
    """
    x, y = arrays["x"], arrays["y"]
    bad = ~((x >= 0) & (x <= 1))
    if bad.any():
        beat, sample = (int(at[0]) for at in np.nonzero(bad))
        raise InputError(where, "x", f"{x[beat, sample]} in beat {beat + 1}", "numbers from 0 to 1")
    if y.max(initial=0) >= len(CLASSES):
        raise InputError(where, "y", int(y.max()), f"0 to {len(CLASSES) - 1}")
    for part, chosen in (("training", ~arrays["is_test"]), ("test", arrays["is_test"])):
        counts = np.bincount(y[chosen], minlength=len(CLASSES))
        if not counts.all():
            missing = CLASSES[int(np.argmin(counts))]
            raise InputError(where, "y", f"no {part} beat of class {missing}", "one of each class")


def _place(path: Path) -> Path:
    """The file itself, or packed by gzip where there is that alone."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _read(path: Path, counts: tuple[int, ...]) -> np.ndarray:
    """A CSV, float32 [rows, 188]: samples, then the class, so many beats of each."""
    allowed = f"{SAMPLES} samples and a class for each beat, apart by commas, and no header"
    try:
        found = table(lambda: _lines(path), path, SAMPLES + 1, np.float32, allowed)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        allowed = f"a text of {allowed}, or that packed by gzip"
        raise InputError(path, "content", f"damaged ({error})", allowed) from None
    x, y = found[:, :SAMPLES], found[:, SAMPLES]
    known = np.isin(y, np.arange(len(CLASSES)))
    if not known.all():
        line = int(np.argmin(known))
        allowed = f"a class in the last column, 0 to {len(CLASSES) - 1}"
        raise InputError(path, f"line {line + 1}", float(y[line]), allowed)
    outside = (x < 0) | (x > 1)
    if outside.any():
        line, column = (int(at[0]) for at in np.nonzero(outside))
        shown = f"{x[line, column]} in column {column + 1}"
        raise InputError(path, f"line {line + 1}", shown, "samples from 0 to 1")
    beats = tuple(np.bincount(y.astype(np.int64), minlength=len(CLASSES)).tolist())
    if beats != counts:  # one that breaks off at the end of a line
        raise InputError(path, "beats", mitdb.told(beats), f"{mitdb.told(counts)}, as Kaggle has")
    return found


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text, packed by gzip or not."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opened = gzip.open if packed else open
    with opened(path, "rt", encoding="utf-8-sig") as lines:
        yield from lines
