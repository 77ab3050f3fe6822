"""Heartbeats cut out of the records of the MIT-BIH arrhythmia database, as PhysioNet has them.

48 records of half an hour, two leads at 360 Hz, each beat marked at its R wave and named by two
cardiologists: version 1.0.0, ODC-By 1.0; Moody and Mark 2001 (IEEE Eng. Med. Biol. 20, 45),
Goldberger et al. 2000 (Circulation 101, e215).

Kachuee et al. 2018 (arXiv:1805.00794) made Kaggle's heartbeat set of them: lead II resampled
to 125 Hz, in windows of 10 s scaled to [0, 1]; a beat is what follows an R wave, 1.2 median
distances of R waves long, filled up with zeros to 187 samples; classes as AAMI EC57 has them. We
know of no code of theirs, and Kaggle's rows do not say which beat they are. So what is made here is
"MIT-BIH, Kaggle-style protocol, re-derived": as many beats of each class in each part, other
windows, another split. By interpretation,

- R waves are the annotated ones, and each beat has its own length: 1.2 of the distance to the next
  R wave, at most 187 samples, so that the last beat of a record is none;
- a sample is linear between the two beside it, rounded to the converter's unit;
- each beat is scaled by its own lowest and highest sample, before the zeros;
- the lead is MLII, and the first one of records 102 and 104, which have none;
- test beats are drawn from each class, as many as Kaggle's test file has: patients are in both.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samscope.data import wfdb_files
from samscope.data.download import bring
from samscope.errors import InputError

URL = "https://physionet.org/files/mitdb/1.0.0/"

RECORDS = (
    *(100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 111, 112, 113, 114, 115, 116),
    *(117, 118, 119, 121, 122, 123, 124, 200, 201, 202, 203, 205, 207, 208, 209, 210),
    *(212, 213, 214, 215, 217, 219, 220, 221, 222, 223, 228, 230, 231, 232, 233, 234),
)

KINDS = ("hea", "dat", "atr")
"""Files of a record: header, signals, annotations."""

SUMS = "SHA256SUMS.txt"
"""The file beside them that holds the SHA-256 of each."""

CODES = {
    "N": (1, 2, 3, 34, 11),
    "S": (8, 4, 7, 9),
    "V": (5, 10),
    "F": (6,),
    "Q": (12, 38, 13),
}
"""Annotations of each class: N, L, R, e, j; A, a, J, S; V, E; F; /, f, Q (paper's table 1)."""

COUNTS = {"training": (72471, 2223, 5788, 641, 6431), "test": (18118, 556, 1448, 162, 1608)}
"""Beats of each class in Kaggle's two files."""

SAMPLES = 187

STEP = 360 / 125
"""Samples of a record in one of a beat."""


def fetch(folder: Path, instead: str) -> dict[str, np.ndarray]:
    """The beats of all records in ``folder``; what is not there is downloaded to it.

    Args:
        folder: of ``100.hea``, ``100.dat``, ``100.atr``, ``101.hea`` and so on.
        instead: what else a user can bring, for the error where that fails.

    Returns:
        ``x`` float32 [N, 187], ``y`` uint8 [N], ``record`` uint8 [N], the number of the record each
        is from, and ``is_test`` bool [N].

    Raises:
        InputError: for a file that is damaged or cannot be downloaded, or for other beats than
            `COUNTS` says.
    """
    complete(folder, instead)
    x, y = zip(*(beats(folder, record) for record in RECORDS), strict=True)
    classes = np.concatenate(y)
    found = np.bincount(classes, minlength=len(CODES)).tolist()
    whole = np.sum(list(COUNTS.values()), axis=0).tolist()
    if found != whole:
        raise InputError(folder, "beats", told(found), told(whole))
    return {
        "x": np.concatenate(x),
        "y": classes,
        "record": np.repeat(np.array(RECORDS, dtype=np.uint8), list(map(len, y))),
        "is_test": _drawn(classes, COUNTS["test"]),
    }


def told(counts: Sequence[int]) -> str:
    """``5 N, 2 S, ...``: beats of each class."""
    return ", ".join(f"{n} {c}" for n, c in zip(counts, CODES, strict=True))


def complete(folder: Path, instead: str) -> None:
    """Check the files of the records against `SUMS`, and download those that are not there.

    A file comes whole or not at all, so a download that broke off goes on where it was. Where all
    are there but `SUMS`, nothing is asked of the network: headers hold checksums of the signals.

    Raises:
        InputError: for a file that is not the published one, or cannot be downloaded.
    """
    files = [folder / f"{record}.{kind}" for record in RECORDS for kind in KINDS]
    absent = [path for path in files if not path.exists()]
    try:
        if absent and not (folder / SUMS).exists():
            bring(URL + SUMS, folder / SUMS)
        sums = _published(folder / SUMS, files) if (folder / SUMS).exists() else {}
        for path in absent:
            bring(URL + path.name, path, sums[path.name])
    except OSError as error:
        missing = [path.name for path in files if not path.exists()] or [SUMS]
        more = ", ..." if len(missing) > 1 else ""
        found = f"{len(missing)} files missing ({missing[0]}{more}), and {error}"
        raise InputError(folder, "records", found, f"{instead}, or a network") from None
    for path in files if sums else ():
        if hashlib.sha256(path.read_bytes()).hexdigest() != sums[path.name]:
            allowed = f"the file of {SUMS}; delete it to download it anew"
            raise InputError(path, "content", "another SHA-256", allowed)


def _published(listed: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 by name of file, of all ``files``."""
    lines = (line.split() for line in listed.read_text(errors="replace").splitlines())
    sums = {line[1].lstrip("*"): line[0] for line in lines if len(line) == 2}
    for path in files:
        if path.name not in sums:
            allowed = f"the SHA-256 of {path.name}; delete the file to download it anew"
            raise InputError(listed, "line", "(missing)", allowed)
    return sums


WITHOUT_MLII = (102, 104)
"""Records without that lead, of which the first is taken."""


def beats(folder: Path, record: int) -> tuple[np.ndarray, np.ndarray]:
    """The beats of a record, float32 [n, 187] in [0, 1], and their classes, uint8 [n].

    Raises:
        InputError: for a file that is missing or damaged, or does not fit the others.
    """
    told, dat, atr = (folder / f"{record}.{kind}" for kind in KINDS)
    header = wfdb_files.header(told)
    if header.rate != 360:
        raise InputError(told, "rate", header.rate, "360 samples a second")
    if "MLII" not in header.leads and record not in WITHOUT_MLII:
        raise InputError(told, "leads", ", ".join(header.leads), "MLII among them")
    lead = header.leads.index("MLII") if "MLII" in header.leads else 0
    signal = wfdb_files.signals(dat, header)[:, lead]
    at, codes = wfdb_files.annotations(atr)
    classes = np.full(64, -1)
    for number, of_class in enumerate(CODES.values()):
        classes[list(of_class)] = number
    at, y = at[classes[codes] >= 0], classes[codes][classes[codes] >= 0]
    apart = np.diff(at, prepend=-1)
    wrong = (apart <= 0) | (at >= len(signal))
    if wrong.any():
        allowed = f"ascending, below {len(signal)}"
        raise InputError(atr, "sample of a beat", int(at[wrong][0]), allowed)
    return _cut(signal, at[:-1], apart[1:]), y[:-1].astype(np.uint8)


def _cut(signal: np.ndarray, at: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Beats float32 [n, 187] from the R waves ``at``, which are so far from the next ones."""
    step = np.arange(SAMPLES)
    times = at[:, None] + STEP * step
    lengths = np.rint(1.2 * (distances / STEP))
    inside = (step < lengths[:, None]) & (times <= len(signal) - 1)
    values = np.rint(np.interp(times, np.arange(len(signal)), signal)).astype(np.float32)
    low = np.where(inside, values, np.inf).min(1, keepdims=True)
    high = np.where(inside, values, -np.inf).max(1, keepdims=True)
    scaled = (values - low) / np.maximum(high - low, 1)
    return np.where(inside, scaled, 0).astype(np.float32)


def _drawn(y: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Which beats, bool [N], are those drawn: so many of each class."""
    random = np.random.RandomState(0)
    chosen = np.zeros(len(y), dtype=bool)
    for number, count in enumerate(counts):
        chosen[random.permutation(np.flatnonzero(y == number))[:count]] = True
    return chosen
