"""Curvature of the training loss of the runs of a cell, at their last weights and before.

Everything but ``pooled`` and ``noise`` is of one Hessian: of the mean loss on a fixed sample of
training inputs as they are, with the targets the run was trained on, in eval mode. The sample is
the same for every variant of a seed, so that differences between variants are differences between
weights. ``pooled`` is the protocol of the geometry-SAM study: the top eigenvalues of augmented
mini-batches. ``noise`` compares mini-batches of training: `samscope.measure.noise`.

Each run's record lies beside its weights, as ``seed=<n>/curvature.json``; one that is of this run
with these settings is kept, with or without weights to measure it again. Importable without torch.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from samscope.config.typed import Check, Count, Positive, between
from samscope.digests import digest
from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records
from samscope.store.recorded import Spectrum

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.measure.batches import Batch
    from samscope.stages.bench import Bench
    from samscope.tasks.samples import Splits

RECORD = "curvature.json"


@dataclass(frozen=True)
class Pooled:
    """The study's quantity: top eigenvalues of augmented mini-batches."""

    batches: Count
    images: Annotated[int, between(2, math.inf, "a whole number from 2")]
    backend: Literal["lanczos", "pyhessian"]


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured.
        seeds: how many of a cell's.
        images: training inputs of the fixed sample.
        top_n: how many eigenvalues.
        products: with the Hessian for a spectrum, at most.
        trace_products: with the Hessian for a trace.
        rho: radius of the sharpness.
        pooled: see `Pooled`.
        epochs: at which it is measured, beside the last; new ones need runs trained with them.
        noise: whether mini-batches are compared, see `samscope.measure.noise`: as dear as the rest.

    Raises:
        InputError: for more eigenvalues than products.
    """

    where: dict[str, Any]
    seeds: Count
    images: Count
    top_n: Count
    products: Count
    trace_products: Annotated[int, Check(lambda n: n >= 4 and n % 2 == 0, "an even number from 4")]
    rho: Positive
    pooled: Pooled
    epochs: Annotated[
        tuple[Count, ...], Check(lambda e: len(set(e)) == len(e), "epochs from 1, each once")
    ] = field(default=())
    noise: Annotated[bool, Check(lambda n: True, "true or false")] = True

    def __post_init__(self) -> None:
        if self.top_n > self.products:
            allowed = f"{self.products} at most, the products"
            raise InputError("stages.curvature", "top_n", self.top_n, allowed)

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The first of them."""
        return planned[: self.seeds]

    def used(self) -> dict[str, Any]:
        """What decides the numbers, and the epochs at which they are taken."""
        # Records are older than the choice.
        left_out = ("where", "seeds", *(("noise",) if self.noise else ()))
        held = {k: v for k, v in asdict(self).items() if k not in left_out}
        return held | {"epochs": sorted(self.epochs)}


def make(run: Run[Cell], bench: "Bench", report: Report, until: float = math.inf) -> bool:
    """Measure what is missing of one run and write its record; the caller holds the cell's lock.

    It holds ``sample_digest`` (SHA-256 of inputs and targets) and ``spectra``, one for each epoch
    in ascending order, the last of which is the run's last: see
    `samscope.measure.flatness.Curvature.record`, and for the last `Pooled.record` and
    `samscope.measure.noise.noise_floor`. Numbers of a run that diverged are null. The time it took
    goes to the run's provenance.

    Args:
        run: whose training has a whole record.
        bench: where.
        report: called with one line about the run.
        until: not heeded, for a spectrum is short.

    Raises:
        InputError: for a run that is missing, damaged or without its weights, or settings out of
            range.
    """
    from samscope.seeding import make_deterministic

    begin, cell, code = time.perf_counter(), run.spec, _code(run.spec)
    make_deterministic(cell.numerics.threads)
    last = trained.whole_length(run)
    known = _known(run)
    spectra, splits = dict(known), bench.splits(cell.task)
    sample = _sample(run, splits)
    for at in [at for at in _wanted(run, last) if at not in spectra]:
        model = trained.model(_weights(run, at, last), cell, run.seed, splits)
        spectra[at] = {"epoch": at, **_measured(run, model, splits, sample, at == last)}
    told = [spectra[at] for at in sorted(spectra)]
    sums = sample_digest(*sample)
    about = {"code": code, "epochs": last, "sample_digest": sums, "spectra": told}
    json_record.write(run, RECORD, about)
    seconds = time.perf_counter() - begin
    records.annotate(run.folder, {"curvature": trained.told(seconds, splits.device, code)})
    held, done = told[-1], len(spectra) - len(known)
    shown = [held["largest"][0], held["trace"]["value"], held["loss"]]
    top, trace, loss = (math.nan if value is None else value for value in shown)
    report(
        f"{run.name} lambda_max {top:.4g} trace {trace:.4g} loss {loss:.4g},"
        f" {done} of {len(spectra)} spectra measured, {seconds:.1f} s"
    )
    return True


def read(run: Run[Cell]) -> dict[str, Any] | None:
    """A run's record of its curvature; None without one of this run with these settings."""
    held = json_record.found(run, RECORD, Recorded)
    have = [at["epoch"] for at in held["spectra"]] if held else []
    return held if held and set(_wanted(run, held["epochs"])) <= set(have) else None


