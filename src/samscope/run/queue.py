"""The outstanding runs of a profile, the most important first, until the time is used.

For a machine that is borrowed for minutes: no Snakemake, one process, so that data set, compiled
code and recorded graphs serve one run after the other. What it leaves is what the workflow leaves.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from samscope.errors import InputError
from samscope.models import NAMES
from samscope.plan import keep as keeping
from samscope.plan.papers import Plan
from samscope.run import archive
from samscope.spec import Cell
from samscope.stages import curvature as cell_curvature
from samscope.stages import landscape as cell_landscape
from samscope.stages.planned import landscape
from samscope.stages.train import equip, kept, summary, train_run
from samscope.store import records, state

Report = Callable[[str], None]

RESERVE = 0.25
"""Of a budget, kept for a run's curvature, and for its loss surfaces, before the first are timed: a
run that is packed without them may lose its weights with the machine."""

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
    stopped keeps its state. Curvature is measured as soon as a run of a measured cell is complete,
    if the time probably suffices; the run is packed before. Several queues of one profile share its
    cells: one that another job works on is left for the end.

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
    worker = _Worker(plan, budget, report)
    chosen = [run for run in plan.queue() if match in run[0]]
    made: list[archive.Run] = []

    def keep(cell: str, seed: int) -> None:
        if (cell, seed) not in made:
            made.append((cell, seed))
        archive.gather(plan, cell)
        if pack:
            archive.pack(plan, made, pack)

    if pack and not pack.exists():
        archive.pack(plan, made, pack)  # a folder that cannot be written is found out now
    waiting, busy = deque(chosen), []
    while waiting or busy:
        wait = not waiting
        if wait:
            waiting, busy = deque(busy), []
        cell, seed = waiting.popleft()
        with records.locked(plan.run_dir(cell), report, wait) as held:
            if not held:
                busy.append((cell, seed))
                continue
            done = worker.make(cell, seed, keep)
        if not done:
            left = f"{len(waiting) + len(busy) + 1} of {len(chosen)} left"
            report(f"out of time at {cell}/seed={seed}, {left}; {worker.pace(cell, seed)}")
            break
    report(f"{plan.profile}: {len(made)} runs made")
    return made


class _Worker:
    """Makes one run after the other, with what the one before it leaves: data, and experience.

    Args:
        plan: see `run_queue`; ``report`` likewise.
        budget: seconds from now.
        report: called with one line about each run.
    """

    def __init__(self, plan: Plan, budget: float, report: Report) -> None:
        self.plan, self.report = plan, report
        self.deadline = time.perf_counter() + budget
        self._loaded: Cell | None = None
        self._epoch: dict[str, float] = {}
        """Longest mean time of an epoch so far, by model."""
        self._curvature = self._landscape = RESERVE * budget if budget < math.inf else 0.0
        """How long the last measurement took, see `RESERVE`."""
        self._ready = 0.0
        """How long the last reading of a data set took."""

    def make(self, cell_id: str, seed: int, keep: Callable[[str, int], None]) -> bool:
        """Make a run; the caller holds its cell's lock.

        Args:
            cell_id: of the run.
            seed: of the run.
            keep: called when the run is trained, and when it is measured.

        Returns:
            Whether the time sufficed for what there was to do.
        """
        cell, run = self.plan.cells[cell_id].cell, self.plan.run_dir(cell_id) / f"seed={seed}"
        trained = kept(run, cell, seed, self.report) is not None
        measures = seed in self.plan.measured_seeds(cell_id)
        used = cell_curvature.used_settings(self.plan.curvature(cell_id))
        due = measures and not (trained and cell_curvature.is_measured(run, cell, seed, used))
        until = self.deadline - (self._curvature if due else 0.0)
        if (due or not trained) and time.perf_counter() >= until:
            return False
        snapshots = keeping.snapshots(self.plan, cell_id).get(seed, ())
        if not trained:
            if not self._train(run, cell, seed, until, snapshots):
                return False
            keep(cell_id, seed)
        measured = due and self._measure(run, cell, seed, used)
        drawn = self._draw(cell_id, seed)
        if seed not in keeping.kept_weights(self.plan, cell_id) and not (due and not measured):
            records.drop_weights(run)
        if measured or drawn:
            keep(cell_id, seed)
        return True

    def pace(self, cell_id: str, seed: int) -> str:
        """What an epoch of a run takes, as far as that is known: for the choice of a budget."""
        cell = self.plan.cells[cell_id].cell
        took = self._epoch.get(cell.model)
        if took is None:
            run = self.plan.run_dir(cell_id) / f"seed={seed}"
            begun = state.load(run, cell.digest(seed), self.report)
            if begun is None:
                return f"no epoch of {cell.model} timed yet, {self._ready:.3g} s to get ready"
            took = begun.seconds / len(begun.history)
        return f"an epoch of {cell.model} takes {took:.3g} s"

    def _train(
        self, run: Path, cell: Cell, seed: int, until: float, snapshots: tuple[int, ...]
    ) -> bool:
        """Train a run to its end; False where the time does not suffice."""
        if time.perf_counter() + self._epoch.get(cell.model, 0.0) > until:
            return False
        data, provenance = self._equipped(cell)
        outcome = train_run(run, cell, seed, data, provenance, self.report, until, snapshots)
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

    def _measure(self, run: Path, cell: Cell, seed: int, used: dict[str, Any]) -> bool:
        """Measure the curvature of a complete run; False where that cannot be done, or in time."""
        begin = time.perf_counter()
        if begin + self._curvature >= self.deadline:
            self.report(f"{cell.id}/seed={seed}: no time left for its curvature, its weights stay")
            return False
        lacking = cell_curvature.lacking(run, cell, seed, used)
        if lacking:
            gone = f"{lacking[0]} gone before its curvature was measured"
            self.report(f"{run}: {gone}; delete the folder to redo")
            return False
        try:
            data = self._equipped(cell)[0]
            cell_curvature.measure_run(run, cell, seed, data, used, self.report)
        except (ModuleNotFoundError, RuntimeError) as error:
            self.report(f"{cell.id}/seed={seed}: curvature not measured: {_why(error)}")
            return False
        self._curvature = time.perf_counter() - begin
        return True

    def _draw(self, cell_id: str, seed: int) -> bool:
        """Measure the loss surfaces of a complete run, where that is planned, due and possible."""
        begin = time.perf_counter()
        planned_seed, _ = keeping.landscapes(self.plan).get(cell_id, (None, None))
        if seed != planned_seed or begin + self._landscape >= self.deadline:
            return False
        run, reference, used = landscape(self.plan, cell_id)
        if cell_landscape.is_measured(run, reference, used):
            return False
        gone = [r for r in (run, reference) if r and not (r.folder / records.WEIGHTS).exists()]
        if gone:
            self.report(f"{run.cell.id}/seed={seed} landscape: no weights of {gone[0].cell.id}")
            return False
        data = self._equipped(run.cell)[0]
        try:
            cell_landscape.measure_run(run, reference, data, used, self.report)
        except RuntimeError as error:
            self.report(f"{run.cell.id}/seed={seed}: landscape not measured: {_why(error)}")
            return False
        self._landscape = time.perf_counter() - begin
        return True

    def _equipped(self, cell: Cell) -> tuple:
        """See `samscope.train.equip`; the data set stays for cells that differ in other things."""
        plain = {"variant": "sgd", "rho": None, "condition": None, "varied": ""}
        key = replace(cell, model=NAMES[0], precision="float32", **plain)
        if key != self._loaded:
            begin = time.perf_counter()
            self._resident, self._loaded = equip(cell, self._data_dir()), key
            self._ready = time.perf_counter() - begin
        return self._resident

    def _data_dir(self) -> Path:
        return self.plan.root / self.plan.config["data_dir"]


def _why(error: Exception) -> str:
    """What a device or a library said, in its first line: the queue goes on without it."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
