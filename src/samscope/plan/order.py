"""In which order a profile's runs are made where time is short: the queue's order."""

from typing import TYPE_CHECKING

from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.plan.papers import Paper, Plan


def ordered(plan: "Plan") -> list[tuple[str, int]]:
    """Cell and seed of every run of a plan.

    Every cell has its first seed before any has its second. Of one seed, the cells that the
    scale's ``priority`` names come first, then the others in the grid's order.
    """
    first = [
        cell
        for name, paper in plan.papers.items()
        for entry in plan.scale["papers"][name].get("priority", ())
        for cell in _named(plan, paper, entry)
    ]
    cells = dict.fromkeys([*first, *plan.cells])
    runs = [(cell, seed) for cell in cells for seed in plan.cells[cell].seeds]
    return sorted(runs, key=lambda run: run[1])


def check(plan: "Plan") -> None:
    """Refuse an entry of ``priority`` that names nothing.

    Where only some of the tables are planned, the cell of another may be named.

    Raises:
        InputError: naming the entry.
    """
    for name, paper in plan.papers.items():
        for entry in plan.scale["papers"][name].get("priority", ()):
            if not (_named(plan, paper, entry) or plan.config["tables"]):
                some = "/".join(next(iter(plan.cells)).split("/")[-2:])
                allowed = f"{', '.join(paper.tables)}, or the end of a cell's id such as {some}"
                raise InputError(f"workflow/scales/{plan.profile}.yaml", "priority", entry, allowed)


def _named(plan: "Plan", paper: "Paper", entry: str) -> tuple[str, ...]:
    """The cells of a paper that an entry means: a table's, or those whose id ends in it."""
    if entry in paper.tables:
        return paper.tables[entry].cells
    start, end = f"{paper.name}/", f"/{entry}"
    return tuple(c for c in plan.cells if c.startswith(start) and c.endswith(end))