def is_made(run: Run[Cell]) -> bool:
    """Whether a run's curvature need not, or can no more, be measured.

    A record by other code than today's is good for as long as weights are missing to do better.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    last = trained.whole_length(run)
    held = read(run)
    if held is None:
        return False
    paths = [_weights(run, at, last) for at in _wanted(run, last)]
    return held["code"] == _code(run.spec) or not all(path.exists() for path in paths)


def lacking(run: Run[Cell]) -> list[Path]:
    """The weights that a run would need to be measured and has no more.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    last = trained.whole_length(run)
    due = set(_wanted(run, last)) - _known(run).keys()
    paths = [_weights(run, at, last) for at in sorted(due)]
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run[Cell]]) -> None:
    """Write a cell's curvature.json from the records of its runs, those that have one."""

    def told(held: dict[str, Any]) -> dict[str, Any]:
        wanted = _wanted(runs[0], held["epochs"])
        spectra = [at for at in held["spectra"] if at["epoch"] in wanted]
        return {"sample_digest": held["sample_digest"], "spectra": spectra}

    json_record.put_together(runs, RECORD, read, told)


def sample_digest(inputs: "tuple[Tensor, ...]", y: "Tensor") -> str:
    """Hex SHA-256 of inputs and targets."""
    return hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in (*inputs, y))).hexdigest()


def _known(run: Run[Cell]) -> dict[int, dict[str, Any]]:
    """What today's code has measured of a run with these settings, by epoch."""
    held = json_record.found(run, RECORD, Recorded)
    if held is None or held["code"] != _code(run.spec):
        return {}
    return {at["epoch"]: at for at in held["spectra"]}


def _wanted(run: Run[Cell], last: int) -> list[int]:
    """The epochs to measure of a run that was trained for ``last``: fewer where it diverged."""
    return sorted({last, *(epoch for epoch in run.epochs if epoch < last)})


def _weights(run: Run[Cell], at: int, last: int) -> Path:
    return run.folder / (records.WEIGHTS if at == last else records.weights_at(at))


def _code(cell: Cell) -> str:
    """Digest of the code that measures the runs of a cell."""
    task, loss = f"{cell.task.kind.module}:prepare", f"samscope.losses:{cell.task.loss}"
    return digest(*(f"{__name__}:{name}" for name in ("_sample", "_measured")), task, loss)


def _sample(run: Run[Cell], splits: "Splits") -> "tuple[tuple[Tensor, ...], Tensor]":
    """The fixed sample."""
    return trained.sample(run.spec, splits, run.settings["images"], run.seed)


def _measured(
    run: Run[Cell], model: "nn.Module", splits: "Splits", sample: "Batch", is_last: bool
) -> dict[str, Any]:
    """What is measured of one model: of its mean loss and, at a run's end, of mini-batches."""
    from samscope.losses import loss
    from samscope.measure.flatness import measure
    from samscope.measure.objective import MeanLoss
    from samscope.seeding import derive

    names = ("top_n", "rho", "products", "trace_products")
    settings = {name: run.settings[name] for name in names}
    of_task = loss(run.spec.task.loss, run.spec.task.smoothing)
    mean_loss, drawn = MeanLoss(model, of_task, sample), derive(run.seed, "curvature")
    found = measure(mean_loss, **settings, seed=drawn).record()
    found["norm"] = mean_loss.weights.double().norm().item()
    if is_last:
        finite = math.isfinite(found["loss"])
        found["pooled"] = _pooled(run, model, of_task, splits, drawn) if finite else None
        compared = finite and run.settings.get("noise", True)
        found["noise"] = _noise(run, model, of_task, splits, sample, drawn) if compared else None
    return found


def _pooled(
    run: Run[Cell], model: "nn.Module", loss: Callable, splits: "Splits", drawn: int
) -> dict[str, Any]:
    """The study's quantity: shuffled and augmented batches of an epoch that training never saw."""
    from itertools import islice

    from samscope.measure.flatness import pooled
    from samscope.train.feed import Feed

    settings, most = run.settings["pooled"], len(splits.train)
    count = settings["batches"] * settings["images"]
    if count > most:
        raise InputError(run.spec.id, "curvature pooled batches * images", count, f"{most} at most")
    unseen = Feed(run.spec, run.seed, splits).unseen(settings["images"])
    top_n, backend = run.settings["top_n"], settings["backend"]
    batches = islice(unseen, settings["batches"])
    return pooled(model, loss, batches, top_n, drawn, backend).record()


def _noise(
    run: Run[Cell],
    model: "nn.Module",
    loss: Callable,
    splits: "Splits",
    sample: "Batch",
    drawn: int,
) -> dict[str, Any]:
    """What mini-batches of training, of an epoch that it never saw, say of the regions."""
    from samscope.measure.noise import noise_floor
    from samscope.train.feed import Feed

    batches = Feed(run.spec, run.seed, splits).unseen()
    rho = run.spec.method.ascent.rho or run.settings["rho"]
    return noise_floor(model, loss, batches, sample, rho, drawn)


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds, see `make`."""

    code: str
    epochs: int
    sample_digest: str
    spectra: Annotated[tuple[Spectrum, ...], Check(bool, "spectra")]


STAGE = Stage(
    *("curvature", Cell, RECORD, (RECORD,), Recorded, make, read, is_made, assemble),
    settings=Settings,
    lacking=lacking,
    code=_code,
)
