"""From reported tables to a plan: every row of a paper's CSV names a cell, the cells are the grid.

A paper is a folder of ``workflow/papers``; a profile says at which scale it is re-run.
"""

import difflib
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from samscope.config import claims as claimed
from samscope.config import profile as scales
from samscope.config.reading import check, check_folder, read_yaml
from samscope.config.reported import COLUMNS, METRICS, SETTINGS, number, read_rows
from samscope.errors import InputError
from samscope.plan import keep as keeping
from samscope.plan import order as priority
from samscope.spec import Cell


@dataclass(frozen=True)
class Row:
    """One printed number of a table, or one the paper left open, and the cell that measures it.

    Attributes:
        model: as printed.
        data: as printed.
        column: heading of its printed column.
        variant: name of the mix.
        rho: of the printed row (SGD's cell does not depend on it).
        condition: factor of a `sameckpt` variant.
        settings: other fields that depart from the protocol, as printed: ``precision=bf16``, or "".
        metric: one of `METRICS`.
        reported: the printed number; None where the paper left the cell open.
        printed: the number as it was printed, "" where there is none.
        excluded: why the printed number must not be compared, or "".
        note: where the printed number comes from.
        cell: id of the planned cell, None where this profile does not plan it.
        seeds: planned seeds of the cell.
        reason: why it is not planned, or "".
    """

    model: str
    data: str
    column: str
    variant: str
    rho: float | None
    condition: float | None
    settings: str
    metric: str
    reported: float | None
    printed: str
    excluded: str
    note: str
    cell: str | None
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Table:
    """A table of a paper: its rows in the order of the CSV."""

    id: str
    title: str
    question: str
    rows: tuple[Row, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of its planned cells, each once, in order."""
        return tuple(dict.fromkeys(r.cell for r in self.rows if r.cell))


@dataclass(frozen=True)
class Paper:
    """A paper: what ``paper.yaml`` says, its tables by id, and its claims."""

    name: str
    folder: Path
    meta: dict[str, Any]
    tables: dict[str, Table]
    claims: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Planned:
    """A cell of the grid, its seeds, and the tables that name it (``paper/table``)."""

    cell: Cell
    seeds: tuple[int, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All that a profile builds.

    Attributes:
        profile: name of the scale.
        config: the checked ``config.yaml``.
        scale: the checked ``workflow/scales/<profile>.yaml``.
        papers: by name.
        cells: the grid, by id.
        root: folder of the Snakefile.
    """

    profile: str
    config: dict[str, Any]
    scale: dict[str, Any]
    papers: dict[str, Paper]
    cells: dict[str, Planned]
    root: Path

    @property
    def results(self) -> Path:
        """Where the profile's results are."""
        return self.root / "results" / self.profile

    def run_dir(self, cell: str) -> Path:
        """Folder of a cell's records."""
        return self.results / "runs" / cell

    def curvature(self, cell: str) -> dict[str, Any]:
        """What the profile measures of the curvature of a cell's paper."""
        return self.scale["papers"][self.cells[cell].cell.paper]["curvature"]

    def measured(self) -> tuple[str, ...]:
        """Ids of the cells whose curvature the profile measures, in the grid's order."""
        chosen = []
        for cell_id, planned in self.cells.items():
            cell, settings = planned.cell, self.curvature(cell_id)
            wanted = cell.model == settings["model"] and cell.variant in settings["variants"]
            wanted = wanted and not cell.varied
            if wanted and (cell.rho is None or cell.rho in settings["rhos"]):
                chosen.append(cell_id)
        return tuple(chosen)

    def measured_seeds(self, cell: str) -> tuple[int, ...]:
        """Seeds of a cell whose curvature the profile measures."""
        measured = cell in self.measured()
        return self.cells[cell].seeds[: self.curvature(cell)["seeds"]] if measured else ()

    def queue(self) -> list[tuple[str, int]]:
        """Cell and seed of every run, see `samscope.plan.order.ordered`."""
        return priority.ordered(self)

    def find(self, cell: str) -> Planned:
        """The planned cell of an id.

        Raises:
            InputError: when no table of the profile names it.
        """
        if cell not in self.cells:
            near = difflib.get_close_matches(cell, self.cells, 3, 0) or sorted(self.cells)[:3]
            allowed = f"one of {len(self.cells)} cells, such as {', '.join(near)}"
            raise InputError(f"profile {self.profile}", "cell", cell, allowed)
        return self.cells[cell]


def load_plan(config: dict[str, Any], root: Path) -> Plan:
    """The plan of a configuration; everything that can be wrong is found here, before training.

    Args:
        config: as read from ``config.yaml``.
        root: folder that holds ``workflow/``.

    Raises:
        InputError: for anything unknown, missing, malformed or contradictory.
    """
    workflow = root / "workflow"
    check(config, "config", "config.yaml", workflow)
    profile = config["profile"]
    profiles = sorted(p.stem for p in (workflow / "scales").glob("*.yaml"))
    if profile not in profiles:
        raise InputError("config.yaml", "profile", profile, ", ".join(profiles))
    scale = read_yaml(workflow / "scales" / f"{profile}.yaml")
    check(scale, "scale", f"workflow/scales/{profile}.yaml", workflow)
    known = sorted(p.parent.name for p in (workflow / "papers").glob("*/paper.yaml"))
    check_folder("config.yaml", "data_dir", root / config["data_dir"], os.R_OK)
    check_folder(f"profile {profile}", "results", root / "results" / profile, os.W_OK)
    papers, cells = {}, {}
    for name in config["papers"]:
        if name not in known:
            raise InputError("config.yaml", "papers", name, ", ".join(known))
        if name not in scale["papers"]:
            where = f"workflow/scales/{profile}.yaml"
            raise InputError(where, "papers", "(missing)", f"an entry for {name}")
        papers[name] = _load_paper(workflow / "papers" / name, scale["papers"][name], config, cells)
    plan = Plan(profile, config, scale, papers, cells, root)
    priority.check(plan)
    keeping.check(plan)
    return plan


def _load_paper(folder: Path, scale: dict, config: dict, cells: dict[str, Planned]) -> Paper:
    """Read a paper's folder; add its cells to the grid."""
    meta = read_yaml(folder / "paper.yaml")
    where = f"{folder.name}/paper.yaml"
    check(meta, "paper", where, folder.parent.parent)
    wanted = config["tables"] or list(meta["tables"])
    for table in [t for t in wanted if t not in meta["tables"]]:
        raise InputError("config.yaml", "tables", table, ", ".join(meta["tables"]))
    paths = {t: folder / "reported" / f"{t}.csv" for t in meta["tables"]}
    printed = {t: tuple(read_rows(path)) for t, path in paths.items()}
    profile = f"workflow/scales/{config['profile']}.yaml: {folder.name}"
    scales.check(profile, scale, meta, printed)
    sources = scales.sources(where, meta, profile, scale)
    tables = {}
    for table_id in [t for t in meta["tables"] if t in wanted]:
        plan = scale["tables"].get(table_id, {})
        seeds = tuple(range(config["seeds"] or plan.get("seeds") or scale["seeds"]))
        rows = []
        for line, raw in printed[table_id]:
            where = f"{folder.name}/reported/{table_id}.csv line {line}"
            row, cell = _row(raw, where, folder.name, meta, scale, sources)
            if all(getattr(cell, k) in (None, *v) for k, v in plan.get("only", {}).items()):
                _add(cells, cell, seeds, f"{folder.name}/{table_id}")
            rows.append(replace(row, reason=plan.get("reason", "")))
        info = meta["tables"][table_id]
        tables[table_id] = Table(table_id, info["title"], info["question"], tuple(rows))
    # A row that its own table thins out is measured all the same where another table runs its cell.
    settled = {
        t.id: replace(t, rows=tuple(_settle(r, cells) for r in t.rows)) for t in tables.values()
    }
    return Paper(folder.name, folder, meta, settled, claimed.read(folder / "claims.yaml"))


def _settle(row: Row, cells: dict[str, Planned]) -> Row:
    """The row with the seeds of its cell, or without a cell where the grid has none."""
    planned = cells.get(row.cell)
    if planned is None:
        return replace(row, cell=None)
    return replace(row, seeds=planned.seeds, reason="")


def _row(
    raw: dict[str, str], where: str, paper: str, meta: dict, scale: dict, sources: dict[str, str]
) -> tuple[Row, Cell]:
    """A row and its cell, which is checked even where the profile does not run it.

    ``sources`` says where a field stands that neither the row nor `Cell` sets.
    """
    for field, table in (("model", meta["models"]), ("data", meta["data"])):
        if raw[field] not in table:
            raise InputError(where, field, raw[field], ", ".join(table))
    if raw["metric"] not in METRICS:
        raise InputError(where, "metric", raw["metric"], ", ".join(METRICS))
    rho, condition, reported = (number(raw[k], where, k) for k in ("rho", "condition", "reported"))
    model, data = meta["models"][raw["model"]], meta["data"][raw["data"]]
    protocol = {**meta["protocol"], **scale["protocol"]}
    printed = {name: raw[name] for name in SETTINGS if raw.get(name)}
    settings = {name: _setting(name, text, where, scale) for name, text in printed.items()}
    try:
        cell = Cell.from_dict(
            {
                "paper": paper,
                "model": scale["models"].get(model, model),
                "data": scale["data"].get(data, data),
                "variant": raw["variant"],
                "rho": None if raw["variant"] == "sgd" else rho,
                "condition": condition,
                **protocol,
                **settings,
                "varied": ",".join(k for k, v in settings.items() if v != protocol.get(k)),
            }
        )
    except InputError as error:
        source = where if error.field in settings else sources.get(error.field, where)
        raise InputError(source, error.field, error.value, error.allowed) from None
    row = Row(
        *(raw[k] for k in COLUMNS[:4]), rho, condition,
        ",".join(f"{k}={v}" for k, v in printed.items()), raw["metric"], reported,
        raw["reported"], raw["excluded"], raw["note"], cell.id, (), "",
    )  # fmt: skip
    return row, cell


def _setting(name: str, text: str, where: str, scale: dict) -> str | float | int:
    """The value of a cell's field in a table, or what the scale puts in its place."""
    replaced = scale.get("settings", {}).get(name, {})
    if text in replaced:
        return replaced[text]
    kind = next(field.type for field in fields(Cell) if field.name == name)
    try:
        return kind(text)
    except ValueError:
        raise InputError(where, name, text, f"a {kind.__name__}, or empty") from None


def _add(cells: dict[str, Planned], cell: Cell, seeds: tuple[int, ...], table: str) -> None:
    """Put a cell into the grid; one that several tables name is trained once, for all of them."""
    old = cells.get(cell.id)
    if old is None:
        cells[cell.id] = Planned(cell, seeds, (table,))
    else:
        tables = tuple(dict.fromkeys((*old.tables, table)))
        cells[cell.id] = Planned(cell, max(old.seeds, seeds, key=len), tables)
