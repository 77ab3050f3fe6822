"""What a stage is: of a spec and a seed it makes a run's record. No torch, NumPy or pandas here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from samscope.spec import Spec
from samscope.stages import json_record
from samscope.stages.run import Run
from samscope.store import records

if TYPE_CHECKING:
    from samscope.stages.bench import Bench

Report = Callable[[str], None]


class Settings(Protocol):
    """What a profile says of a stage for a paper: a frozen dataclass of the stage's own."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def where(self) -> Mapping[str, Any]:
        """Leaves of the paper's cells and their values: of which cells it is made."""

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """Those of a cell's planned seeds of which it is made."""

    def used(self) -> dict[str, Any]:
        """What decides the numbers, as records hold it; ``epochs`` are those before the last."""


@dataclass(frozen=True)
class Stage:
    """One way to make records; all are in `samscope.stages.registry.STAGES`.

    Attributes:
        name: of its rule, its metrics and its settings.
        spec: type of what it is made from.
        shape: what the record of a run holds, a dataclass; None where it is no JSON file alone.
        files: names of what it leaves in the folder of a run and that travels to other machines.
        record: file in the folder of a spec, put together from its runs', with their digests.
        make: makes a run's record; False where it stopped since it would not have ended before a
            time (of ``time.perf_counter``). The caller holds the lock of the spec's folder.
        read: a run's record; None without one. `samscope.store.records.BadRecord` for one that is
            not, or not wholly, the run's.
        is_made: whether a run need not, or can no more, be made.
        assemble: writes the record of those of a spec's runs that have a record.
        beside: files that are written with it.
        settings: type of what a profile says of it, where it measures the runs of another stage;
            None where it makes what the rows of a table name.
        lacking: the files that a run would need and that are gone.
        reference: of the specs that a paper chooses, in the order of ``where``, the one that
            another of them is compared with.
        check: refuses, in the folder of a run, what stands beside its record and is not what it
            writes; `samscope.store.records.BadRecord` for it.
        holds_weights: whether the weights it was made from stay, whatever the profile says.
        code: digest of the code that makes it of a spec, where an edit is a reason to make it
            again.
        unfit: of a spec that it cannot measure, in words what it can; "" of another.
    """

    name: str
    spec: type
    record: str
    files: tuple[str, ...]
    shape: type | None
    make: Callable[[Run, "Bench", Report, float], bool]
    read: Callable[[Run], dict[str, Any] | None]
    is_made: Callable[[Run], bool]
    assemble: Callable[[Sequence[Run]], None]
    beside: tuple[str, ...] = ()
    settings: type[Settings] | None = None
    lacking: Callable[[Run], list[Path]] = lambda run: []
    reference: Callable[[Sequence[Any], Any], Spec | None] = lambda chosen, spec: None
    check: Callable[[Path], None] = lambda run: None
    holds_weights: bool = False
    code: Callable[[Any], str] = lambda spec: ""
    unfit: Callable[[Any], str] = lambda spec: ""

    def held(self, runs: Sequence[Run]) -> list[Run]:
        """Those of a spec's runs that its record lists, as the digests tell."""
        told = self._told(runs)
        return [run for run in runs if told.get(run.seed) == run.identity]

    def is_built(self, runs: Sequence[Run]) -> bool:
        """Whether the record of a spec is of these runs and no others, as the digests tell."""
        told = self._told(runs)
        # Digests are dear: of a spec without a record none is needed.
        same = told.keys() == {run.seed for run in runs}
        return same and told == {run.seed: run.identity for run in runs}

    def _told(self, runs: Sequence[Run]) -> dict[int, dict[str, Any]]:
        """Of which run each seed in the record of a spec is; nothing with other settings."""
        held = json_record.load(runs[0].folder.parent / self.record)
        try:
            told = {run["seed"]: json_record.identity(run) for run in held["runs"]}
        except (KeyError, TypeError, AttributeError):
            return {}
        return told if held.get("settings", {}) == runs[0].settings else {}


def complete(
    stage: Stage,
    runs: Sequence[Run],
    bench: "Bench",
    report: Report,
    release: Callable[[Run], None] = lambda run: None,
) -> None:
    """Make the runs of a spec that are not made yet, and put the records of the spec together.

    A valid record is kept; what a killed job began is gone on from.

    Args:
        stage: that makes them.
        runs: all of one spec.
        bench: where.
        report: called with one line about each run.
        release: called with each run once all are made.
    """
    with records.locked(runs[0].folder.parent, report):
        for run in runs:
            if stage.is_made(run):
                report(f"{run.name} {stage.name} kept")
            else:
                stage.make(run, bench, report, math.inf)
        stage.assemble(runs)
        for run in runs:
            release(run)
