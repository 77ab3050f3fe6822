"""Where a run's numbers come from: commit, code, versions, device. The only file with times."""

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from samscope import numerics

PACKAGE = Path(__file__).parents[1]


def collect(device: str, threads: int) -> dict[str, Any]:
    """Provenance of a run trained now by this process.

    Args:
        device: what the run was trained on, e.g. ``cpu`` or a GPU's name.
        threads: CPU threads of the run.

    Returns:
        ``commit`` and ``dirty`` (None outside a git checkout), ``torch``, ``python``, ``cpu``,
        ``device``, ``threads``, ``host_os``, ``code_digest``; ``pins`` and ``fingerprint`` of
        `samscope.numerics`, the latter None on a GPU. Records made before these two have neither.
    """
    commit, dirty = _checkout()
    return {
        "commit": commit,
        "dirty": dirty,
        "torch": version("torch"),
        "python": platform.python_version(),
        "device": device,
        "cpu": _cpu_model(),
        "threads": threads,
        "host_os": platform.platform(),
        "code_digest": code_digest(),
        "pins": numerics.pins(),
        "fingerprint": numerics.fingerprint() if device == "cpu" else None,
    }


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, told without torch."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


@functools.cache
def code_digest() -> str:
    """Hex SHA-256 over the path and content of every Python file of the package."""
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda p: p.relative_to(PACKAGE).as_posix()):
        content = path.read_bytes()
        total.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


@functools.cache
def _checkout() -> tuple[str | None, bool | None]:
    """The commit this file is checked out from, and whether tracked files differ from it."""
    # A wheel installed below somebody else's repository is not tracked there: no commit, then.
    if _git("ls-files", "--error-unmatch", __file__) is None:
        return None, None
    commit = _git("rev-parse", "--verify", "HEAD")
    if commit is None:
        return None, None
    status = _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _git(*arguments: str) -> str | None:
    """Output of a git command in the package's folder; None where git or a repository is absent."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def _cpu_model() -> str:
    """The processor's name, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
