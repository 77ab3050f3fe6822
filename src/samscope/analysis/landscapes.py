"""Reading the loss surfaces of a plan's runs."""

import numpy as np
import pandas as pd

from samscope import stages
from samscope.analysis import canvas, scope, selection
from samscope.analysis.view import View
from samscope.measure.surface import CONVEXITY, LOSS, Surface, read_surface
from samscope.stages import landscape


def surfaces(view: View, kind: str) -> dict[str, Surface]:
    """The finished surfaces of a kind, by cell; only those of the plan's own runs.

    Args:
        view: whose cells.
        kind: one of `samscope.stages.landscape.KINDS`, or its ``CONVEXITY``.
    """
    found = {}
    for cell in selection.mapped(view):
        (run,) = stages.runs(view.plan, "landscape")[cell]
        path = landscape.available(run.folder).get(kind)
        surface = path and read_surface(path)
        if surface and surface.settings["about"].get("digest") == run.identity["digest"]:
            found[cell] = surface
    return found


def tidy(kind: str, found: dict[str, Surface]) -> pd.DataFrame:
    """A line for every grid point: cell, kind, a, b, and the values of the kind."""
    frames = []
    for cell, surface in found.items():
        a, b = np.meshgrid(surface.a, surface.b, indexing="ij")
        values = {name: value.ravel() for name, value in surface.values.items()}
        place = {"cell": cell, "kind": kind, "a": a.ravel(), "b": b.ravel()}
        frames.append(pd.DataFrame({**place, **values}))
    columns = ["cell", "kind", "a", "b", *(CONVEXITY if kind == landscape.CONVEXITY else LOSS)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def about(view: View, data: pd.DataFrame) -> str:
    """Sentences for a caption: whose surfaces these are, and what was trained.

    Args:
        view: whose cells.
        data: what is shown, from `tidy`.
    """
    settings, cells = view.settings("landscape"), selection.mapped(view)
    absent = canvas.missing(selection.named(view, [c for c in cells if c not in set(data.cell)]))
    sample = f"{settings['images']} fixed training {selection.samples(view, cells)}"
    return f"One run each, seed {settings['seed']}, on {sample}. {absent}" + scope.brief(
        view.plan, view.paper.name, [r for r in view.rows if r.cell in cells]
    )
