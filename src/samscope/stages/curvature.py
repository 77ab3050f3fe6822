"""Curvature of the training loss of the runs of a cell, at their last weights and before.

Everything but ``pooled`` and ``noise`` is of one Hessian: of the mean cross-entropy on a fixed
sample of training images as they are, with the labels the run was trained on, in eval mode. The
sample is the same for every variant of a seed, so that differences between variants are differences
between weights. ``pooled`` is the protocol of the geometry-SAM study: the top eigenvalues of
augmented mini-batches. ``noise`` compares mini-batches of training: `samscope.measure.noise`.

Importable without torch.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Not from the package: an edit of the engine would then measure every run anew.
import samscope.store.records as records
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import trained
from samscope.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.data import Dataset

NAME = "curvature.json"

_SETTINGS = ("images", "top_n", "products", "trace_products", "rho", "pooled", "epochs")

Report = Callable[[str], None]


def measure_cell(
    cell: Cell,
    seeds: Sequence[int],
    run_dir: str | Path,
    data_dir: str | Path,
    settings: Mapping[str, Any],
    report: Report = print,
    kept: Sequence[int] | None = None,
) -> None:
    """Measure the finished runs of a cell and write ``<run_dir>/curvature.json``.

    Each run's record lies beside its weights, as ``seed=<n>/curvature.json``; one that is of this
    run with these settings is kept, with or without weights to measure it again.

    Args:
        cell: the setting.
        seeds: of the runs.
        run_dir: folder of the cell, with ``seed=<n>/`` for each seed.
        data_dir: folder of the data sets.
        settings: the ``curvature`` of a profile's scale.
        report: called with one line about each run.
        kept: seeds whose weights stay; None for all. The others' go once they are measured.

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
                data = data or trained.resident(cell, data_dir)
                measure_run(run, cell, seed, data, used, report)
            if kept is not None and seed not in kept:
                records.drop_weights(run)
        assemble(folder, cell, seeds, used)


def used_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a profile that decide the numbers, and the epochs at which they are taken."""
    return {name: settings[name] for name in _SETTINGS}


def read(run: Path, digest: str, used: Mapping[str, Any]) -> dict[str, Any] | None:
    """A run's record of its curvature; None without one of this run with these settings.

    Args:
        run: folder of the run.
        digest: of the run.
        used: see `used_settings`.
    """
    record = _found(run, digest, used)
    if record is None:
        return None
    have = [at["epoch"] for at in record["spectra"]]
    return record if set(_wanted(used, record["epochs"])) <= set(have) else None


def is_measured(run: Path, cell: Cell, seed: int, used: Mapping[str, Any]) -> bool:
    """Whether a run's curvature need not, or can no more, be measured.

    A record by other code than today's is good for as long as weights are missing to do better.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    epochs = trained.trained_epochs(run, cell, seed)
    record = read(run, cell.digest(seed), used)
    if record is None:
        return False
    paths = [_weights(run, epoch, epochs) for epoch in _wanted(used, epochs)]
    return record["code"] == _code() or not all(path.exists() for path in paths)


def lacking(run: Path, cell: Cell, seed: int, used: Mapping[str, Any]) -> list[str]:
    """Names of the weights that a run would need to be measured and has no more.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    epochs = trained.trained_epochs(run, cell, seed)
    due = set(_wanted(used, epochs)) - _known(run, cell, seed, used).keys()
    paths = [_weights(run, epoch, epochs) for epoch in sorted(due)]
    return [path.name for path in paths if not path.exists()]


def measure_run(
    run: Path, cell: Cell, seed: int, data: "Dataset", used: Mapping[str, Any], report: Report
) -> None:
    """Measure what is missing of one run and write its record; the caller holds the cell's lock.

    It holds ``sample_digest`` (SHA-256 of images and labels) and ``spectra``, one for each epoch in
    ascending order, the last of which is the run's last: see
    `samscope.measure.curvature.Curvature.record`, and for the last `Pooled.record` and
    `samscope.measure.noise.noise_floor`. Numbers of a run that diverged are null. The time it took
    goes to the run's provenance.

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

    begin = time.perf_counter()
    make_deterministic(cell.threads)
    epochs, digest = trained.trained_epochs(run, cell, seed), cell.digest(seed)
    known = _known(run, cell, seed, used)
    spectra = dict(known)
    x, y = trained.sample(cell, data, used["images"], seed)
    for epoch in [e for e in _wanted(used, epochs) if e not in spectra]:
        model = trained.model(_weights(run, epoch, epochs), cell, seed, data)
        found = _measured(model, x, y, used, seed)
        if epoch == epochs:
            finite = math.isfinite(found["loss"])
            found["pooled"] = _pooled(model, cell, seed, data, used) if finite else None
            found["noise"] = _noise(model, cell, seed, data, used, (x, y)) if finite else None
        spectra[epoch] = {"epoch": epoch, **found}
    record = {
        "digest": digest,
        "settings": _without_epochs(used),
        "code": _code(),
        "epochs": epochs,
        "sample_digest": sample_digest(x, y),
        "spectra": [spectra[epoch] for epoch in sorted(spectra)],
    }
    records.write(run / NAME, records.to_json(record))
    seconds = time.perf_counter() - begin
    where = str(data.train_x.device)
    records.annotate(run, {"curvature": {"seconds": seconds, "device": where, "code": _code()}})
    last, done = record["spectra"][-1], len(spectra) - len(known)
    shown = [last["largest"][0], last["trace"]["value"], last["loss"]]
    top, trace, loss = (math.nan if value is None else value for value in shown)
    report(
        f"{cell.id}/seed={seed} lambda_max {top:.4g} trace {trace:.4g} loss {loss:.4g},"
        f" {done} of {len(spectra)} spectra measured, {seconds:.1f} s"
    )


