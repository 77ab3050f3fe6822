"""Curvature of the training loss at the last weights of each run of a cell.

The study it serves pools the top five eigenvalues of 40 augmented mini-batches. Here they are of
one Hessian: of the mean cross-entropy on a fixed sample of training images as they are, with the
labels the run was trained on, in eval mode. The sample is the same for every variant of a seed, so
that differences between variants are differences between weights.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from samscope import models
from samscope.data import Dataset, load, training_labels
from samscope.errors import InputError
from samscope.measure.pyhessian_backend import BATCH, top_eigenvalues, trace
from samscope.seeding import derive, make_deterministic
from samscope.spec import Cell
from samscope.train.engine import evaluate
from samscope.train.records import BadRecord, locked, read_run, to_json, write

PROBES = 16
"""Of the trace: its standard error is then some 5 % for the networks of the quick profile."""


def measure_cell(
    cell: Cell,
    seeds: Sequence[int],
    run_dir: str | Path,
    data_dir: str | Path,
    settings: Mapping[str, Any],
    report: Callable[[str], None] = print,
) -> None:
    """Measure the finished runs of a cell and write ``<run_dir>/curvature.json``.

    A run holds ``top_eigenvalues`` (of largest magnitude, in descending order of it), their
    ``residuals``, ``trace``, ``trace_stderr``, ``sample_loss`` and ``sample_digest`` (SHA-256 of
    images and labels). Numbers of a run that diverged are null.

    Args:
        cell: the setting.
        seeds: of the runs.
        run_dir: folder of the cell, with ``seed=<n>/`` for each seed.
        data_dir: folder of the data sets.
        settings: ``images``, the size of the sample, and ``top_n``, how many eigenvalues.
        report: called with one line about each run.

    Raises:
        InputError: for a run that is missing or damaged, or settings out of range.
    """
    folder = Path(run_dir)
    make_deterministic(cell.threads)
    data = load(cell, data_dir).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    images, top_n = settings["images"], settings["top_n"]
    if not 1 <= images <= len(data.train_x):
        raise InputError(cell.id, "curvature images", images, f"1 to {len(data.train_x)}")
    # Of five, the last needs the steps; the first has all its digits after fifteen.
    used = {"images": images, "top_n": top_n, "steps": max(20, 5 * top_n), "probes": PROBES}
    runs = []
    for seed in sorted(set(seeds)):
        model = _trained(cell, data, folder / f"seed={seed}", seed)
        run = {"seed": seed, **_measure(model, *_sample(cell, data, images, seed), used, seed)}
        report(
            f"{cell.id}/seed={seed} lambda_max {max(run['top_eigenvalues']):.4g}"
            f" trace {run['trace']:.4g} loss {run['sample_loss']:.4g}"
        )
        runs.append(run)
    with locked(folder, report):
        record = {"cell": cell.id, "settings": used, "runs": runs}
        write(folder / "curvature.json", to_json(record))


def _trained(cell: Cell, data: Dataset, folder: Path, seed: int) -> nn.Module:
    """The model of a finished run with its last weights, on the device of the data."""
    path = folder / "weights.safetensors"
    try:
        if read_run(folder, cell, seed) is None:
            raise BadRecord("no record of a finished run")
    except BadRecord as error:
        raise InputError(path, "run", str(error), "a whole record; train the cell again") from error
    model = models.build(cell.model, data.num_classes, data.channels, seed)
    model.load_state_dict(load_file(path))
    return model.to(data.train_x.device)


def _sample(cell: Cell, data: Dataset, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """The first training images, normalised, and the classes the run was trained on."""
    labels = training_labels(data, cell.label_noise, seed)
    return data.normalise(data.train_x[:images]), labels[:images]


def _measure(
    model: nn.Module, x: Tensor, y: Tensor, settings: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """The statistics of one model."""
    loss, _ = evaluate(model, zip(x.split(BATCH), y.split(BATCH), strict=True))
    content = x.cpu().numpy().tobytes() + y.cpu().numpy().tobytes()
    found = {"sample_loss": loss, "sample_digest": hashlib.sha256(content).hexdigest()}
    n = settings["top_n"]
    if not math.isfinite(loss):
        unknown = (math.nan,) * n
        nothing = {"trace": math.nan, "trace_stderr": math.nan}
        return {"top_eigenvalues": unknown, "residuals": unknown, **nothing, **found}
    drawn = derive(seed, "curvature")
    top = top_eigenvalues(model, F.cross_entropy, x, y, n, settings["steps"], drawn)
    total = trace(model, F.cross_entropy, x, y, settings["probes"], drawn)
    return {
        "top_eigenvalues": top.values,
        "residuals": top.residuals,
        "trace": total.value,
        "trace_stderr": total.stderr,
        **found,
    }
