"""Which rows and cells a figure shows. All are of one study, at its first model and data."""

from samscope.papers import Paper, Plan, Row, Table
from samscope.spec import Cell

STUDY = "geometry_sam"


def study(plan: Plan) -> Paper | None:
    """The study the figures are of, None where the plan leaves it out."""
    return plan.papers.get(STUDY)


def tables(plan: Plan) -> list[Table]:
    """Its tables."""
    paper = study(plan)
    return list(paper.tables.values()) if paper else []


def variant_rows(plan: Plan) -> list[Row]:
    """Accuracy rows of every variant without a condition, from tables of such variants only.

    One row for each variant and rho: one that is planned and has a printed number, if any has.
    """
    paper = study(plan)
    if paper is None:
        return []
    model, data = next(iter(paper.meta["models"])), next(iter(paper.meta["data"]))
    chosen: dict[tuple, Row] = {}
    for table in tables(plan):
        if any(row.condition is not None or row.settings for row in table.rows):
            continue
        for row in table.rows:
            if (row.model, row.data, row.metric) == (model, data, "test_acc_percent"):
                old = chosen.get((row.variant, row.rho))
                if old is None or _worth(row) > _worth(old):
                    chosen[row.variant, row.rho] = row
    return list(chosen.values())


def _worth(row: Row) -> tuple[bool, bool]:
    return row.cell is not None, row.reported is not None and not row.excluded


def rescaled_tables(plan: Plan) -> list[Table]:
    """Tables with a condition."""
    return [t for t in tables(plan) if any(row.condition is not None for row in t.rows)]


def variant_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of `variant_rows`."""
    return tuple(dict.fromkeys(row.cell for row in variant_rows(plan) if row.cell))


def rescaled_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of `rescaled_tables`."""
    return tuple(dict.fromkeys(cell for table in rescaled_tables(plan) for cell in table.cells))


def sam_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of SAM at the study's first model, by rho."""
    paper = study(plan)
    if paper is None:
        return ()
    model = next(iter(paper.meta["models"]))
    cells = {
        row.rho: row.cell
        for table in tables(plan)
        for row in table.rows
        if row.variant == "sam" and row.model == model and row.cell and not row.settings
    }
    return tuple(cells[rho] for rho in sorted(cells))


def measured_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of the study whose spectrum the profile measures: by rho, SGD and SAM first."""
    cells = [c for c in plan.measured() if plan.cells[c].cell.paper == STUDY]
    return tuple(sorted(cells, key=lambda c: _order(plan.cells[c].cell)))


def _order(cell: Cell) -> tuple:
    return cell.rho or 0.0, cell.variant != "sam", len(cell.variant), cell.variant
