"""Files from the official place of a data set."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen


def bring(url: str, path: Path, sha256: str | None = None) -> None:
    """Download a file: aside first, so that half of one is not taken for it.

    Args:
        url: where it is.
        path: where it goes; its folder is made.
        sha256: hex digest of its bytes, where it is known.

    Raises:
        OSError: where it cannot be had, or is another file than ``sha256`` says, in one line.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with urlopen(url, timeout=60) as answer:
            content = answer.read()
        if sha256 not in (None, hashlib.sha256(content).hexdigest()):
            raise OSError("its SHA-256 is not the published one")
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        os.replace(aside, path)
    # A connection that broke off is an HTTPException, and no OSError.
    except (OSError, HTTPException) as error:
        raise OSError(f"{url} cannot be downloaded ({error})") from None
    finally:
        aside.unlink(missing_ok=True)
