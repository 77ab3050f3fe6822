"""What an archive may hold, read with a bound on all that it could make of memory and disk."""

import gzip
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samscope.errors import InputError
from samscope.stages import STAGES

PROFILE = "profile.json"
FILES = frozenset(name for stage in STAGES.values() for name in stage.files)
"""Names that a run's files have: no others travel."""

MEMBER = re.compile(r"runs/((?:\w[\w.,=+-]{0,199}/){3})seed=(0|[1-9][0-9]{0,8})/(\w[\w.-]*)", re.A)
_FOLDER = re.compile(r"(?:\.|runs(?:/[^/]+){0,4})/?")

LARGEST = 64 * 2**20
"""Bytes of a file at most: a run's ratios have under 300 kB."""

SLACK, FACTOR = 64 * 2**20, 100
"""Bytes that an archive may come to: records press to a tenth or a twentieth."""


class _Bounded:
    """An open stream that refuses to give more than a number of bytes, in all and at a time."""

    def __init__(self, path: Path, stream: Any) -> None:
        self.path, self.stream = path, stream
        self.left = SLACK + FACTOR * path.stat().st_size
        self.at_once = 0

    def read(self, count: int) -> bytes:
        found = self.stream.read(count)
        self.left -= len(found)
        self.at_once += len(found)
        if self.left < 0 or self.at_once > LARGEST + 2**20:
            raise InputError(self.path, "content", "larger than records are", _ALLOWED)
        return found


_ALLOWED = f"files of {LARGEST >> 20} MB at most, pressed to a hundredth at best"


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The files of an archive by name, each once; the profile's is among them.

    Raises:
        InputError: for a damaged archive, a member that is no file of a run, one that stands
            twice, and one that is larger than records are; OSError where it cannot be read.
    """
    allowed = f"{PROFILE} and runs/<cell>/seed=<n>/<file of a record>, each once"
    seen: set[str] = set()
    with path.open("rb") as packed:
        is_xz = packed.read(6) == b"\xfd7zXZ\0"
    try:
        with (lzma.open if is_xz else gzip.open)(path, "rb") as stream:
            bounded: Any = _Bounded(path, stream)  # what of a file tarfile needs to read a stream
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for member in tar:
                    # A plain `tar` adds the folders, and a ./ before each name.
                    name = member.name.removeprefix("./")
                    if member.isdir() and _FOLDER.fullmatch(name) and ".." not in name:
                        continue
                    fits = MEMBER.fullmatch(name)
                    known = name == PROFILE or (fits and fits[3] in FILES)
                    if not (member.isreg() and known) or name in seen or member.issparse():
                        raise InputError(path, "member", member.name[:200], allowed)
                    if member.size > LARGEST:
                        raise InputError(path, name, f"{member.size} bytes", _ALLOWED)
                    seen.add(name)
                    held = tar.extractfile(member)
                    bounded.at_once = 0
                    yield name, held.read() if held else b""
            bounded.at_once = 0
            while bounded.read(2**16):  # to the checksum at the end
                bounded.at_once = 0
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(path, "content", f"damaged ({error})", "a whole archive") from None
    except (UnicodeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, "content", f"damaged ({error!r})", "a whole archive") from None


def check_profile(path: Path, held: bytes, profile: str) -> None:
    """Refuse an archive of another profile, by what it says of itself.

    Raises:
        InputError: for it.
    """
    try:
        said = json.loads(held or b"{}")
    except (ValueError, RecursionError):
        said = None
    found = said.get("profile") if isinstance(said, dict) else None
    if found != profile:
        told = str(found or "(missing)")[:200]
        raise InputError(path, PROFILE, told, f"{profile}; choose with --profile")
