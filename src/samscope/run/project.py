"""A project, opened: its plan, and what all rooms say against it before anything is made."""

import os
import re
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from samscope import stages
from samscope.analysis import claims, figures
from samscope.config.profile import check_folder, read_config
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from samscope.report import directives
from samscope.run import archive


def open_project(config: dict[str, Any], root: Path, writes: bool = True) -> Plan:
    """The plan of a configuration, checked by stages, claims and figures. No torch, no pandas.

    Records that the repository holds of its profile, packed, are unpacked where there are none.

    Args:
        config: as read from ``config.yaml``.
        root: folder that holds ``workflow/``.
        writes: whether results are to be written; without, a folder that is read only suffices.

    Raises:
        InputError: for anything unknown, missing, malformed or contradictory, naming the file.
    """
    plan = load_plan(config, root)
    for room in (stages, claims, figures, directives):
        room.check(plan)
    report = partial(print, file=sys.stderr)
    try:
        check_folder("config.yaml", "data_dir", root / plan.config.data_dir, os.R_OK)
        check_folder(f"profile {plan.profile}", "results", plan.results, os.W_OK)
    except InputError:
        if writes:
            raise
        if archive.waits(plan):
            report(f"{plan.profile}: {plan.results} is read only, its records stay packed")
        return plan
    archive.take(plan, report)
    return plan


_held: dict[tuple[str, str], Plan] = {}


def hold(config: str) -> None:
    """Open a workflow's plan in this folder, and hold it for all processes that this one forks.

    Opening it takes as long as a small cell, with ten thousand cells several times as long. What
    cannot be opened is not held: each command says why by itself.

    Args:
        config: the workflow's, as JSON.
    """
    with suppress(InputError):
        if (os.getcwd(), config) not in _held:
            plan = open_project(read_config(config), Path())
            for name in stages.STAGES:
                stages.runs(plan, name)
            _held[os.getcwd(), config] = plan


def opened(config: str, profile: str | None = None, writes: bool = True) -> Plan:
    """The plan of a command in this folder: that which is held, or opened now.

    Args:
        config: path of a YAML file, or the configuration itself as JSON.
        profile: in place of the configuration's.
        writes: see `open_project`.

    Raises:
        InputError: as `open_project`.
    """
    if not profile and (os.getcwd(), config) in _held:
        return _held[os.getcwd(), config]
    raw = read_config(config)
    return open_project(raw | ({"profile": profile} if profile else {}), Path(), writes)


def new_paper(workflow: Path, name: str) -> Path:
    """Begin a paper: a copy of the example, which runs as it is.

    Args:
        workflow: the project's, with ``new_paper/`` and ``papers/``.
        name: of the paper, and of its folder.

    Returns:
        Its folder.

    Raises:
        InputError: for a name that cannot be one or is taken, or a folder without a project.
    """
    example, folder = workflow / "new_paper", workflow / "papers" / name
    if not example.is_dir():
        raise InputError("samscope new paper", "folder", str(Path.cwd()), "that of the Snakefile")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        allowed = "small letters, digits and _, a letter first, 40 at most"
        raise InputError("samscope new paper", "name", name, allowed)
    if folder.exists():
        raise InputError("samscope new paper", "name", name, f"a new one; {folder} is there")
    shutil.copytree(example, folder)
    about = folder / "paper.yaml"
    about.write_text(about.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
    return folder
