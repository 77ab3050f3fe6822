"""Which weights a profile needs after training: for spectra over training, and for landscapes."""

from typing import TYPE_CHECKING

from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.plan.papers import Plan


def snapshots(plan: "Plan", cell: str) -> dict[int, tuple[int, ...]]:
    """Epochs before the last at which the curvature of a cell's runs is measured, by seed."""
    epochs = tuple(plan.curvature(cell)["epochs"])
    return dict.fromkeys(plan.measured_seeds(cell), epochs)


def landscapes(plan: "Plan") -> dict[str, tuple[int, str | None]]:
    """Cells whose loss surfaces a profile measures: the seed, and the cell that a line begins from.

    That is the cell of the first variant named, which has none itself.
    """
    found: dict[str, tuple[int, str | None]] = {}
    for paper in plan.papers:
        settings = plan.scale["papers"][paper].get("landscape", {"variants": ()})
        first = None
        for variant in settings["variants"]:
            for cell_id, planned in plan.cells.items():
                cell = planned.cell
                own = cell.paper == paper and cell.model == plan.curvature(cell_id)["model"]
                same = cell.variant == variant and not cell.varied and cell.condition is None
                at = cell.rho in (None, settings["rho"]) and settings["seed"] in planned.seeds
                if own and same and at:
                    found[cell_id] = settings["seed"], first
                    first = first or cell_id
    return found


def kept_weights(plan: "Plan", cell: str) -> tuple[int, ...]:
    """Seeds of a cell whose weights stay: all, or those with a landscape."""
    if plan.scale["keep_weights"]:
        return plan.cells[cell].seeds
    return tuple(seed for at, (seed, _) in landscapes(plan).items() if at == cell)


def check(plan: "Plan") -> None:
    """Refuse epochs of spectra that a measured run does not have.

    Raises:
        InputError: naming the first of them.
    """
    for cell in plan.measured():
        epochs = plan.cells[cell].cell.epochs
        late = [epoch for epoch in plan.curvature(cell)["epochs"] if epoch >= epochs]
        if late:
            where, allowed = f"workflow/scales/{plan.profile}.yaml", f"1 to {epochs - 1}"
            raise InputError(where, "curvature epochs", late[0], f"{allowed}, before the last")
