"""Training: from a cell and its seeds to records on disk. Importable without torch."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from samscope.spec import Cell
from samscope.train import records, state

Report = Callable[[str], None]

_print_now = partial(print, flush=True)


def train_cell(
    cell: Cell,
    seeds: Sequence[int],
    out_dir: str | Path,
    data_dir: str | Path,
    report: Report = _print_now,
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

    Raises:
        InputError: when the data set cannot be used.
        OSError: when a record cannot be written, with the file's name; finished runs stay.
    """
    folder = Path(out_dir)
    with records.locked(folder, report):
        seeds = sorted(set(seeds))
        missing = [seed for seed in seeds if not _kept(folder, cell, seed, report)]
        if missing:
            _train(folder, cell, missing, data_dir, report)
        records.assemble(folder, cell, seeds)


def _kept(folder: Path, cell: Cell, seed: int, report: Report) -> bool:
    """Whether the run has a valid record; one that is not valid is named."""
    run = folder / f"seed={seed}"
    try:
        metrics = records.read_run(run, cell, seed)
    except records.BadRecord as error:
        report(f"{run}: {error}; trained again")
        return False
    if metrics is None:
        return False
    state.remove(run)
    report(f"{cell.id}/seed={seed} {_summary(metrics)} kept")
    return True


def _train(
    folder: Path, cell: Cell, seeds: list[int], data_dir: str | Path, report: Report
) -> None:
    """Train runs one after the other and write their records."""
    import torch

    from samscope.data import load
    from samscope.provenance import collect
    from samscope.seeding import make_deterministic
    from samscope.train import engine

    make_deterministic(cell.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    provenance = collect(name, cell.threads)
    data = load(cell, data_dir).to(device)
    for seed in seeds:
        run = folder / f"seed={seed}"
        run.mkdir(exist_ok=True)
        outcome = engine.train(cell, seed, data, run, report)
        records.write_run(run, cell, seed, outcome, provenance)
        state.remove(run)
        report(f"{cell.id}/seed={seed} {_summary(outcome.metrics)} {outcome.seconds:.1f} s")


def _summary(metrics: dict[str, Any]) -> str:
    """What a run's line says of its numbers."""
    accuracy = metrics["test_acc_percent"]["best_val"]
    diverged = ", diverged" if metrics["diverged"] else ""
    return f"test {accuracy:.1f} % (best epoch {metrics['best_epoch']}{diverged})"
