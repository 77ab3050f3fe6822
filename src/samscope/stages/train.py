"""Training: from a cell and its seeds to records on disk. Importable without torch."""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from samscope.errors import InputError
from samscope.spec import Cell
from samscope.stages import trained
from samscope.stages.bench import Bench
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage, complete
from samscope.store import records, state

_print_now = partial(print, flush=True)


def train_cell(
    cell: Cell,
    seeds: Sequence[int],
    out_dir: str | Path,
    data_dir: str | Path,
    report: Report = _print_now,
    snapshots: Mapping[int, Collection[int]] = MappingProxyType({}),
) -> None:
    """Train the runs of a cell that have no valid record yet and put the cell's records together.

    Writes ``<out_dir>/seed=<n>/`` for each seed, then ``metrics.json`` and ``history.csv`` of these
    seeds beside them. A killed job goes on where it was. No plan is needed.

    Args:
        cell: the setting.
        seeds: of the runs.
        out_dir: folder of the cell, ``results/<profile>/runs/<cell id>``.
        data_dir: folder of the data sets.
        report: called with one line about each run, and about each record that is not usable.
        snapshots: epochs, or steps, before the last whose weights are kept as well, by seed.

    Raises:
        InputError: when the data set cannot be used, and for a cell that begins from another's
            runs: a plan knows where these are.
        OSError: when a record cannot be written, with the file's name; finished runs stay.
    """
    if cell.needs(0):
        allowed = "a cell that needs no other, without a plan: samscope make train"
        raise InputError("samscope train", "cell", cell.id, allowed)
    kept = {seed: tuple(snapshots.get(seed, ())) for seed in sorted(set(seeds))}
    asked = [Run(Path(out_dir) / f"seed={n}", cell, n, epochs=at) for n, at in kept.items()]
    complete(STAGE, asked, Bench(data_dir), report)


def make(run: Run[Cell], bench: Bench, report: Report, until: float = math.inf) -> bool:
    """Train a run and write its records; the caller holds the cell's lock.

    A state in its folder is gone on from; a record that is not valid is named.

    Args:
        run: with the epochs, or steps, before the last after which its weights are kept.
        bench: where.
        report: called with one line about the run, and about each state used or passed over.
        until: see ``deadline`` of `samscope.train.engine.train`.

    Returns:
        Whether it came to its end in time.

    Raises:
        InputError: where it begins with the weights of a run that is missing, damaged or without
            them.
    """
    from samscope.seeding import make_deterministic
    from samscope.store.provenance import collect
    from samscope.train import engine

    cell, threads = run.spec, run.spec.numerics.threads
    try:
        read(run)
    except records.BadRecord as error:
        report(f"{run.folder}: {error}; trained again")
    make_deterministic(threads)
    splits, provenance = bench.splits(cell.task), collect(bench.device_name, threads)
    run.folder.mkdir(exist_ok=True)
    start = trained.started(run, splits)
    outcome = engine.train(cell, run.seed, splits, run.folder, report, until, run.epochs, start)
    if outcome is None:
        return False
    records.write_run(run.folder, cell, run.seed, outcome, provenance)
    state.remove(run.folder)
    units, batch = outcome.metrics[f"{cell.budget.unit}s"], cell.budget.batch_size
    samples = len(splits.train) - (len(splits.train) % batch if cell.budget.drop_last else 0)
    pace = units * (batch if cell.budget.steps else samples) / outcome.seconds
    told = f"{summary(outcome.metrics)} {pace:.0f} samples/s {outcome.seconds:.1f} s"
    report(f"{run.name} {told}")
    return True


def read(run: Run[Cell]) -> dict[str, Any] | None:
    """The metrics of a run; None without a record of it.

    Raises:
        BadRecord: when files are missing, damaged, changed or of another run.
    """
    return records.read_whole(run.folder, run.spec, run.seed)


def is_made(run: Run[Cell]) -> bool:
    """Whether a run has a valid record."""
    try:
        return read(run) is not None
    except records.BadRecord:
        return False


def lacking(run: Run[Cell]) -> list[Path]:
    """The weights that it would begin with and that are gone; none where they are drawn."""
    paths = (need.folder / records.WEIGHTS for need in run.needs)
    return [path for path in paths if not path.exists()]


def assemble(runs: Sequence[Run[Cell]]) -> None:
    """Write a cell's metrics.json and history.csv from those of its runs that have a record."""
    made = [run for run in runs if is_made(run)]
    for run in made:
        state.remove(run.folder)
    if made:
        records.assemble(made[0].folder.parent, made[0].spec, [run.seed for run in made])


def summary(metrics: dict[str, Any]) -> str:
    """What a run's line says of its numbers."""
    accuracy, loss = (metrics.get(k, {}).get("best_val") for k in ("test_acc_percent", "test_loss"))
    shown = f"loss {math.nan if loss is None else loss:.4g}"
    if accuracy is not None:
        shown = f"{accuracy:.1f} %"
    unit = "epoch" if "best_epoch" in metrics else "step"
    diverged = ", diverged" if metrics["diverged"] else ""
    return f"test {shown} (best {unit} {metrics[f'best_{unit}']}{diverged})"


_FILES = (*(name for name in records.FILES if name != records.WEIGHTS), "provenance.json")

STAGE = Stage(
    *("train", Cell, "metrics.json", _FILES, None, make, read, is_made, assemble),
    beside=("history.csv",),
    lacking=lacking,
)
