"""A run's record as one JSON file, and the record of a spec, put together from its runs'."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samscope.errors import InputError
from samscope.stages.run import Run
from samscope.store import records
from samscope.store.recorded import typed


def write(run: Run, record: str, about: Mapping[str, Any]) -> None:
    """Write a run's record: of which run it is, with which settings, and what is told of it."""
    settings = {"settings": run.used} if run.settings else {}
    held = {k: v for k, v in run.identity.items() if v is not None} | settings | dict(about)
    records.write(run.folder / record, records.to_json(held))


def found(run: Run, record: str, shape: type) -> dict[str, Any] | None:
    """A run's record with these settings, at whatever epochs; None without a whole one.

    Args:
        run: of which.
        record: name of the file.
        shape: what it holds, a dataclass.
    """
    held = load(run.folder / record)
    same = identity(held) == run.identity and held.get("settings", {}) == run.used
    try:
        return held if same and typed(shape, held, Path(record), "") else None
    except InputError:
        return None


def put_together(
    runs: "Sequence[Run]",
    record: str,
    read: "Callable[[Run], dict[str, Any] | None]",
    entry: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Write the record of a spec from those of its runs; nothing where there is none.

    Args:
        runs: of the spec.
        record: name of the file.
        read: the record of a run.
        entry: what is told of a run, beside seed, digest and reference.
    """
    held = [(run, read(run)) for run in sorted(runs, key=lambda run: run.seed)]
    told = [
        {"seed": run.seed, **{k: v for k, v in run.identity.items() if v}, **entry(of)}
        for run, of in held
        if of is not None
    ]
    if told:
        settings = {"settings": runs[0].settings} if runs[0].settings else {}
        whole = {"cell": runs[0].spec.id, "runs": told, **settings}
        records.write(runs[0].folder.parent / record, records.to_json(whole))


def identity(held: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the run that it is of."""
    return {name: held.get(name) for name in ("digest", "reference")}


def load(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is none."""
    try:
        held = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}
