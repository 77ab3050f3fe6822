"""A project, opened: its plan, and what all rooms say against it before anything is made."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from samscope import stages
from samscope.analysis import claims, figures
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from samscope.run import archive


def open_project(config: dict[str, Any], root: Path) -> Plan:
    """The plan of a configuration, checked by stages, claims and figures. No torch, no pandas.

    Records that the repository holds of its profile, packed, are unpacked where there are none.

    Args:
        config: as read from ``config.yaml``.
        root: folder that holds ``workflow/``.

    Raises:
        InputError: for anything unknown, missing, malformed or contradictory, naming the file.
    """
    plan = load_plan(config, root)
    for room in (stages, claims, figures):
        room.check(plan)
    archive.take(plan, partial(print, file=sys.stderr))
    return plan
