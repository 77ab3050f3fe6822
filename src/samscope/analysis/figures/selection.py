"""Which rows and cells a figure shows. All are of one study, at its first model and data."""

from samscope.plan import keep as keeping
from samscope.plan.papers import Paper, Plan, Row, Table
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
    """Accuracy rows of every variant without a condition, from printed tables of those only.

    One row for each variant and rho: one that is planned and has a printed number, if any has.
    """
    paper = study(plan)
    if paper is None:
        return []
    model, data = next(iter(paper.meta["models"])), next(iter(paper.meta["data"]))
    chosen: dict[tuple, Row] = {}
    for table in tables(plan):
        other = any(row.condition is not None or row.settings for row in table.rows)
        if other or all(row.reported is None for row in table.rows):
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


def control_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of SAM, of SGD, and of SGD at the norm of SAM's step, at the first model."""
    paper = study(plan)
    if paper is None:
        return ()
    model, variants = next(iter(paper.meta["models"])), ("sgd", "sgd-norm", "sgd-norm-regions")
    rows = [row for table in tables(plan) for row in table.rows if row.variant in variants]
    others = [row.cell for row in rows if row.model == model and row.cell and not row.settings]
    return tuple(dict.fromkeys([*sam_cells(plan), *others]))


def measured_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of the study whose spectrum the profile measures: by rho, SGD and SAM first."""
    cells = [c for c in plan.measured() if plan.cells[c].cell.paper == STUDY]
    return tuple(sorted(cells, key=lambda c: order(plan.cells[c].cell)))


def sgd_and_sam_cells(plan: Plan) -> tuple[str, ...]:
    """Those of `measured_cells` whose variant is SGD or SAM."""
    return tuple(c for c in measured_cells(plan) if plan.cells[c].cell.variant in ("sgd", "sam"))


def mapped_cells(plan: Plan) -> tuple[str, ...]:
    """Cells of the study with loss surfaces, the one that lines begin from first."""
    return tuple(c for c in keeping.landscapes(plan) if plan.cells[c].cell.paper == STUDY)


def shown_rho(plan: Plan, cells: tuple[str, ...]) -> float | None:
    """The rho that a figure of one rho shows: the profile's own for sharpness, or the first."""
    rhos = sorted({plan.cells[c].cell.rho for c in cells} - {None})
    own = plan.scale["papers"][STUDY]["curvature"]["rho"]
    return own if own in rhos else next(iter(rhos), None)


def sam_shown(plan: Plan, beside: str = "sam") -> tuple[list[str], float | None]:
    """The cells of SAM at the rho that a figure of one rho shows, and that rho.

    It is one at which the control ``beside`` runs too, if there is any.
    """
    cells = sam_cells(plan)
    controls = tuple(c for c in control_cells(plan) if plan.cells[c].cell.variant == beside)
    rho = shown_rho(plan, controls or cells) if cells else None
    return [cell for cell in cells if plan.cells[cell].cell.rho == rho], rho


def measured_epochs(plan: Plan, cell: str) -> tuple[int, ...]:
    """Epochs at which a cell's spectra are measured."""
    last = plan.cells[cell].cell.epochs
    return (*sorted(e for e in plan.curvature(cell)["epochs"] if e < last), last)


def order(cell: Cell) -> tuple:
    """By rho, SGD first, then SAM, then variants by name."""
    return cell.rho or 0.0, cell.variant != "sam", len(cell.variant), cell.variant