def assemble(folder: Path, cell: Cell, seeds: Sequence[int], used: Mapping[str, Any]) -> None:
    """Write a cell's curvature.json from the records of its runs, those that have one."""
    runs = []
    for seed in sorted(set(seeds)):
        record = read(folder / f"seed={seed}", cell.digest(seed), used)
        if record is not None:
            wanted = _wanted(used, record["epochs"])
            spectra = [at for at in record["spectra"] if at["epoch"] in wanted]
            about = {k: record[k] for k in ("digest", "sample_digest")}
            runs.append({"seed": seed, **about, "spectra": spectra})
    if runs:
        record = {"cell": cell.id, "settings": used, "runs": runs}
        records.write(folder / NAME, records.to_json(record))


def sample_digest(x: "Tensor", y: "Tensor") -> str:
    """Hex SHA-256 of images and labels."""
    return hashlib.sha256(x.cpu().numpy().tobytes() + y.cpu().numpy().tobytes()).hexdigest()


def _found(run: Path, digest: str, used: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a run with these settings, at whatever epochs."""
    try:
        record = json.loads((run / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    is_it = isinstance(record, dict) and record.get("digest") == digest
    return record if is_it and record.get("settings") == _without_epochs(used) else None


def _known(run: Path, cell: Cell, seed: int, used: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """What today's code has measured of a run with these settings, by epoch."""
    record = _found(run, cell.digest(seed), used)
    current = record is not None and record["code"] == _code()
    return {at["epoch"]: at for at in record["spectra"]} if current else {}


def _without_epochs(used: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in used.items() if name != "epochs"}


def _wanted(used: Mapping[str, Any], epochs: int) -> list[int]:
    """The epochs to measure of a run that was trained for ``epochs``: fewer where it diverged."""
    return sorted({epochs, *(epoch for epoch in used["epochs"] if epoch < epochs)})


def _weights(run: Path, epoch: int, epochs: int) -> Path:
    return run / (records.WEIGHTS if epoch == epochs else records.weights_at(epoch))


@cache
def _code() -> str:
    """Digest of the code that measures."""
    return fingerprint(__name__)


def _measured(
    model: "nn.Module", x: "Tensor", y: "Tensor", used: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """What is measured of one model's mean loss."""
    import torch.nn.functional as F

    from samscope.measure.curvature import measure
    from samscope.measure.objective import MeanLoss
    from samscope.seeding import derive

    names = ("top_n", "rho", "products", "trace_products")
    settings = {name: used[name] for name in names}
    mean_loss = MeanLoss(model, F.cross_entropy, (x, y))
    return measure(mean_loss, **settings, seed=derive(seed, "curvature")).record()


def _pooled(
    model: "nn.Module", cell: Cell, seed: int, data: "Dataset", used: Mapping[str, Any]
) -> dict[str, Any]:
    """The study's quantity: shuffled and augmented batches of an epoch that training never saw."""
    from dataclasses import replace
    from itertools import islice

    import torch.nn.functional as F

    from samscope.measure.curvature import pooled
    from samscope.seeding import derive
    from samscope.train.feed import Feed

    settings, most = used["pooled"], len(data.train_x)
    count = settings["batches"] * settings["images"]
    if count > most:
        raise InputError(cell.id, "curvature pooled batches * images", count, f"{most} at most")
    feed = Feed(replace(cell, batch_size=settings["images"], drop_last=False), seed, data)
    batches = islice(feed.training(cell.epochs), settings["batches"])
    drawn, backend = derive(seed, "curvature"), settings["backend"]
    return pooled(model, F.cross_entropy, batches, used["top_n"], drawn, backend).record()


def _noise(
    model: "nn.Module",
    cell: Cell,
    seed: int,
    data: "Dataset",
    used: Mapping[str, Any],
    sample: "tuple[Tensor, Tensor]",
) -> dict[str, Any]:
    """What mini-batches of training, of an epoch that it never saw, say of the regions."""
    import torch.nn.functional as F

    from samscope.measure.noise import noise_floor
    from samscope.seeding import derive
    from samscope.train.feed import Feed

    batches, rho = Feed(cell, seed, data).training(cell.epochs), cell.rho or used["rho"]
    return noise_floor(model, F.cross_entropy, batches, sample, rho, derive(seed, "curvature"))
