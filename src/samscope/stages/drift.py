"""How far the weights of a run move once its training set is learned: a walk, or a way.

Distances between the weights kept at some epochs, or steps, and the last; the first of them is that
at which `LEARNED` percent of the training samples are right. Each run's record lies beside its
weights, as ``seed=<n>/drift.json``. Importable without torch.
"""

import csv
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Check, Count
from samscope.digests import digest
from samscope.spec import Cell
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records
from samscope.store.recorded import Number

if TYPE_CHECKING:
    from samscope.stages.bench import Bench

RECORD = "drift.json"

LEARNED = 99.0
"""Percent of the training samples that are right over the steps of a row of the history, from which
on they count as learned: the mean over a row is never 100 while single batches still err."""


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured.
        seeds: how many of a cell's.
        epochs: epochs, or steps, whose weights are compared, beside the last; new ones need runs
            trained with them.
    """

    where: dict[str, Any]
    seeds: Count
    epochs: Annotated[
        tuple[Count, ...], Check(lambda e: len(set(e)) == len(e) > 2, "three or more, each once")
    ]

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The first of them."""
        return planned[: self.seeds]

    def used(self) -> dict[str, Any]:
        """The epochs at which weights are taken."""
        return {"epochs": sorted(asdict(self)["epochs"])}


def make(run: Run[Cell], bench: "Bench", report: Report, until: float = 0.0) -> bool:
    """Measure one run and write its record; the caller holds the cell's lock.

    It holds ``kept``, where weights were kept; ``steps``, those of them from the one on at which
    the training set is learned; ``distances`` from each to all after it; ``exponent``, of the
    distances from the first over the steps since then; and ``cosine``, the mean of moves from one
    to the next: see `samscope.measure.drift`.

    Args:
        run: whose training has a whole record.
        bench: where.
        report: called with one line about the run.
        until: not heeded.

    Raises:
        InputError: for a run that is missing, damaged or without its weights.
    """
    from samscope.measure.landscape import weights

    begin, cell, code = time.perf_counter(), run.spec, _code(run.spec)
    last, splits = trained.whole_length(run), bench.splits(run.spec.task)
    kept = _wanted(run, last)
    steps = _learned(run, kept)
    paths = [_weights(run, at, last) for at in steps]
    found = _measured(steps, [weights(trained.model(p, cell, run.seed, splits)) for p in paths])
    json_record.write(run, RECORD, {"code": code, "epochs": last, "kept": kept, **found})
    seconds = time.perf_counter() - begin
    records.annotate(run.folder, {"drift": trained.told(seconds, splits.device, code)})
    numbers = f"exponent {found['exponent']:.3g} cosine {found['cosine']:.3g}"
    told = f"{numbers}, {len(steps)} of {len(kept)} weights"
    report(f"{run.name} drift {told}, {seconds:.1f} s")
    return True


def read(run: Run[Cell]) -> dict[str, Any] | None:
    """A run's record of its drift; None without one of this run over these epochs."""
    held = json_record.found(run, RECORD, Recorded)
    return held if held and held["kept"] == _wanted(run, held["epochs"]) else None


def is_made(run: Run[Cell]) -> bool:
    """Whether a run's drift need not, or can no more, be measured.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    last, held = trained.whole_length(run), read(run)
    if held is None:
        return False
    there = all(_weights(run, at, last).exists() for at in _wanted(run, last))
    return held["code"] == _code(run.spec) or not there


def lacking(run: Run[Cell]) -> list[Path]:
    """The weights that a run would need to be measured and has no more.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    last = trained.whole_length(run)
    paths = [_weights(run, at, last) for at in _wanted(run, last)]
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run[Cell]]) -> None:
    """Write a cell's drift.json from the records of its runs, those that have one."""
    shown = ("steps", "distances", "exponent", "cosine")
    json_record.put_together(runs, RECORD, read, lambda held: {name: held[name] for name in shown})


def _wanted(run: Run[Cell], last: int) -> list[int]:
    """The epochs to compare of a run that was trained for ``last``: fewer where it diverged."""
    return sorted({last, *(epoch for epoch in run.epochs if epoch < last)})


def _weights(run: Run[Cell], at: int, last: int) -> Path:
    return run.folder / (records.WEIGHTS if at == last else records.weights_at(at))


def _learned(run: Run[Cell], steps: Sequence[int]) -> list[int]:
    """Those of some steps from the one on at which the training set is learned; none, if never.

    All, of a task without accuracies.
    """
    unit, column = run.spec.budget.unit, "train_acc_percent"
    with (run.folder / "history.csv").open() as file:
        rows = {int(row[unit]): row for row in csv.DictReader(file)}
    first = (
        place
        for place, at in enumerate(steps)
        if column not in rows[at] or float(rows[at][column] or 0.0) >= LEARNED
    )
    return list(steps[next(first, len(steps)) :])


def _measured(steps: Sequence[int], points: Sequence[Any]) -> dict[str, Any]:
    """Distances between weights, and how those from the first grow."""
    from samscope.measure import drift

    found = drift.distances(points)
    lags = [at - steps[0] for at in steps[1:]]
    return {
        "steps": list(steps),
        "distances": found,
        "exponent": drift.exponent(lags, found[0] if found else []),
        "cosine": drift.turning(found),
    }


def _code(cell: Cell) -> str:
    """Digest of the code that measures the runs of a cell."""
    return digest(*(f"{__name__}:{name}" for name in ("_learned", "_measured")))


def _is_triangle(rows: list) -> bool:
    return all(len(row) == len(rows) - place for place, row in enumerate(rows))


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds, see `make`."""

    code: str
    epochs: int
    kept: tuple[int, ...]
    steps: tuple[int, ...]
    distances: Annotated[list, Check(_is_triangle, "distances from each to all after it")]
    exponent: Number
    cosine: Number


STAGE = Stage(
    *("drift", Cell, RECORD, (RECORD,), Recorded, make, read, is_made, assemble),
    settings=Settings,
    lacking=lacking,
    code=_code,
)
