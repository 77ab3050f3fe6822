"""Files of PhysioNet's records: header, signals of 12 bits (format 212), annotations.

As the WFDB Applications Guide has them, header(5), signal(5) and annot(5). Read here because its
library brings a web client and a sound library along, for what takes a page.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samscope.errors import InputError

SKIP, AUX = 59, 63
"""Codes that are no annotations: a long interval, a text; between the two, fields of one."""


@dataclass(frozen=True)
class Header:
    """What a header says of a record.

    Attributes:
        rate: samples of a signal in a second.
        samples: of each signal.
        leads: name of each signal.
        sums: of each signal, the sum of its values as a signed number of 16 bits.
    """

    rate: float
    samples: int
    leads: tuple[str, ...]
    sums: tuple[int, ...]


def header(path: Path) -> Header:
    """What ``path`` (``.hea``) says of a record whose signals lie in the ``.dat`` beside it.

    Raises:
        InputError: for a file that is missing or damaged, signals elsewhere or in another format.
    """
    text = _bytes(path).decode("ascii", "replace")
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    try:
        _, count, rate, samples = lines[0][:4]
        told = [[*line[:8], " ".join(line[8:])] for line in lines[1 : 1 + int(count)]]
        found = Header(
            float(rate.split("/")[0]),
            int(samples),
            tuple(line[8] for line in told),
            tuple(int(line[6]) for line in told),
        )
    except (IndexError, ValueError):
        told, count = [], "0"
    if not told or len(told) != int(count):
        allowed = "the header of a record, with a line for each signal"
        raise InputError(path, "content", "damaged", allowed)
    for line in told:
        if line[0] != path.with_suffix(".dat").name:
            raise InputError(path, "file", line[0], path.with_suffix(".dat").name)
        if line[1] != "212":
            raise InputError(path, "format", line[1], "212, two values of 12 bits in 3 bytes")
    return found


def signals(path: Path, of: Header) -> np.ndarray:
    """The signals in ``path`` (``.dat``), int16 [samples, signals], in units of the converter.

    Raises:
        InputError: for a file that is missing, of another length, or not what the header says.
    """
    raw = np.frombuffer(_bytes(path), dtype=np.uint8)
    values = of.samples * len(of.leads)
    if len(raw) != (3 * values + 1) // 2:
        allowed = f"{(3 * values + 1) // 2}: {of.samples} samples of {len(of.leads)} signals"
        raise InputError(path, "bytes", len(raw), allowed)
    low, middle, high = np.pad(raw, (0, -len(raw) % 3)).reshape(-1, 3).T.astype(np.int16)
    pairs = np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1)
    pairs[pairs > 2047] -= 4096
    found = pairs.reshape(-1)[:values].reshape(of.samples, -1)
    sums = found.sum(0, dtype=np.int64).astype(np.int16).tolist()
    for lead, value, expected in zip(of.leads, sums, of.sums, strict=True):
        if value != expected:
            raise InputError(path, f"checksum of {lead}", value, f"{expected}, as the header says")
    return found


def annotations(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The annotations in ``path`` (``.atr``): at which sample, int64 [n], and of which code.

    A code says what kind of beat or event it is, as in the guide's ``ecgcodes.h``.

    Raises:
        InputError: for a file that is missing, or that breaks off.
    """
    raw = _bytes(path)
    words = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<u2").tolist()
    at, codes, time, place = [], [], 0, 0
    while place < len(words) and words[place]:
        code, interval = words[place] >> 10, words[place] & 0x3FF
        place += 1
        if code == SKIP and place + 1 < len(words):
            # high half first, each half low byte first: the order of a PDP-11
            skipped = words[place] << 16 | words[place + 1]
            time += skipped - (skipped >> 31 << 32)
            place += 2
        elif code == AUX:
            place += (interval + 1) // 2
        elif code < SKIP:
            time += interval
            at.append(time)
            codes.append(code)
    if place >= len(words):
        raise InputError(path, "content", f"no end in {len(raw)} bytes", "annotations, then 0, 0")
    return np.array(at, dtype=np.int64), np.array(codes, dtype=np.int64)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(path, "file", "(missing)", "a file of each record") from None
    except OSError as error:
        raise InputError(path, "file", str(error), "a file that can be read") from None
