"""What a profile builds: papers, their tables and rows, and the grid of specs that they name."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from samscope.config.paper import PaperFile, TableEntry
from samscope.config.profile import Config, Profile, Scale
from samscope.config.reported import Reported, number
from samscope.errors import InputError
from samscope.spec import Cell, Spec


@dataclass(frozen=True, eq=False)
class Row:
    """One printed number of a table, or one the paper left open, and the cell that measures it.

    Attributes:
        keys: its key columns as printed, by name.
        column: heading of its printed column.
        metric: one of `samscope.metrics.METRICS`.
        reported: what was printed.
        spec: that it names, as this profile makes it, planned or not; of several, the first; an
            `samscope.spec.Unmade` where nothing here can make it.
        varied: leaves in which the spec departs from the paper's protocol.
        cells: ids of the specs that measure it: one, none where this profile plans none, or several
            of which the better was printed.
        seeds: planned seeds of the first.
        reason: why it is not planned, or "".
    """

    keys: Mapping[str, str]
    column: str
    metric: str
    reported: Reported
    spec: Spec
    varied: tuple[str, ...]
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    reason: str

    @property
    def cell(self) -> str | None:
        """Id of its planned spec, the first of several; None without one."""
        return self.cells[0] if self.cells else None

    def at(self, key: str) -> float | None:
        """A key column as a number; None where it is empty, or no column."""
        return number(self.keys.get(key, ""), self.column, key)


@dataclass(frozen=True)
class Table:
    """A table of a paper: its rows in the order of the CSV."""

    id: str
    about: TableEntry
    rows: tuple[Row, ...]

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """Ids of its planned specs, each once, in order."""
        return tuple(dict.fromkeys(cell for row in self.rows for cell in row.cells))


@dataclass(frozen=True, eq=False)
class Paper:
    """A paper: what its folder says of it and of its part of the profile, and its tables by id."""

    name: str
    folder: Path
    about: PaperFile
    scale: Scale
    tables: dict[str, Table]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Of all its tables."""
        return tuple(row for table in self.tables.values() for row in table.rows)

    @cached_property
    def cells(self) -> dict[str, tuple[str, ...]]:
        """Ids of its planned specs, in order, and the leaves that depart from its protocol."""
        found: dict[str, tuple[str, ...]] = {}
        for row in self.rows:
            for cell in row.cells:
                found.setdefault(cell, row.varied)
        return found


S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True)
class Planned(Generic[S]):
    """A spec of the grid, its seeds, and the tables that name it (``paper/table``)."""

    cell: S
    seeds: tuple[int, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a profile builds. A plan equals itself alone, and can be a key.

    Attributes:
        profile: its name.
        about: what it is.
        config: what to build of it.
        papers: by name.
        specs: the grid, by id.
        root: folder of the Snakefile.
    """

    profile: str
    about: Profile
    config: Config
    papers: dict[str, Paper]
    specs: dict[str, Planned[Spec]]
    root: Path

    @cached_property
    def cells(self) -> dict[str, Planned[Cell]]:
        """Those of the grid that are trained."""
        return {
            id_: Planned(p.cell, p.seeds, p.tables)
            for id_, p in self.specs.items()
            if isinstance(p.cell, Cell)
        }

    @cached_property
    def ids(self) -> dict[Spec, str]:
        """The ids of the grid, by spec."""
        return {planned.cell: id_ for id_, planned in self.specs.items()}

    @property
    def results(self) -> Path:
        """Where the profile's results are."""
        return self.root / "results" / self.profile

    def run_dir(self, cell: str) -> Path:
        """Folder of a spec's records."""
        return self.results / "runs" / cell

    @property
    def trains(self) -> bool:
        """Whether what has no record is made, or shown as not run."""
        asked = self.config.train
        return not self.config.partial and (not self.about.committed if asked is None else asked)

    def find(self, cell: str) -> Planned[Spec]:
        """The planned spec of an id.

        Raises:
            InputError: when no table of the profile names it.
        """
        if cell not in self.specs:
            near = difflib.get_close_matches(cell, self.specs, 3, 0) or sorted(self.specs)[:3]
            allowed = f"one of {len(self.specs)} cells, such as {', '.join(near)}"
            raise InputError(f"profile {self.profile}", "cell", cell, allowed)
        return self.specs[cell]
