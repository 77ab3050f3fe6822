"""The outstanding runs of a profile, the most important first, until the time is used.

For a machine that is borrowed for minutes: no Snakemake, one process, so that data set, compiled
code and recorded graphs serve one run after the other. What it leaves is what the workflow leaves.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from samscope.errors import InputError
from samscope.measure import curvature
from samscope.models import NAMES
from samscope.papers import Plan
from samscope.spec import Cell
from samscope.train import archive, equip, kept, records, summary, train_run

Report = Callable[[str], None]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(budget: str) -> float:
    """A time such as ``90s``, ``9m`` or ``2h``, in seconds.

    Raises:
        InputError: for anything else.
    """
    fits = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if not fits:
        raise InputError("samscope queue", "budget", budget, "a time such as 90s, 9m or 2h")
    return float(fits[1]) * _UNITS[fits[2]]


def run_queue(
    plan: Plan,
    report: Report,
    budget: float = math.inf,
    match: str = "",
    pack: Path | None = None,
) -> list[archive.Run]:
    """Make the runs of a plan that are missing, in the order of `Plan.queue`.

    A run is begun, or goes on, only while its next epoch will probably end in time; a run that is
    stopped keeps its state. Curvature is measured as soon as a run of a measured cell is complete.

    Args:
        plan: what to run.
        report: called with one line about each run.
        budget: seconds from now.
        match: only cells whose id contains this.
        pack: archive that holds, after each run, the records of all that this call made.

    Returns:
        The runs it made or measured.

    Raises:
        InputError: when a data set cannot be used.
    """
    worker = _Worker(plan, time.perf_counter() + budget, report)
    chosen = [run for run in plan.queue() if match in run[0]]
    made: list[archive.Run] = []
    if pack and not pack.exists():
        archive.pack(plan, made, pack)  # a folder that cannot be written is found out now
    for count, (cell, seed) in enumerate(chosen):
        with records.locked(plan.run_dir(cell), report):
            done = worker.make(cell, seed)
        if done is None:
            report(
                f"out of time at {cell}/seed={seed}, {len(chosen) - count} of {len(chosen)} left"
            )
            break
        if done:
            made.append((cell, seed))
            if pack:
                archive.pack(plan, made, pack)
    report(f"{plan.profile}: {len(made)} runs made")
    return made


class _Worker:
    """Makes one run after the other, with what the one before it leaves: data, and experience.

    Args:
        plan: see `run_queue`; ``report`` likewise.
        deadline: by ``time.perf_counter``.
        report: called with one line about each run.
    """

    def __init__(self, plan: Plan, deadline: float, report: Report) -> None:
        self.plan, self.deadline, self.report = plan, deadline, report
        self._loaded: Cell | None = None
        self._epoch: dict[str, float] = {}
        """Longest mean time of an epoch so far, by model."""
        self._curvature = 0.0
        """How long the last measurement took."""

    def make(self, cell_id: str, seed: int) -> bool | None:
        """Make a run; the caller holds its cell's lock.

        Returns:
            Whether there was something to do; None when the time does not suffice for it.
        """
        cell, run = self.plan.cells[cell_id].cell, self.plan.run_dir(cell_id) / f"seed={seed}"
        trained = kept(run, cell, seed, self.report) is not None
        measures = seed in self.plan.measured_seeds(cell_id)
        used = curvature.used_settings(self.plan.curvature(cell_id))
        due = measures and not (trained and curvature.is_measured(run, cell, seed, used))
        until = self.deadline - (self._curvature if due else 0.0)
        if (due or not trained) and time.perf_counter() >= until:
            return None
        if not trained and not self._train(run, cell, seed, until):
            return None
        measured = due and self._measure(run, cell, seed, used)
        if not (self.plan.scale["keep_weights"] or (due and not measured)):
            records.drop_weights(run)
        if trained and not measured:
            return False
        archive.gather(self.plan, cell_id)
        return True

    def _train(self, run: Path, cell: Cell, seed: int, until: float) -> bool:
        """Train a run to its end; False where the time does not suffice."""
        if time.perf_counter() + self._epoch.get(cell.model, 0.0) > until:
            return False
        data, provenance = self._equipped(cell)
        outcome = train_run(run, cell, seed, data, provenance, self.report, until)
        if outcome is None:
            return False
        epochs = outcome.metrics["epochs"]
        pace = outcome.seconds / epochs
        self._epoch[cell.model] = max(pace, self._epoch.get(cell.model, 0.0))
        images = len(data.train_x)
        images -= images % cell.batch_size if cell.drop_last else 0
        left = self.deadline - time.perf_counter()
        self.report(
            f"{cell.id}/seed={seed} {summary(outcome.metrics)} {images / pace:.0f} images/s"
            f" {outcome.seconds:.1f} s" + (f", {left:.0f} s left" if left < math.inf else "")
        )
        return True

    def _measure(self, run: Path, cell: Cell, seed: int, used: dict[str, int]) -> bool:
        """Measure the curvature of a complete run; False where that cannot be done."""
        begin = time.perf_counter()
        if not (run / records.WEIGHTS).exists():
            self.report(f"{run}: weights gone before its curvature was measured; delete it to redo")
            return False
        try:
            curvature.measure_run(run, cell, seed, self._equipped(cell)[0], used, self.report)
        except ModuleNotFoundError as error:
            self.report(f"{cell.id}: curvature not measured: {error.name} is not installed")
            return False
        self._curvature = time.perf_counter() - begin
        return True

    def _equipped(self, cell: Cell) -> tuple:
        """See `samscope.train.equip`; the data set stays for cells that differ in other things."""
        plain = {"variant": "sgd", "rho": None, "condition": None, "varied": ""}
        key = replace(cell, model=NAMES[0], precision="float32", **plain)
        if key != self._loaded:
            self._resident, self._loaded = equip(cell, self._data_dir()), key
        return self._resident

    def _data_dir(self) -> Path:
        return self.plan.root / self.plan.config["data_dir"]
