"""A run's records on disk: how they are written, checked, put together, and locked. No torch here.

``seed=<n>/`` holds spec.json, metrics.json, history.csv, ratios.csv, persistence.csv,
weights.safetensors and provenance.json. Of a run with one pass, which has no ratio, the tables of
ratios have no rows.
The last is written last and holds the checksums of the others: with it a run is complete, and a
file that was cut short, edited or copied from another run is found out. Weights may be absent: they
are large, and a profile can drop them once all is measured that needs them. Those of earlier in the
training that are to be measured lie beside the last, see `weights_at`.
"""

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samscope.optim import REGIONS
from samscope.optim.bins import PERSISTENCE, RATIOS
from samscope.spec import Cell
from samscope.store.content import check

WEIGHTS = "weights.safetensors"
FILES = ("spec.json", "metrics.json", "history.csv", "ratios.csv", "persistence.csv", WEIGHTS)


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Attributes:
        metrics: test, validation and training numbers at the best row of the history and the last.
        history: by the names of `columns`.
        ratios: by the names of `samscope.optim.bins.RATIOS`.
        persistence: by the names of `samscope.optim.bins.PERSISTENCE`.
        weights: parameters and buffers after the last step, a safetensors file.
        seconds: of training, over all jobs that had a part in it.
        started: when the first of them started, ISO 8601.
    """

    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    ratios: list[dict[str, Any]]
    persistence: list[dict[str, Any]]
    weights: bytes
    seconds: float
    started: str


class BadRecord(ValueError):
    """A record on disk that is not, or not wholly, the run's; the message says why in one line."""


