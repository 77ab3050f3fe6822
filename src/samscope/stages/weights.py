"""Until when a run's weights are kept: until all that is made from them is there."""

from functools import cache

from samscope.errors import InputError
from samscope.plan.types import Plan
from samscope.stages.asked import runs
from samscope.stages.registry import STAGES
from samscope.stages.run import Run
from samscope.stages.stage import Stage
from samscope.store import records


def release(plan: Plan, run: Run) -> None:
    """Remove the weights of a run, and of those it needs, that nothing more is to be made from.

    Where the profile keeps weights, all stay.
    """
    if plan.about.keep_weights:
        return
    for one in (run, *run.needs):
        waiting = _needing(plan).get((one.spec.id, one.seed), ())
        if not any(_waits(*of) for of in waiting):
            records.drop_weights(one.folder)


def _waits(stage: Stage, run: Run) -> bool:
    return stage.holds_weights or not is_made(stage, run)


@cache
def _needing(plan: Plan) -> dict[tuple[str, int], list[tuple[Stage, Run]]]:
    """What is made from the record of each run."""
    found: dict[tuple[str, int], list[tuple[Stage, Run]]] = {}
    for name, stage in STAGES.items():
        for run in (run for of_cell in runs(plan, name).values() for run in of_cell):
            for need in run.needs:
                found.setdefault((need.spec.id, need.seed), []).append((stage, run))
    return found


def is_made(stage: Stage, run: Run) -> bool:
    """Whether a run is made; it is not where what it is made from is missing or damaged."""
    try:
        return stage.is_made(run)
    except InputError:
        return False
