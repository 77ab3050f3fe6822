"""The outstanding runs of a profile, the most important first, until the time is used.

For a machine that is borrowed for minutes: no Snakemake, one process, so that data set, compiled
code and recorded graphs serve one run after the other. What it leaves is what the workflow leaves.
"""

import json
import math
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from samscope.errors import InputError
from samscope.plan.order import ordered
from samscope.plan.types import Plan
from samscope.run import archive
from samscope.spec import Cell
from samscope.stages import STAGES, Report, Run, Stage, is_made, maker, release, runs
from samscope.stages.bench import Bench
from samscope.store import records, state

RESERVE = 0.25
"""Of a budget, kept for each stage that measures a run, before it is timed: a run that is packed
without it may lose its weights with the machine."""

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
) -> list[archive.Named]:
    """Make the runs of a plan that are missing, in the order of `samscope.plan.order.ordered`.

    A run is begun, or goes on, only while the next row of its history will probably end in time; a
    run that is stopped keeps its state. Stages that measure it follow as soon as it is complete, if
    the time probably suffices; the run is packed before. Several queues of one profile share its
    cells: one that another job works on is left for the end, and so is one that waits for another.

    Args:
        plan: what to run.
        report: called with one line about each run.
        budget: seconds from now.
        match: only cells whose id contains this.
        pack: archive that gets, after each run, the records of all that this call made; several
            queues may have one.

    Returns:
        The runs it made or measured.

    Raises:
        InputError: when a data set cannot be used.
    """
    worker = _Worker(plan, budget, report)
    chosen = [run for run in ordered(plan) if match in run[0]]
    made: list[archive.Named] = []

    def keep(cell: str, seed: int) -> None:
        if (cell, seed) not in made:
            made.append((cell, seed))
        archive.gather(plan, cell)
        if pack:
            archive.pack(plan, made, pack)

    if pack:
        archive.pack(plan, made, pack)  # what cannot be written to is found out now
    left: list[tuple[str, int]] = []
    waiting, last = deque(chosen), False
    while waiting or left:
        if not waiting:
            waiting, left, last = deque(left), [], True
        cell, seed = waiting.popleft()
        with records.locked(plan.run_dir(cell), report, last) as held:
            if not held:
                left.append((cell, seed))
                continue
            done = worker.make(cell, seed, keep)
        if not done:
            rest = f"{len(waiting) + len(left) + 1} of {len(chosen)} left"
            report(f"out of time at {cell}/seed={seed}, {rest}; {worker.pace(cell, seed)}")
            break
        waits = worker.waits(cell, seed)
        if waits and last:
            report(waits)
        elif waits:
            left.append((cell, seed))
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
        self.bench = Bench(plan.root / plan.config.data_dir)
        self._row: dict[str, float] = {}
        """Longest mean time of a row of the history so far, by model."""
        first = RESERVE * budget if budget < math.inf else 0.0
        self._took = {name: first if stage.settings else 0.0 for name, stage in STAGES.items()}
        """How long a run of a stage took last, see `RESERVE`."""

    def make(self, cell: str, seed: int, keep: Callable[[str, int], None]) -> bool:
        """Make a run, and what is measured of it; the caller holds its cell's lock.

        Args:
            cell: of the run.
            seed: of the run.
            keep: called when the run is made, and when it is measured.

        Returns:
            Whether the time sufficed for what there was to do.
        """
        (stage, run), *measured = self._asked(cell, seed)
        there = is_made(stage, run)
        ready = [(s, r) for s, r in measured if not self._missing(r)]
        due = [(s, r) for s, r in ready if not (there and is_made(s, r))]
        until = self.deadline - sum(self._took[s.name] for s, _ in due)
        if (due or not there) and time.perf_counter() >= until:
            return False
        if not there:
            if self._missing(run) or self._lacks(stage, run):
                return True
            if not self._make(stage, run, until):
                return False
            keep(cell, seed)
        if any([self._measure(*one) for one in due]):
            keep(cell, seed)
        for of in (run, *(r for _, r in measured)):
            release(self.plan, of)
        return True

    def waits(self, cell: str, seed: int) -> str:
        """Which run of another cell is waited for, and by what; "" for none."""
        for stage, run in self._asked(cell, seed):
            missing = self._missing(run)
            if missing and not is_made(stage, run):
                return f"{run.name}: {stage.name} waits for {missing[0].name}"
        return ""

    def pace(self, cell: str, seed: int) -> str:
        """What a row of a run's history takes, as far as is known: for the choice of a budget."""
        spec = self.plan.specs[cell].cell
        if not isinstance(spec, Cell):
            return f"one took {self._took[maker(spec).name]:.3g} s"
        took, steps = self._row.get(spec.model), spec.budget.report_every
        a, row = ("an", "epoch") if spec.budget.epochs else ("a", "row of the history")
        if steps:
            row = f"row of {steps} steps"
        if took is None:
            run = self.plan.run_dir(cell) / f"seed={seed}"
            begun = state.load(run, spec.digest(seed), self.report)
            if begun is None:
                ready = f"{self.bench.seconds:.3g} s to get ready"
                return f"no {row} of {spec.model} timed yet, {ready}"
            took = begun.seconds / len(begun.history)
        return f"{a} {row} of {spec.model} takes {took:.3g} s"

    def _asked(self, cell: str, seed: int) -> list[tuple[Stage, Run]]:
        """The stages that a plan asks for of a run, the one that makes it first."""
        asked = ((s, runs(self.plan, name).get(cell, ())) for name, s in STAGES.items())
        return [(stage, run) for stage, found in asked for run in found if run.seed == seed]

    def _missing(self, run: Run) -> list[Run]:
        """The runs of other cells that one needs and that are not made."""
        others = (need for need in run.needs if need.spec.id != run.spec.id)
        return [need for need in others if not is_made(maker(need.spec), need)]

    def _lacks(self, stage: Stage, run: Run) -> bool:
        """Whether files are gone that a run would need, which is told."""
        gone = stage.lacking(run)
        if gone:
            lost = f"{gone[0].parent}: {gone[0].name} gone before the {stage.name}"
            self.report(f"{lost} of {run.name} was made; delete the folder to redo")
        return bool(gone)

    def _make(self, stage: Stage, run: Run, until: float) -> bool:
        """Make a run to its end; False where the time does not suffice."""
        begin, model = time.perf_counter(), getattr(run.spec, "model", "")
        if begin + max(self._row.get(model, 0.0), self._took[stage.name]) > until:
            return False
        if not stage.make(run, self.bench, self._timed(run), until):
            return False
        if isinstance(run.spec, Cell):
            pace = _seconds(run) / len(_history(run))
            self._row[model] = max(pace, self._row.get(model, 0.0))
        else:
            self._took[stage.name] = time.perf_counter() - begin
        return True

    def _timed(self, run: Run) -> Report:
        """The report, with what is left of the time behind the line about a run."""

        def report(line: str) -> None:
            left = self.deadline - time.perf_counter()
            told = line.startswith(f"{run.name} ") and left < math.inf
            self.report(f"{line}, {left:.0f} s left" if told else line)

        return report

    def _measure(self, stage: Stage, run: Run) -> bool:
        """Measure a complete run; False where that cannot be done, or in time."""
        begin = time.perf_counter()
        if begin + self._took[stage.name] >= self.deadline:
            self.report(f"{run.name}: no time left for its {stage.name}, its weights stay")
            return False
        try:
            if self._lacks(stage, run):
                return False
            stage.make(run, self.bench, self.report, self.deadline)
        except (InputError, ModuleNotFoundError, RuntimeError) as error:
            self.report(f"{run.name}: {stage.name} not made: {_why(error)}")
            return False
        self._took[stage.name] = time.perf_counter() - begin
        return True


def _seconds(run: Run) -> float:
    """How long a training took, over all jobs that had a part in it."""
    return json.loads((run.folder / "provenance.json").read_text())["seconds"]


def _history(run: Run) -> list[str]:
    """The rows of a training's history."""
    return (run.folder / "history.csv").read_text().splitlines()[1:]


def _why(error: Exception) -> str:
    """What a device or a library said, in its first line: the queue goes on without it."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