def write(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it: no reader and no crash ever sees half of it.

    The caller holds the cell's lock, so the name of the file aside can be fixed; what a killed
    process left there is overwritten.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        # A full disk is reported without the name of the file that did not fit.
        error.filename = error.filename or str(path)
        raise


def to_json(value: Any) -> str:
    """JSON with sorted keys, an indent of 1, floats by ``repr`` and non-finite floats as null."""
    return json.dumps(_finite(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def columns(cell: Cell) -> tuple[str, ...]:
    """Of a cell's history.csv.

    One row an epoch (from 1), or one every so many steps, of the steps since the row before; of
    those the last one's learning rate. Shares in percent of the parameters; the five after them in
    some rows only, see `samscope.observe.ratios.magnitude_ranks`. Test columns without validation
    samples only.
    """
    names = ("loss", *cell.task.kind.scores)
    splits = ("train", "val") if cell.task.val_size else ("train", "val", "test")
    return (
        *("seed", cell.budget.unit, "lr"),
        *(f"{split}_{name}" for split in splits for name in names),
        *("grad_norm", "perturbed_grad_norm", *REGIONS),
        *("members", "threshold_g", "above_g", "threshold_h", "above_h"),
        *(("second_order_cosine",) if cell.method.second_order else ()),
    )


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A table with a header, floats by ``repr``, empty where a row has no finite value."""
    lines = [",".join(columns)]
    for row in rows:
        values = (_finite(row.get(column)) for column in columns)
        lines.append(",".join("" if value is None else str(value) for value in values))
    return "\n".join(lines) + "\n"


def write_run(
    folder: Path, cell: Cell, seed: int, outcome: Outcome, provenance: Mapping[str, Any]
) -> None:
    """Write the records of a finished run, the one that completes it last."""
    spec = {"digest": cell.digest(seed), "seed": seed, "cell": cell.to_dict()}
    ratios = [cell.budget.unit if name == "epoch" else name for name in RATIOS]
    contents: tuple[str | bytes, ...] = (
        *(to_json(spec), to_json(outcome.metrics), to_csv(outcome.history, columns(cell))),
        *(to_csv(outcome.ratios, ratios), to_csv(outcome.persistence, PERSISTENCE)),
        outcome.weights,
    )
    for name, content in zip(FILES, contents, strict=True):
        write(folder / name, content)
    source = {
        **provenance,
        "seconds": outcome.seconds,
        "started": outcome.started,
        "sha256": {name: _checksum(folder / name) for name in (*FILES, *snapshots(folder))},
    }
    write(folder / "provenance.json", to_json(source))


def read_run(folder: Path, cell: Cell, seed: int) -> dict[str, Any] | None:
    """The metrics of a finished run; None when there is no record of it at all.

    Raises:
        BadRecord: when files are missing, damaged, changed or of another run.
    """
    names = (*FILES, "provenance.json")
    present = [name for name in names if (folder / name).exists()]
    if not present:
        return None
    absent = [name for name in names if name not in present and name != WEIGHTS]
    if absent:
        raise BadRecord(f"incomplete, {absent[0]} is missing")
    spec = _read_json(folder / "spec.json")
    if spec.get("digest") != cell.digest(seed) or spec.get("seed") != seed:
        raise BadRecord("spec.json is of another run (the digest differs)")
    checksums = _read_json(folder / "provenance.json").get("sha256")
    for name in [*(name for name in FILES if name in present), *snapshots(folder)]:
        if not isinstance(checksums, dict) or checksums.get(name) != _checksum(folder / name):
            raise BadRecord(f"{name} is not what was written (its checksum differs)")
    return _read_json(folder / "metrics.json")


def read_whole(folder: Path, cell: Cell, seed: int) -> dict[str, Any] | None:
    """The metrics of a finished run as `read_run` finds them, of which every file is a record.

    Apart, since what is measured of a run is not measured anew for an edit of the check.

    Raises:
        BadRecord: as `read_run`, and where files hold what no training writes.
    """
    try:
        metrics = read_run(folder, cell, seed)
        if metrics is None:
            return None
        texts = {name: (folder / name).read_text() for name in FILES if name.endswith(".csv")}
        check(cell, seed, columns(cell), metrics, texts)
    except BadRecord:
        raise
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{error}; delete the folder to train it again") from None
    return metrics


def weights_at(at: int) -> str:
    """Name of the file with the weights after an epoch (from 1), or a step, before the last."""
    return f"weights-{at}.safetensors"


def snapshots(run: Path) -> dict[str, int]:
    """Epochs, or steps, before the last whose weights a run has kept, by the names of the files."""
    found = {path.name: path.stem.partition("-")[2] for path in run.glob("weights-*.safetensors")}
    whole = {name: int(at) for name, at in found.items() if at.isdecimal()}
    return dict(sorted(whole.items(), key=lambda pair: pair[1]))


def drop_weights(run: Path) -> None:
    """Remove all weights of a run; its record stays valid."""
    for name in (WEIGHTS, *snapshots(run)):
        (run / name).unlink(missing_ok=True)


def annotate(run: Path, facts: Mapping[str, Any]) -> None:
    """Add to a run's provenance what is known only after training, such as times."""
    path = run / "provenance.json"
    write(path, to_json({**_read_json(path), **facts}))


def holds(path: Path, runs: Mapping[int, str], settings: Mapping[str, Any] | None = None) -> bool:
    """Whether a record of a cell is of these runs and no others.

    Args:
        path: of the cell's metrics.json or curvature.json.
        runs: the digest of each seed.
        settings: what the record's ``settings`` must be; None where it has none.
    """
    try:
        record = _read_json(path)
        found = {run["seed"]: run["digest"] for run in record["runs"]}
    except (OSError, BadRecord, KeyError, TypeError):
        return False
    return found == runs and record.get("settings") == settings


def assemble(folder: Path, cell: Cell, seeds: Sequence[int]) -> None:
    """Write a cell's metrics.json and history.csv from the records of its runs."""
    runs, histories = [], [",".join(columns(cell)) + "\n"]
    for seed in sorted(seeds):
        run = folder / f"seed={seed}"
        metrics = _read_json(run / "metrics.json")
        runs.append({"seed": seed, "digest": cell.digest(seed), **metrics})
        histories.append((run / "history.csv").read_text().split("\n", 1)[1])
    write(folder / "history.csv", "".join(histories))
    write(folder / "metrics.json", to_json({"cell": cell.id, "spec": cell.to_dict(), "runs": runs}))


@contextmanager
def locked(
    folder: Path, report: Callable[[str], None], wait: bool = True, name: str = ".lock"
) -> Iterator[bool]:
    """Hold a cell's lock: two jobs never train the same run. The kernel frees it on death.

    Without ``wait`` the value is False where another job holds it. The file is never written to,
    whatever it leads to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            report(f"{folder}: waiting for another job that works on it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def _finite(value: Any) -> Any:
    """The value with every NaN and infinity in it replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise BadRecord(f"{path.name} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadRecord(f"{path.name} holds no JSON object")
    return content


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
