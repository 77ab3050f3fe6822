"""Reading the loss surfaces of a plan's runs."""

import numpy as np
import pandas as pd

from samscope.analysis import scope
from samscope.measure.surface import Surface, read_surface
from samscope.plan import keep as keeping
from samscope.plan.papers import Plan
from samscope.stages import landscape as cell_landscape
from samscope.stages.planned import landscape


def surfaces(plan: Plan, kind: str) -> dict[str, Surface]:
    """The finished surfaces of a kind, by cell; only those of the plan's own runs.

    Args:
        plan: of the profile.
        kind: one of `samscope.stages.landscape.KINDS`.
    """
    found = {}
    for cell in keeping.landscapes(plan):
        run, *_ = landscape(plan, cell)
        path = cell_landscape.available(run.folder).get(kind)
        surface = path and read_surface(path)
        if surface and surface.settings["about"].get("digest") == run.cell.digest(run.seed):
            found[cell] = surface
    return found


def tidy(kind: str, found: dict[str, Surface]) -> pd.DataFrame:
    """A line for every grid point: cell, kind, a, b, loss, accuracy."""
    frames = []
    for cell, surface in found.items():
        a, b = np.meshgrid(surface.a, surface.b, indexing="ij")
        values = {"loss": surface.loss.ravel(), "accuracy": surface.accuracy.ravel()}
        place = {"cell": cell, "kind": kind, "a": a.ravel(), "b": b.ravel()}
        frames.append(pd.DataFrame({**place, **values}))
    columns = ["cell", "kind", "a", "b", "loss", "accuracy"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def about(plan: Plan, paper: str, data: pd.DataFrame) -> str:
    """Sentences for a caption: whose surfaces these are, and what was trained.

    Args:
        plan: of the profile.
        paper: its name.
        data: what is shown, from `tidy`.
    """
    settings = plan.scale["papers"][paper]["landscape"]
    rows = [row for table in plan.papers[paper].tables.values() for row in table.rows]
    runs = "One run each" if len(data) else "Not run yet"
    return (
        f"{runs}, seed {settings['seed']}, on {settings['images']} fixed training images. "
        + scope.brief(plan, paper, [row for row in rows if row.cell in keeping.landscapes(plan)])
    )
