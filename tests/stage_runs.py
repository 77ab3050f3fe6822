"""Stages asked by hand, without a plan, for the tests of what they make."""

from collections.abc import Sequence
from pathlib import Path

from samscope import stages
from samscope.spec import Cell
from samscope.stages.bench import Bench
from samscope.stages.stage import complete


def asked(cell: Cell, seed: int, folder: Path, settings: dict | None = None, reference=None):
    """A run in the folder of its cell; a measured one where there are settings."""
    own = stages.Run(folder / f"seed={seed}", cell, seed)
    if settings is None:
        return own
    needs = (own, reference) if reference else (own,)
    epochs = tuple(settings.get("epochs", ()))
    return stages.Run(own.folder, cell, seed, settings, epochs, needs, reference)


def measure(
    name: str, runs: Sequence[stages.Run], data_dir: Path, report=lambda line: None
) -> None:
    """What the workflow's job does of a stage for runs of one cell."""
    complete(stages.STAGES[name], runs, Bench(data_dir), report)
