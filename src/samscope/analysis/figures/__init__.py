"""Kinds of figures: a file of this folder is a kind, and its name is the kind's name.

It has a ``TITLE``; ``CELLS``, which cells of a view it reads (a name in
`samscope.analysis.selection.CELLS`; all where it says nothing); ``NEEDS``, the stages whose
measurements it reads beside the runs; and ``draw``, which takes a `samscope.analysis.view.View`,
what else a paper may say under ``arguments``, to a `samscope.analysis.canvas.Drawn`. A paper lists
its figures in ``paper.yaml``.

The first three are literals, and read as text: the workflow plans by them, and nothing that draws
is imported before something is drawn.
"""

import ast
import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samscope.analysis import printed, selection
from samscope.analysis.view import View
from samscope.config.paper import FigureEntry
from samscope.errors import InputError
from samscope.plan.types import Plan

if TYPE_CHECKING:
    from samscope.analysis.canvas import Drawn


NOT_PLANNED = "Not planned."
"""The caption of a figure that the profile makes nothing of: it is no part of the page."""
NOT_RUN = "Not run."
"""The caption of a figure of which nothing is run: the page names it, without a picture."""


@dataclass(frozen=True)
class Kind:
    """What the workflow knows of a kind of figure.

    Attributes:
        name: of its file.
        title: heading in the report.
        cells: name of a selection.
        needs: stages whose measurements it reads.
        arguments: that ``draw`` takes beside a view.
    """

    name: str
    title: str
    cells: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...]


@cache
def kinds() -> dict[str, Kind]:
    """The kinds by name."""
    paths = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {path.stem: _kind(path) for path in paths}


def _kind(path: Path) -> Kind:
    """A kind, as its file says it."""
    said: dict[str, Any] = {"CELLS": "every", "NEEDS": ()}
    arguments: tuple[str, ...] = ()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            said |= {name: ast.literal_eval(node.value)} if name in _SAID else {}
        elif isinstance(node, ast.FunctionDef) and node.name == "draw":
            arguments = tuple(a.arg for a in (*node.args.args[1:], *node.args.kwonlyargs))
    return Kind(path.stem, said["TITLE"], said["CELLS"], said["NEEDS"], arguments)


_SAID = ("TITLE", "CELLS", "NEEDS")


def planned(plan: Plan) -> dict[tuple[str, str], FigureEntry]:
    """The figures of a plan by paper and id, in the order in which papers list them."""
    papers = plan.papers.values()
    return {(paper.name, entry.id): entry for paper in papers for entry in paper.about.figures}


def title(entry: FigureEntry) -> str:
    """Of a figure, where its paper gives none its kind's."""
    return entry.title or kinds()[entry.draw].title


def view(plan: Plan, paper: str, entry: FigureEntry) -> View:
    """What a figure sees; figures of the same cells share what is found there."""
    return _view(plan, paper, tuple(entry.where.items()), entry.tables)


@cache
def _view(
    plan: Plan, paper: str, where: tuple[tuple[str, Any], ...], tables: tuple[str, ...]
) -> View:
    return View(plan, plan.papers[paper], dict(where), tables)


@dataclass(frozen=True)
class Inputs:
    """What a figure reads: cells of the plan, and measurements by stage."""

    cells: tuple[str, ...]
    needs: tuple[str, ...]


def inputs(plan: Plan, paper: str, id_: str) -> Inputs:
    """What a figure of a paper reads.

    Raises:
        InputError: for a figure that the paper does not list.
    """
    entry = _entry(plan, paper, id_)
    kind = kinds()[entry.draw]
    return Inputs(selection.CELLS[kind.cells](view(plan, paper, entry)), kind.needs)


def code(plan: Plan, paper: str, id_: str) -> tuple[str, ...]:
    """What draws a figure, for `samscope.digests.digest`."""
    drawn = f"{__name__}.{_entry(plan, paper, id_).draw}:draw"
    return f"{__name__}:write", drawn, "samscope.analysis/"


def draw(plan: Plan, paper: str, id_: str) -> "Drawn":
    """Draw a figure from the records there are; what has not been run is named in the caption.

    Raises:
        InputError: for a figure that the paper does not list, or a truncated or malformed record.
    """
    entry = _entry(plan, paper, id_)
    from samscope.analysis import canvas

    module = importlib.import_module(f"{__name__}.{entry.draw}")
    with canvas.styled():
        return module.draw(view(plan, paper, entry), **entry.arguments)


def write(plan: Plan, paper: str, id_: str) -> None:
    """Write ``<id>.svg``, ``.pdf``, ``.png`` and ``.csv`` (the numbers) to the paper's figures."""
    from samscope.analysis.results import put

    drawn = draw(plan, paper, id_)
    folder = plan.results / "figures" / paper
    put(folder / f"{id_}.svg", drawn.svg())
    put(folder / f"{id_}.pdf", drawn.pdf())
    put(folder / f"{id_}.png", drawn.png())
    put(folder / f"{id_}.csv", drawn.data.to_csv(index=False, lineterminator="\n"))


def check(plan: Plan) -> None:
    """Refuse a figure of an unknown kind, of unknown arguments or cells, or of another's id.

    Raises:
        InputError: for the first of them, naming the paper's file.
    """
    for paper in plan.papers.values():
        where, seen = f"{paper.name}/paper.yaml", set()
        for entry in paper.about.figures:
            if entry.draw not in kinds():
                raise InputError(where, "figures draw", entry.draw, ", ".join(kinds()))
            if entry.id in seen:
                raise InputError(where, "figures name", entry.id, "a name of its own for each")
            seen.add(entry.id)
            for leaf, value in entry.where.items():
                if not isinstance(value, str | int | float):
                    raise InputError(where, f"figures {entry.id} where.{leaf}", value, "one value")
            # Of what is left out of the plan, a row may be meant.
            if not (plan.config.tables or view(plan, paper.name, entry).rows):
                printed.check(paper, entry.where, f"{where} figures {entry.id}")
            known = kinds()[entry.draw].arguments
            for name in entry.arguments:
                if name not in known:
                    field = f"figures {entry.id} arguments"
                    raise InputError(where, field, name, ", ".join(known) or "none")


def _entry(plan: Plan, paper: str, id_: str) -> FigureEntry:
    found = planned(plan)
    if (paper, id_) not in found:
        known = ", ".join(f"{of} {name}" for of, name in found) or "none in this plan"
        raise InputError("samscope figure", "figure", f"{paper} {id_}", known)
    return found[paper, id_]
