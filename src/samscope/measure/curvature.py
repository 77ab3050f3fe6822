"""Curvature of the training loss at the last weights of each run of a cell.

The study it serves pools the top five eigenvalues of 40 augmented mini-batches. Here they are of
one Hessian: of the mean cross-entropy on a fixed sample of training images as they are, with the
labels the run was trained on, in eval mode. The sample is the same for every variant of a seed, so
that differences between variants are differences between weights.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.errors import InputError
from samscope.fingerprint import fingerprint
from samscope.spec import Cell
from samscope.train import records

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.data import Dataset

NAME = "curvature.json"

PROBES = 16
"""Of the trace: its standard error is then some 5 % for the networks of the quick profile."""


def measure_cell(
    cell: Cell,
    seeds: Sequence[int],
    run_dir: str | Path,
    data_dir: str | Path,
    settings: Mapping[str, Any],
    report: Callable[[str], None] = print,
    keep_weights: bool = True,
) -> None:
    """Measure the finished runs of a cell and write ``<run_dir>/curvature.json``.

    Each run's record lies beside its weights, as ``seed=<n>/curvature.json``; one that is of this
    run with these settings is kept, with or without weights to measure it again.

    Args:
        cell: the setting.
        seeds: of the runs.
        run_dir: folder of the cell, with ``seed=<n>/`` for each seed.
        data_dir: folder of the data sets.
        settings: ``images``, the size of the sample, and ``top_n``, how many eigenvalues.
        report: called with one line about each run.
        keep_weights: False removes the weights of each run that is measured.

    Raises:
        InputError: for a run that is missing, damaged or without its weights, or settings out of
            range.
    """
    folder, used, data = Path(run_dir), used_settings(settings), None
    with records.locked(folder, report):
        for seed in sorted(set(seeds)):
            run = folder / f"seed={seed}"
            if is_measured(run, cell, seed, used):
                report(f"{cell.id}/seed={seed} curvature kept")
            else:
                data = data or _resident(cell, data_dir)
                measure_run(run, cell, seed, data, used, report)
            if not keep_weights:
                records.drop_weights(run)
        assemble(folder, cell, seeds, used)


def used_settings(settings: Mapping[str, Any]) -> dict[str, int]:
    """What decides the numbers: ``images`` and ``top_n`` of a profile, and the cost we chose."""
    images, top_n = settings["images"], settings["top_n"]
    # Of five, the last needs the steps; the first has all its digits after fifteen.
    return {"images": images, "top_n": top_n, "steps": max(20, 5 * top_n), "probes": PROBES}


def read(run: Path, digest: str, used: Mapping[str, int]) -> dict[str, Any] | None:
    """A run's record of its curvature; None without one of this run with these settings.

    Args:
        run: folder of the run.
        digest: of the run.
        used: see `used_settings`.
    """
    try:
        record = json.loads((run / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_it = isinstance(record, dict) and record.get("digest") == digest
    return record if is_it and record.get("settings") == used else None


def is_measured(run: Path, cell: Cell, seed: int, used: Mapping[str, int]) -> bool:
    """Whether a run's curvature need not, or can no more, be measured.

    A record by other code than today's is good for as long as there are no weights to do better.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    try:
        if records.read_run(run, cell, seed) is None:
            raise records.BadRecord("no record of a finished run")
    except records.BadRecord as error:
        allowed = "a whole record; train the cell again"
        raise InputError(run / records.WEIGHTS, "run", str(error), allowed) from error
    record = read(run, cell.digest(seed), used)
    return record is not None and (
        record["code"] == _code() or not (run / records.WEIGHTS).exists()
    )


