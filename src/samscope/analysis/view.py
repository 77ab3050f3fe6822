"""What a figure or a claim sees of a plan: one paper, some of its tables, some leaves of cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from samscope.analysis import printed
from samscope.optim.method import Ascent
from samscope.plan.types import Paper, Plan, Row
from samscope.spec import Cell
from samscope.spec.leaves import leaves


@dataclass(frozen=True)
class View:
    """A part of a plan.

    Attributes:
        plan: of the profile.
        paper: whose tables name the cells.
        where: leaves that the cells have, as the paper has them, whatever a profile puts in their
            place.
        tables: of the paper; all where none is named.
    """

    plan: Plan
    paper: Paper
    where: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Rows of the tables, in order, that have these leaves in the paper, planned or not."""
        chosen = self.tables or self.paper.tables
        rows = (row for name in self.paper.tables if name in chosen for row in self._of(name))
        return tuple(r for r in rows if printed.fits(printed.values(self.paper, r), self.where))

    def _of(self, table: str) -> tuple[Row, ...]:
        return self.paper.tables[table].rows

    def cells(self, varied: tuple[str, ...] = (), **leaves: Any) -> tuple[str, ...]:
        """Ids of the planned cells with these leaves, each once, in the order of the rows.

        Args:
            varied: leaves in which they depart from the protocol: those and no others.
            leaves: and their values; a rho of None stands for SGD's cells.
        """
        found = (
            cell
            for row in self.rows
            if row.varied == varied
            for cell in row.cells
            if _has(self.leaves(cell), leaves)
        )
        return tuple(dict.fromkeys(found))

    def leaves(self, cell: str) -> dict[str, Any]:
        """The leaves of a planned cell by name."""
        return self.plan.specs[cell].cell.to_dict()

    def variant(self, name: str, rho: float | None, condition: float | None = None) -> str | None:
        """The planned cell of a variant that departs in nothing else; None without one."""
        found = self.cells(variant=name, condition=condition)
        at = [cell for cell in found if self.leaves(cell)["rho"] in (None, rho)]
        return at[0] if at else None

    def reference(self, cell: str) -> str | None:
        """The cell that differs from one in having no ascent: what SAM is compared with."""
        spec = self.plan.specs[cell].cell
        if not isinstance(spec, Cell):
            return None
        same = {"model": spec.model, "data": spec.task.data}
        # SGD has no ascent that could depart from the protocol.
        varied = tuple(v for v in self.paper.cells.get(cell, ()) if v not in leaves(Ascent))
        plain = self.cells(varied=varied, **same)
        return next((c for c in plain if not self.plan.cells[c].cell.method.mix.needs_ascent), None)

    def settings(self, stage: str) -> dict[str, Any]:
        """What the profile says of a stage for this paper; nothing where it leaves it out."""
        return self.paper.scale.stages.get(stage, {})


def _has(flat: Mapping[str, Any], leaves: Mapping[str, Any]) -> bool:
    return all(flat.get(name) == value for name, value in leaves.items())
