"""Training: from a cell and its seeds to records on disk. Importable without torch."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from samscope.spec import Cell
from samscope.store import records, state

if TYPE_CHECKING:
    from samscope.data import Dataset

Report = Callable[[str], None]

_print_now = partial(print, flush=True)


def train_cell(
    cell: Cell,
    seeds: Sequence[int],
    out_dir: str | Path,
    data_dir: str | Path,
    report: Report = _print_now,
    dropped: Collection[int] = (),
    snapshots: Mapping[int, Collection[int]] = MappingProxyType({}),
) -> None:
    """Train the runs of a cell that have no valid record yet and put the cell's records together.

    Writes ``<out_dir>/seed=<n>/`` for each seed, then ``metrics.json`` and ``history.csv`` of these
    seeds beside them. A killed job goes on where it was.

    Args:
        cell: the setting.
        seeds: of the runs.
        out_dir: folder of the cell, ``results/<profile>/runs/<cell id>``.
        data_dir: folder of the data sets.
        report: called with one line about each run, and about each record that is not usable.
        dropped: seeds whose weights are not kept.
        snapshots: epochs before the last whose weights are kept as well, by seed.

    Raises:
        InputError: when the data set cannot be used.
        OSError: when a record cannot be written, with the file's name; finished runs stay.
    """
    folder = Path(out_dir)
    with records.locked(folder, report):
        seeds = sorted(set(seeds))
        missing = []
        for seed in seeds:
            metrics = kept(folder / f"seed={seed}", cell, seed, report)
            if metrics is None:
                missing.append(seed)
            else:
                report(f"{cell.id}/seed={seed} {summary(metrics)} kept")
        if missing:
            data, provenance = equip(cell, data_dir)
        for seed in missing:
            run = folder / f"seed={seed}"
            marked = snapshots.get(seed, ())
            outcome = train_run(run, cell, seed, data, provenance, report, snapshots=marked)
            report(f"{cell.id}/seed={seed} {summary(outcome.metrics)} {outcome.seconds:.1f} s")
        for seed in dropped:
            records.drop_weights(folder / f"seed={seed}")
        records.assemble(folder, cell, seeds)


def kept(run: Path, cell: Cell, seed: int, report: Report) -> dict[str, Any] | None:
    """The metrics of a run with a valid record; a record that is not valid is named."""
    try:
        metrics = records.read_run(run, cell, seed)
    except records.BadRecord as error:
        report(f"{run}: {error}; trained again")
        return None
    if metrics is not None:
        state.remove(run)
    return metrics


def equip(cell: Cell, data_dir: str | Path) -> "tuple[Dataset, dict[str, Any]]":
    """Make the process ready to train a cell: its data set on the device, and the provenance."""
    import torch

    from samscope.data import load
    from samscope.seeding import make_deterministic
    from samscope.store.provenance import collect

    make_deterministic(cell.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return load(cell, data_dir).to(device), collect(name, cell.threads)


def train_run(
    run: Path,
    cell: Cell,
    seed: int,
    data: "Dataset",
    provenance: dict[str, Any],
    report: Report,
    deadline: float = math.inf,
    snapshots: Collection[int] = (),
) -> records.Outcome | None:
    """Train one run and write its records; the caller holds the cell's lock.

    Args:
        run: folder of the run; a state in it is gone on from.
        cell: the setting.
        seed: of the run.
        data: see `equip`; ``provenance`` likewise.
        provenance: of the run's numbers.
        report: called with one line about each state that is used or passed over.
        deadline: see `samscope.train.engine.train`; None is returned where it ended the run.
        snapshots: likewise.
    """
    from samscope.train import engine

    run.mkdir(exist_ok=True)
    outcome = engine.train(cell, seed, data, run, report, deadline, snapshots)
    if outcome is not None:
        records.write_run(run, cell, seed, outcome, provenance)
        state.remove(run)
    return outcome


def summary(metrics: dict[str, Any]) -> str:
    """What a run's line says of its numbers."""
    accuracy = metrics["test_acc_percent"]["best_val"]
    diverged = ", diverged" if metrics["diverged"] else ""
    return f"test {accuracy:.1f} % (best epoch {metrics['best_epoch']}{diverged})"
