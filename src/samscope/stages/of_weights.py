"""Stages that make numbers of the weights of trained runs, of the last and of earlier ones."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Check
from samscope.digests import digest
from samscope.spec import Cell
from samscope.stages import json_record, trained
from samscope.stages.run import Run
from samscope.stages.stage import Report, Settings, Stage
from samscope.store import records

if TYPE_CHECKING:
    from torch import nn

    from samscope.stages.bench import Bench
    from samscope.tasks.samples import Splits

ALONG = "along"
"""In a record: the numbers of each epoch that is measured, in ascending order."""


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds: by which code, how long it trained, and the numbers."""

    code: str
    epochs: int
    along: Annotated[tuple[dict[str, Any], ...], Check(bool, "numbers")]


def of_weights(
    name: str,
    settings: type[Settings],
    measured: "Callable[[Run[Cell], nn.Module, Splits], Mapping[str, float]]",
    unfit: Callable[[Cell], str],
) -> Stage:
    """A stage that makes numbers of the weights of trained runs.

    The record of a run holds its numbers at each epoch under `ALONG`; that of a cell, of each run
    those of the last too.

    Args:
        name: of the stage, and of its record.
        settings: what a profile says of it; with ``epochs``, those before the last at which it is
            measured.
        measured: of a run and its model, by name; a function of a module.
        unfit: see `Stage`.
    """
    record = f"{name}.json"

    def code(cell: Cell) -> str:
        task, loss = f"{cell.task.kind.module}:prepare", f"samscope.losses:{cell.task.loss}"
        return digest(f"{measured.__module__}:{measured.__name__}", task, loss)

    def wanted(run: Run[Cell], last: int) -> list[int]:
        return sorted({last, *(epoch for epoch in run.epochs if epoch < last)})

    def weights(run: Run[Cell], at: int, last: int) -> Path:
        return run.folder / (records.WEIGHTS if at == last else records.weights_at(at))

    def make(run: Run[Cell], bench: "Bench", report: Report, until: float = math.inf) -> bool:
        from samscope.seeding import make_deterministic

        begin, cell = time.perf_counter(), run.spec
        make_deterministic(cell.numerics.threads)
        last, splits = trained.whole_length(run), bench.splits(cell.task)
        along = [
            {"epoch": at, **measured(run, model, splits)}
            for at in wanted(run, last)
            for model in [trained.model(weights(run, at, last), cell, run.seed, splits)]
        ]
        json_record.write(run, record, {"code": code(cell), "epochs": last, ALONG: along})
        seconds = time.perf_counter() - begin
        told = trained.told(seconds, splits.device, code(cell))
        records.annotate(run.folder, {name: told})
        report(f"{run.name} {name} of {len(along)} epochs, {seconds:.1f} s")
        return True

    def read(run: Run[Cell]) -> dict[str, Any] | None:
        held = json_record.found(run, record, Recorded)
        have = {at.get("epoch") for at in held[ALONG]} if held else set()
        return held if held and set(wanted(run, held["epochs"])) <= have else None

    def is_made(run: Run[Cell]) -> bool:
        last, held = trained.whole_length(run), read(run)
        if held is None:
            return False
        return held["code"] == code(run.spec) or bool(lacking_at(run, last))

    def lacking_at(run: Run[Cell], last: int) -> list[Path]:
        paths = [weights(run, at, last) for at in wanted(run, last)]
        return [path for path in paths if not path.exists()]

    def lacking(run: Run[Cell]) -> list[Path]:
        return lacking_at(run, trained.whole_length(run))

    def assemble(runs: Sequence[Run[Cell]]) -> None:
        def told(held: dict[str, Any]) -> dict[str, Any]:
            at = wanted(runs[0], held["epochs"])
            along = [numbers for numbers in held[ALONG] if numbers["epoch"] in at]
            return {**along[-1], ALONG: along}

        json_record.put_together(runs, record, read, told)

    parts = (name, Cell, record, (record,), Recorded, make, read, is_made, assemble)
    return Stage(*parts, settings=settings, lacking=lacking, code=code, unfit=unfit)
