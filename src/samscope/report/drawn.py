"""The figures of a profile, as the figure rule drew them."""

from collections.abc import Mapping, Set
from typing import Any

from samscope import stages
from samscope.analysis import figures, scope, selection
from samscope.config.paper import FigureEntry
from samscope.plan.types import Plan
from samscope.report import svg

KINDS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "data (CSV)"}


def pictures(plan: Plan, paper: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every figure that a paper lists: picture, caption, what was found, links to its files.

    Args:
        plan: of the profile.
        paper: name of it.
        lines: its claims with their verdicts, see `samscope.analysis.verdicts.read`.

    One that has not been drawn has neither; nothing is drawn here. One whose measurements the
    profile does not make, or that says so itself, is left out; of one of which nothing is run,
    ``run`` is false.
    """
    made = {stage: stages.runs(plan, stage).keys() for stage in stages.STAGES}
    listed = plan.papers[paper].about.figures
    known = {line["id"]: line for line in lines if line["verdict"] != "not run"}
    found = [
        _picture(plan, paper, entry)
        | {"found": [known[claim] for claim in entry.claims if claim in known]}
        for entry in listed
        if _planned(plan, paper, entry, made)
    ]
    return [picture for picture in found if picture["caption"] != figures.NOT_PLANNED]


def _planned(plan: Plan, paper: str, entry: FigureEntry, made: Mapping[str, Set[str]]) -> bool:
    """Whether the profile makes a cell that a figure shows, and of each stage it reads one."""
    read = figures.inputs(plan, paper, entry.id)
    return bool(read.cells) and all(made[stage] & set(read.cells) for stage in read.needs)


def _picture(plan: Plan, paper: str, entry: FigureEntry) -> dict[str, Any]:
    folder, title = plan.results / "figures" / paper, figures.title(entry)
    path = folder / f"{entry.id}.svg"
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    image = svg.picture(source) if source else ""
    told = svg.caption(source) if source else ""
    cells = figures.inputs(plan, paper, entry.id).cells
    rows = selection.rows_of(figures.view(plan, paper, entry), cells)
    return {
        "anchor": f"{paper}-{entry.id}",
        "title": title,
        "front": entry.front,
        "level": scope.level(plan, paper, rows) if rows else "",
        "image": image,
        "place": f"pictures/{paper}-{entry.id}.svg",
        "size": svg.size(image),
        "caption": told,
        "run": told != figures.NOT_RUN,
        "files": {
            label: f"../figures/{paper}/{entry.id}.{kind}"
            for kind, label in KINDS.items()
            if (folder / f"{entry.id}.{kind}").exists()
        },
        "command": f"results/{plan.profile}/figures/{paper}/{entry.id}.svg",
    }
