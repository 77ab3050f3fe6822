"""Stages that make numbers of what a table's rows name, and no weights."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from samscope.digests import digest
from samscope.stages import json_record
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.store import records

if TYPE_CHECKING:
    from samscope.stages.bench import Bench


def of_numbers(
    name: str,
    spec: type,
    record: str,
    shape: type,
    numbers: Callable[[Run, "Bench"], Mapping[str, Any]],
    threads: int = 1,
) -> Stage:
    """A stage that makes numbers of what a table's rows name, and no weights.

    Args:
        name: of the stage.
        spec: type of what it is made from.
        record: name of its file, of a run and of a spec.
        shape: what its record holds, a dataclass: the numbers, and ``code``.
        numbers: of a run, by name; a function of a module.
        threads: CPU threads that it takes.
    """

    def code(spec: object = None) -> str:
        return digest(f"{numbers.__module__}:{numbers.__name__}")

    def make(run: Run, bench: "Bench", report: Report, until: float) -> bool:
        from samscope.store.provenance import collect

        begin = time.perf_counter()
        found = numbers(run, bench)
        seconds = time.perf_counter() - begin
        run.folder.mkdir(exist_ok=True)
        source = {**collect(bench.device_name, threads), "seconds": seconds}
        records.write(run.folder / "provenance.json", records.to_json(source))
        json_record.write(run, record, {"code": code(), **found})
        report(f"{run.name} {name} {seconds:.2g} s")
        return True

    def read(run: Run) -> dict[str, Any] | None:
        return json_record.found(run, record, shape)

    def is_made(run: Run) -> bool:
        held = read(run)
        return held is not None and held["code"] == code()

    def assemble(runs: Sequence[Run]) -> None:
        json_record.put_together(runs, record, read, lambda held: held)

    return Stage(
        name,
        spec,
        record,
        (record, "provenance.json"),
        shape,
        make,
        read,
        is_made,
        assemble,
        code=code,
    )
