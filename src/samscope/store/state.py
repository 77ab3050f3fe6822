"""What an unfinished run needs to go on: written after a row of its history, removed at its end.

Random numbers come from (seed, epoch or step), so none of their state is kept. The file is three
parts joined by line ends: the SHA-256 of the rest (neither torch.load nor safetensors notices a
changed byte), a line of JSON, the tensors as safetensors. The state before the newest is kept, so
that a damaged newest costs a row and not the run.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.store.content import Wrong
from samscope.store.records import write

if TYPE_CHECKING:
    from torch import Tensor

NEWEST, PREVIOUS = "state.bin", "state.previous.bin"


@dataclass(frozen=True, eq=False)
class State:
    """A run after a row of its history.

    Attributes:
        tensors: the model now, the model at its best, the slots of its rule by their names (of SGD
            ``momentum``), and what is observed of the gradients, see `samscope.train.engine`.
        history: the rows done, by the names of `samscope.store.records.columns`.
        ratios: theirs, by the names of `samscope.optim.bins.RATIOS`.
        seconds: of training so far.
        started: when the run first started, ISO 8601.
    """

    tensors: dict[str, "Tensor"]
    history: list[dict[str, Any]]
    ratios: list[dict[str, Any]]
    seconds: float
    started: str


def save(folder: Path, digest: str, state: State) -> None:
    """Write the newest state of the run ``digest``; the one before it becomes the previous."""
    from safetensors.torch import save as to_bytes

    about = {
        "digest": digest,
        "history": state.history,
        "ratios": state.ratios,
        "seconds": state.seconds,
        "started": state.started,
    }
    tensors = to_bytes({name: tensor.cpu() for name, tensor in state.tensors.items()})
    body = json.dumps(about).encode() + b"\n" + tensors
    newest = folder / NEWEST
    if newest.exists():
        os.replace(newest, folder / PREVIOUS)
    write(newest, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def load(
    folder: Path,
    digest: str,
    report: Callable[[str], None],
    check: Callable[[State], None] = lambda state: None,
) -> State | None:
    """The newest state of the run ``digest`` that is whole; None when there is none.

    A damaged or foreign state is named in one line and passed over.

    Args:
        folder: of the run.
        digest: of its spec and seed.
        report: called with one line about each state that is passed over.
        check: refuses with a ValueError what is no state of the run.
    """
    from safetensors.torch import load as from_bytes

    for name in (NEWEST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        checksum, _, body = path.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            report(f"{path}: damaged, passed over")
            continue
        about, _, tensors = body.partition(b"\n")
        try:
            values = json.loads(about)
            if values.pop("digest") != digest:
                report(f"{path}: of another run, passed over")
                continue
            found = State(from_bytes(tensors), **values)
            check(found)
            return found
        # Whole by its checksum, and yet no state: what that raises depends on what it is.
        except Exception as error:
            why = error if isinstance(error, Wrong) else type(error).__name__
            report(f"{path}: no state ({why}), passed over")
    return None


def remove(folder: Path) -> None:
    """Remove what `save` wrote, and what a killed `save` left."""
    for name in (NEWEST, PREVIOUS, f".{NEWEST}.tmp"):
        (folder / name).unlink(missing_ok=True)
