"""From reported tables to a plan: every row of a paper's CSV names a cell; these are the grid."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from samscope.config.paper import TableEntry, read_paper
from samscope.config.profile import (
    Config,
    Thinned,
    read_profile,
    read_scale,
    scale_file,
)
from samscope.config.reported import NOT_RUN, NUMBER, OPTIONAL, read_rows, reported
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.plan import names, order
from samscope.plan.rows import Naming, applying, written
from samscope.plan.types import Paper, Plan, Planned, Row, Table
from samscope.spec import SPECS, Spec, Unmade


def load_plan(config: dict[str, Any], root: Path) -> Plan:
    """The plan of a configuration; what is wrong with it is found here, before training.

    Args:
        config: as read from ``config.yaml``.
        root: folder that holds ``workflow/``.

    Raises:
        InputError: for anything unknown, missing, malformed or contradictory.
    """
    workflow = root / "workflow"
    chosen = read(Config, config, "config.yaml")
    about = read_profile(workflow, chosen.profile)
    known = sorted(path.parent.name for path in (workflow / "papers").glob("*/paper.yaml"))
    for name in chosen.papers:
        if name not in known:
            raise InputError("config.yaml", "papers", name, ", ".join(known))
    grid = _Grid()
    drafts = [_draft(workflow / "papers" / name, chosen, grid) for name in chosen.papers]
    _check_tables(chosen, [paper for paper, _ in drafts])
    specs = grid.settled()
    papers = {paper.name: _settled(paper, drawn, grid, specs) for paper, drawn in drafts}
    plan = Plan(chosen.profile, about, chosen, papers, specs, root)
    order.check(plan)
    return plan


@dataclass
class _Grid:
    """The specs that tables name, each once: equal ones are one, whatever their ids show."""

    named: dict[Spec, tuple[tuple[int, ...], tuple[str, ...]]] = field(default_factory=dict)
    shown: dict[Spec, Spec] = field(default_factory=dict)

    def add(self, spec: Spec, seeds: tuple[int, ...], table: str) -> None:
        """Plan a spec and the runs that it needs for a table; the seeds of all tables count."""
        old, tables = self.named.get(spec, ((), ()))
        self.named[spec] = tuple(sorted({*old, *seeds})), tuple(dict.fromkeys((*tables, table)))
        best = self.shown.setdefault(spec, spec)
        if (len(spec.id), spec.id) < (len(best.id), best.id):
            self.shown[spec] = spec
        for need, at in (need for seed in seeds for need in spec.needs(seed)):
            self.add(need, (at,), table)

    def settled(self) -> dict[str, Planned]:
        """The grid by id.

        Raises:
            InputError: where two that differ would have one id.
        """
        found: dict[str, Planned] = {}
        for spec, (seeds, tables) in self.named.items():
            shown = self.shown[spec]
            if shown.id in found:
                raise _clash(found[shown.id], Planned(shown, seeds, tables))
            found[shown.id] = Planned(shown, seeds, tables)
        return found


def _clash(one: Planned, other: Planned) -> InputError:
    """Two different cells of one id: the second paper is to show in what they differ."""
    ours, theirs = one.cell.to_dict(), other.cell.to_dict()
    leaves = [leaf for leaf in ours if ours[leaf] != theirs[leaf]]
    told = ", ".join(f"{leaf} {ours[leaf]} and {theirs[leaf]}" for leaf in leaves)
    value = f"{one.cell.id} of {one.tables[0]} and of {other.tables[0]}, which differ in {told}"
    allowed = f"ids that tell them apart; let one paper's scale have shows: [{', '.join(leaves)}]"
    return InputError("profile", "cell", value, allowed)


Drawn = dict[str, list[tuple[Row, list[Spec]]]]
"""The rows of each table, which know no ids yet, and the specs that they name."""


def _draft(folder: Path, config: Config, grid: _Grid) -> tuple[Paper, Drawn]:
    """Read a paper's folder; add its specs to the grid."""
    about, scale = read_paper(folder), read_scale(folder, config.profile)
    naming = Naming(about, scale, scale_file(folder.name, config.profile))
    printed = {}
    for table_id, entry in about.tables.items():
        if entry.stage not in SPECS:
            at = f"tables.{table_id}.stage"
            raise InputError(f"{folder.name}/paper.yaml", at, entry.stage, ", ".join(SPECS))
        path = folder / "reported" / f"{table_id}.csv"
        printed[table_id] = read_rows(path, naming.columns(entry.stage))
    names.check(naming, printed)
    drawn: Drawn = {}
    for table_id, entry in about.tables.items():
        where = f"{folder.name}/reported/{table_id}.csv"
        rows = [_row(raw, f"{where} line {line}", naming, entry) for line, raw in printed[table_id]]
        if not _wanted(folder.name, table_id, config):
            continue
        drawn[table_id] = rows
        thinned = scale.tables.get(table_id, Thinned())
        seeds = tuple(range(config.seeds or thinned.seeds or scale.seeds))
        for spec in (spec for _, specs in rows for spec in specs):
            flat = applying(spec)
            chosen = {leaf: {None, *map(written, values)} for leaf, values in thinned.only.items()}
            if all(flat[k] is None or written(flat[k]) in chosen[k] for k in chosen):
                grid.add(spec, seeds, f"{folder.name}/{table_id}")
    return Paper(folder.name, folder, about, scale, {}), drawn


def _row(
    raw: dict[str, str], where: str, naming: Naming, entry: TableEntry
) -> tuple[Row, list[Spec]]:
    """A row and its specs, which are checked even where the profile does not run them.

    There are none of a number that nothing here can make.
    """
    spread = naming.about.spread if entry.spread is None else entry.spread
    number = reported(raw, where, spread, entry.runs or naming.about.runs)
    keys = {k: v for k, v in raw.items() if k not in (*NUMBER, *OPTIONAL)}
    if reason := raw.get(NOT_RUN):
        unmade = Unmade()
        return Row(keys, raw["column"], raw["metric"], number, unmade, (), (), (), reason), []
    specs, varied = naming.specs(keys, entry.stage, where)
    row = Row(keys, raw["column"], raw["metric"], number, specs[0], varied, (), (), "")
    return row, specs


def _wanted(paper: str, table: str, config: Config) -> bool:
    return not config.tables or table in config.tables or f"{paper}/{table}" in config.tables


def _check_tables(config: Config, papers: list[Paper]) -> None:
    """Refuse a table that no chosen paper has."""
    known = [f"{paper.name}/{table}" for paper in papers for table in paper.about.tables]
    for table in config.tables:
        if table not in known and not any(full.endswith(f"/{table}") for full in known):
            raise InputError("config.yaml", "tables", table, ", ".join(known))


def _settled(paper: Paper, drawn: Drawn, grid: _Grid, specs: dict[str, Planned]) -> Paper:
    """The paper with its tables, whose rows know ids and seeds.

    A row that its own table thins out is measured all the same where another table runs its cell.
    """
    tables = {}
    for table, rows in drawn.items():
        reason = paper.scale.tables.get(table, Thinned()).reason
        found = []
        for row, named in rows:
            planned = [grid.shown[spec] for spec in named if spec in grid.shown]
            if planned:
                ids = tuple(spec.id for spec in planned)
                seeds = specs[ids[0]].seeds
                found.append(replace(row, spec=planned[0], cells=ids, seeds=seeds))
            else:
                found.append(replace(row, reason=row.reason or reason))
        tables[table] = Table(table, paper.about.tables[table], tuple(found))
    return replace(paper, tables=tables)
