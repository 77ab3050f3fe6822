"""The landscapes of a plan, as `samscope.stages.landscape` takes them."""

from typing import Any

from samscope.plan import keep as keeping
from samscope.plan.papers import Plan
from samscope.stages.landscape import Run, used_settings


def landscape(plan: Plan, cell: str) -> tuple[Run, Run | None, dict[str, Any]]:
    """The run of a cell that is measured, the run that a line begins from, and the settings used.

    Args:
        plan: of the profile.
        cell: one of `samscope.plan.keep.landscapes`.
    """
    seed, first = keeping.landscapes(plan)[cell]
    run, reference = (
        c and Run(plan.run_dir(c) / f"seed={seed}", plan.cells[c].cell, seed) for c in (cell, first)
    )
    settings = plan.scale["papers"][plan.cells[cell].cell.paper]["landscape"]
    return run, reference, used_settings(settings)
