"""How far the training loss rises around the last weights of a run: a number for a loss surface.

The mean over filter-normalised random directions, as those of `samscope.stages.landscape` are, but
of all seeds of a cell and of many directions; each is taken both ways. On the sample, with the
targets and the loss of `samscope.stages.curvature`. Each run's record lies beside its weights, as
``seed=<n>/rise.json``. Importable without torch.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Count, Positive, between
from samscope.digests import digest
from samscope.spec import Cell
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records
from samscope.store.recorded import Number

if TYPE_CHECKING:
    from samscope.stages.bench import Bench
    from samscope.tasks.samples import Splits

RECORD = "rise.json"


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured.
        seeds: how many of a cell's.
        images: training inputs of the fixed sample.
        radius: how far from the weights, in norms of their filters.
        directions: random ones, each taken both ways.
    """

    where: dict[str, Any]
    seeds: Count
    images: Count
    radius: Positive
    directions: Annotated[int, between(2, 10**6, "a whole number from 2")]

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The first of them."""
        return planned[: self.seeds]

    def used(self) -> dict[str, Any]:
        """What decides the numbers."""
        return {k: v for k, v in asdict(self).items() if k not in ("where", "seeds")}


def make(run: Run[Cell], bench: "Bench", report: Report, until: float = 0.0) -> bool:
    """Measure one run and write its record; the caller holds the cell's lock.

    It holds ``loss``, of the sample; ``rise``, the mean of L(w + e) - L(w); and ``stderr``, its
    standard error over directions. Numbers of a run that diverged are null.

    Args:
        run: whose training has a whole record.
        bench: where.
        report: called with one line about the run.
        until: not heeded.

    Raises:
        InputError: for a run that is missing, damaged or without its weights, or more images than
            it trains on.
    """
    from samscope.seeding import make_deterministic

    begin, code = time.perf_counter(), _code(run.spec)
    make_deterministic(run.spec.numerics.threads)
    trained.whole_length(run)
    splits = bench.splits(run.spec.task)
    found = _measured(run, splits)
    json_record.write(run, RECORD, {"code": code, **found})
    seconds = time.perf_counter() - begin
    records.annotate(run.folder, {"rise": trained.told(seconds, splits.device, code)})
    told = f"rise {found['rise']:.4g} ± {found['stderr']:.2g} of loss {found['loss']:.4g}"
    report(f"{run.name} {told}, {seconds:.1f} s")
    return True


def read(run: Run[Cell]) -> dict[str, Any] | None:
    """A run's record of its rise; None without one of this run with these settings."""
    return json_record.found(run, RECORD, Recorded)


def is_made(run: Run[Cell]) -> bool:
    """Whether a run's rise need not, or can no more, be measured.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    trained.whole_length(run)
    held = read(run)
    return held is not None and (held["code"] == _code(run.spec) or bool(lacking(run)))


def lacking(run: Run[Cell]) -> list[Path]:
    """Its weights, where they are gone."""
    path = run.folder / records.WEIGHTS
    return [] if path.exists() else [path]


def assemble(runs: Sequence[Run[Cell]]) -> None:
    """Write a cell's rise.json from the records of its runs, those that have one."""
    shown = ("loss", "rise", "stderr")
    json_record.put_together(runs, RECORD, read, lambda held: {name: held[name] for name in shown})


def _measured(run: Run[Cell], splits: "Splits") -> dict[str, float]:
    """The mean rise; the same directions for all cells of a model and seed."""
    from samscope.losses import loss
    from samscope.measure.objective import MeanLoss
    from samscope.measure.sharpness import average_case
    from samscope.seeding import derive

    cell, settings = run.spec, run.settings
    model = trained.model(run.folder / records.WEIGHTS, cell, run.seed, splits)
    sample = trained.sample(cell, splits, settings["images"], run.seed)
    mean_loss = MeanLoss(model, loss(cell.task.loss, cell.task.smoothing), sample)
    about = settings["radius"], settings["directions"], derive(run.seed, "rise")
    found = average_case(mean_loss, *about, filtered=True)
    return {"loss": found.loss, "rise": found.value, "stderr": found.stderr}


def _code(cell: Cell) -> str:
    """Digest of the code that measures the runs of a cell."""
    task, loss = f"{cell.task.kind.module}:prepare", f"samscope.losses:{cell.task.loss}"
    return digest(f"{__name__}:_measured", task, loss)


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds, see `make`."""

    code: str
    loss: Number
    rise: Number
    stderr: Number


STAGE = Stage(
    *("rise", Cell, RECORD, (RECORD,), Recorded, make, read, is_made, assemble),
    settings=Settings,
    lacking=lacking,
    code=_code,
)
