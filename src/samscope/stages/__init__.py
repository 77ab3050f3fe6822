"""Stages: a spec in, a record out. Importable without torch, NumPy or pandas.

A stage is a file of this folder and an entry of `STAGES`. Workflow, queue, archives and command
line know all of them by `Stage` alone.
"""

from samscope.stages.asked import check, made_run, runs
from samscope.stages.registry import STAGES, maker
from samscope.stages.run import Run
from samscope.stages.stage import Report, Stage
from samscope.stages.weights import is_made, release

__all__ = [
    "STAGES",
    "Report",
    "Run",
    "Stage",
    "check",
    "is_made",
    "made_run",
    "maker",
    "release",
    "runs",
]