def measure_run(
    run: Path,
    cell: Cell,
    seed: int,
    data: "Dataset",
    used: Mapping[str, int],
    report: Callable[[str], None],
) -> None:
    """Measure one run and write its record; the caller holds the cell's lock.

    It holds ``top_eigenvalues`` (of largest magnitude, in descending order of it), their
    ``residuals``, ``trace``, ``trace_stderr``, ``sample_loss`` and ``sample_digest`` (SHA-256 of
    images and labels). Numbers of a run that diverged are null.

    Args:
        run: folder of the run, whose record is whole, see `is_measured`.
        cell: the setting.
        seed: of the run.
        data: the cell's data set, on the device to measure on.
        used: see `used_settings`.
        report: called with one line about the run.

    Raises:
        InputError: for a run without its weights, or settings out of range.
    """
    from samscope.seeding import make_deterministic

    make_deterministic(cell.threads)
    if not 1 <= used["images"] <= len(data.train_x):
        raise InputError(cell.id, "curvature images", used["images"], f"1 to {len(data.train_x)}")
    model = _trained(run, cell, seed, data)
    found = _measure(model, *_sample(cell, data, used["images"], seed), used, seed)
    record = {"digest": cell.digest(seed), "settings": used, "code": _code(), **found}
    records.write(run / NAME, records.to_json(record))
    report(
        f"{cell.id}/seed={seed} lambda_max {max(found['top_eigenvalues']):.4g}"
        f" trace {found['trace']:.4g} loss {found['sample_loss']:.4g}"
    )


def assemble(folder: Path, cell: Cell, seeds: Sequence[int], used: Mapping[str, int]) -> None:
    """Write a cell's curvature.json from the records of its runs, those that have one."""
    runs = []
    for seed in sorted(set(seeds)):
        record = read(folder / f"seed={seed}", cell.digest(seed), used)
        if record is not None:
            numbers = {k: v for k, v in record.items() if k not in ("settings", "code")}
            runs.append({"seed": seed, **numbers})
    if runs:
        records.write(
            folder / NAME, records.to_json({"cell": cell.id, "settings": used, "runs": runs})
        )


@cache
def _code() -> str:
    """Digest of the code that measures."""
    return fingerprint(__name__)


def _resident(cell: Cell, data_dir: str | Path) -> "Dataset":
    """The cell's data set, on the device to measure on."""
    import torch

    from samscope.data import load

    return load(cell, data_dir).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _trained(run: Path, cell: Cell, seed: int, data: "Dataset") -> "nn.Module":
    """The model of a finished run with its last weights, on the device of the data."""
    from safetensors.torch import load_file

    from samscope import models

    path = run / records.WEIGHTS
    if not path.exists():
        allowed = f"a run with its weights; delete {run} and train the cell again"
        raise InputError(path, "curvature", "not measured before the weights went", allowed)
    model = models.build(cell.model, data.num_classes, data.channels, seed)
    model.load_state_dict(load_file(path))
    return model.to(data.train_x.device)


def _sample(cell: Cell, data: "Dataset", images: int, seed: int) -> "tuple[Tensor, Tensor]":
    """The first training images, normalised, and the classes the run was trained on."""
    from samscope.data import training_labels

    labels = training_labels(data, cell.label_noise, seed)
    return data.normalise(data.train_x[:images]), labels[:images]


def _measure(
    model: "nn.Module", x: "Tensor", y: "Tensor", used: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """The statistics of one model."""
    import torch.nn.functional as F

    from samscope.measure.pyhessian_backend import BATCH, top_eigenvalues, trace
    from samscope.seeding import derive
    from samscope.train.engine import evaluate

    loss, _ = evaluate(model, zip(x.split(BATCH), y.split(BATCH), strict=True))
    content = x.cpu().numpy().tobytes() + y.cpu().numpy().tobytes()
    found = {"sample_loss": loss, "sample_digest": hashlib.sha256(content).hexdigest()}
    n = used["top_n"]
    if not math.isfinite(loss):
        unknown = (math.nan,) * n
        nothing = {"trace": math.nan, "trace_stderr": math.nan}
        return {"top_eigenvalues": unknown, "residuals": unknown, **nothing, **found}
    drawn = derive(seed, "curvature")
    top = top_eigenvalues(model, F.cross_entropy, x, y, n, used["steps"], drawn)
    total = trace(model, F.cross_entropy, x, y, used["probes"], drawn)
    return {
        "top_eigenvalues": top.values,
        "residuals": top.residuals,
        "trace": total.value,
        "trace_stderr": total.stderr,
        **found,
    }
