"""In which order a profile's runs are made where time is short: the queue's order."""

from samscope.config.profile import scale_file
from samscope.errors import InputError
from samscope.plan.types import Paper, Plan


def ordered(plan: Plan) -> list[tuple[str, int]]:
    """Cell and seed of every run of a plan.

    Every cell has its first seed before any has its second. Of one seed, the cells that a paper's
    ``priority`` names come first, then the others in the grid's order.
    """
    first = [
        cell
        for paper in plan.papers.values()
        for entry in paper.scale.priority
        for cell in _named(paper, entry)
    ]
    cells = dict.fromkeys([*first, *plan.specs])
    runs = [(cell, seed) for cell in cells for seed in plan.specs[cell].seeds]
    return sorted(runs, key=lambda run: run[1])


def check(plan: Plan) -> None:
    """Refuse an entry of ``priority`` that names nothing.

    Where only some of the tables are planned, the cell of another may be named.

    Raises:
        InputError: naming the entry.
    """
    for paper in plan.papers.values():
        for entry in paper.scale.priority:
            if not (_named(paper, entry) or plan.config.tables):
                some = "/".join(next(iter(plan.specs)).split("/")[-2:])
                allowed = f"{', '.join(paper.tables)}, or the end of a cell's id such as {some}"
                where = scale_file(paper.name, plan.profile)
                raise InputError(where, "priority", entry, allowed)


def _named(paper: Paper, entry: str) -> tuple[str, ...]:
    """The cells of a paper that an entry means: a table's, or those whose id ends in it."""
    if entry in paper.tables:
        return paper.tables[entry].cells
    return tuple(cell for cell in paper.cells if f"/{cell}".endswith(f"/{entry}"))
