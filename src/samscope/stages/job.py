"""The workflow's job: all runs of a stage that one spec lacks, and the record of the spec."""

import difflib
from functools import partial

from samscope.errors import InputError
from samscope.plan.types import Plan
from samscope.stages import weights
from samscope.stages.asked import runs
from samscope.stages.bench import Bench
from samscope.stages.registry import STAGES
from samscope.stages.stage import Report, complete

_print_now = partial(print, flush=True)


def make(plan: Plan, name: str, id_: str, report: Report = _print_now) -> None:
    """Make what is missing of a stage's runs of a spec, and the spec's record.

    A record of a run that is valid is kept; a job that was killed goes on where it was.

    Args:
        plan: of the profile.
        name: of the stage.
        id_: of the spec.
        report: called with one line about each run.

    Raises:
        InputError: for a stage or an id that the plan does not have, and when a run cannot be made.
        OSError: when a record cannot be written, with the file's name; finished runs stay.
    """
    if name not in STAGES:
        raise InputError("samscope make", "stage", name, ", ".join(STAGES))
    plan.find(id_)
    stage, asked = STAGES[name], runs(plan, name)
    if id_ not in asked:
        near = ", ".join(difflib.get_close_matches(id_, asked, 3, 0)) or "none in this profile"
        raise InputError(f"samscope make {name}", "cell", id_, near)
    bench = Bench(plan.root / plan.config.data_dir)
    complete(stage, asked[id_], bench, report, partial(weights.release, plan))
