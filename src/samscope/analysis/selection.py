"""Which cells of a view a figure shows. Importable without pandas: the workflow plans by it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from samscope import stages
from samscope.analysis.keys import Keys
from samscope.analysis.view import View
from samscope.digests import Registry
from samscope.metrics import METRICS
from samscope.optim.method import Ascent, Method
from samscope.plan.types import Row
from samscope.spec import Cell, Spec
from samscope.spec.leaves import digits, leaves

NAMES = {"sgd": "SGD", "sam": "SAM", "adam": "Adam", "adamw": "AdamW"}
"""How variants and optimizers are written, where not by their name."""

PLAIN = ("sgd", "sam")
"""The optimizer alone, and SAM."""


@dataclass(frozen=True)
class Shown:
    """A row of a figure over rho: its variant and the rho that it is shown at."""

    row: Row
    variant: str
    rho: float


def tables(view: View) -> dict[str, tuple[Row, ...]]:
    """The rows of each table of a view, by its id."""
    chosen = {name: replace(view, tables=(name,)).rows for name in view.tables or view.paper.tables}
    return {name: rows for name, rows in chosen.items() if name in view.paper.tables and rows}


def held_out(view: View, cell: str) -> str:
    """The samples that each row of a history evaluates, as its columns name them."""
    return "val" if view.plan.cells[cell].cell.task.val_size else "test"


def metric(view: View) -> str:
    """The metric that a figure of one metric shows: the first of those that the tables hold."""
    found = {row.metric for row in view.rows}
    return next((name for name in METRICS if name in found), "test_acc_percent")


def variant_rows(view: View) -> list[Shown]:
    """Rows of every variant without a condition, from printed tables of those only.

    One for each variant and rho: one that is planned and has a printed number, if any has. What is
    printed once, without a rho, is shown at each.
    """
    name, keys = metric(view), Keys(view.paper)
    chosen: dict[tuple[str, float], Row] = {}
    for rows in tables(view).values():
        if any(_leaf(row, "condition") is not None or keys.departures(row) for row in rows):
            continue
        if all(not row.reported.printed for row in rows):
            continue
        rhos = sorted({rho for row in rows if (rho := row.at("rho")) is not None})
        for row in (row for row in rows if row.metric == name):
            at, variant = row.at("rho"), _variant(row)
            for rho in rhos if at is None else [at]:
                old = chosen.get((variant, rho))
                if old is None or _worth(row) > _worth(old):
                    chosen[variant, rho] = row
    return [Shown(row, variant, rho) for (variant, rho), row in chosen.items()]


def rescaled_tables(view: View) -> dict[str, tuple[Row, ...]]:
    """Tables with a condition, by id."""
    return {
        name: rows
        for name, rows in tables(view).items()
        if any(_leaf(row, "condition") is not None for row in rows)
    }


def variants(view: View) -> tuple[str, ...]:
    """Cells of `variant_rows`."""
    return _cells([shown.row for shown in variant_rows(view)])


def rescaled(view: View) -> tuple[str, ...]:
    """Cells of `rescaled_tables`."""
    return _cells([row for rows in rescaled_tables(view).values() for row in rows])


def sam(view: View) -> tuple[str, ...]:
    """Cells of SAM, by rho."""
    rhos = {cell: _rho(view, cell) for cell in view.cells(variant="sam")}
    cells = {rho: cell for cell, rho in rhos.items() if rho is not None}
    return tuple(cells[rho] for rho in sorted(cells))


def controls(view: View) -> tuple[str, ...]:
    """Cells of SAM, of SGD, and of SGD at the norm of SAM's step."""
    others = [
        cell
        for cell in view.cells()
        if view.leaves(cell)["variant"] in ("sgd", "sgd-norm", "sgd-norm-regions")
    ]
    return tuple(dict.fromkeys([*sam(view), *others]))


def measured(view: View) -> tuple[str, ...]:
    """Cells whose spectrum the profile measures: by rho, SGD and SAM first."""
    return tuple(sorted(of_stage(view, "curvature"), key=lambda c: _order(view.plan.cells[c].cell)))


def sgd_and_sam(view: View) -> tuple[str, ...]:
    """Those of `measured` whose variant is SGD or SAM."""
    return tuple(c for c in measured(view) if view.leaves(c)["variant"] in ("sgd", "sam"))


def plain(view: View) -> tuple[str, ...]:
    """Cells of the optimizer alone and of SAM, which depart from the protocol in its ascent alone.

    Adaptive SAM is one of them.
    """
    return _cells([row for row in view.rows if _is_plain(row)])


def sweep(view: View) -> tuple[Row, ...]:
    """The rows of `plain`, and, from any table of the paper, the optimizer alone of their models.

    Of the optimizer those of the first table that has it, one a model and metric.
    """
    keys = Keys(view.paper)
    bases: dict[tuple[str, str], Row] = {}
    rows = [row for row in view.rows if _is_plain(row)]
    shown = {place(keys, row) for row in rows}
    for row in (*rows, *(row for row in replace(view, tables=()).rows if _is_plain(row))):
        if _leaf(row, "rho") is None and place(keys, row) in shown:
            bases.setdefault((place(keys, row), row.metric), row)
    chosen = [row for row in rows if _leaf(row, "rho") is not None]
    return (*bases.values(), *chosen)


def swept(view: View) -> tuple[str, ...]:
    """Cells of `sweep`."""
    return _cells(sweep(view))


def mapped(view: View) -> tuple[str, ...]:
    """Cells with loss surfaces, the one that lines begin from first."""
    runs = stages.runs(view.plan, "landscape")
    return tuple(
        sorted(of_stage(view, "landscape"), key=lambda c: runs[c][0].reference is not None)
    )


def drifting(view: View) -> tuple[str, ...]:
    """Cells whose drift is measured."""
    return tuple(of_stage(view, "drift"))


def every(view: View) -> tuple[str, ...]:
    """All cells of a view."""
    return _cells(view.rows)


CELLS: Registry[str, Callable[[View], tuple[str, ...]]] = {
    f.__name__: f
    for f in (
        *(variants, rescaled, sam, controls, measured, sgd_and_sam, plain, swept, mapped),
        *(drifting, every),
    )
}
"""What a kind of figure may say under ``CELLS``."""


def shown_rho(view: View, cells: tuple[str, ...]) -> float | None:
    """The rho that a figure of one rho shows: the profile's own for sharpness, or the first."""
    rhos = sorted({rho for cell in cells if (rho := _rho(view, cell)) is not None})
    own = view.settings("curvature").get("rho")
    return own if own in rhos else next(iter(rhos), None)


def sam_shown(view: View, beside: str = "sam") -> tuple[list[str], float | None]:
    """The cells of SAM at the rho that a figure of one rho shows, and that rho.

    It is one at which the control ``beside`` runs too, if there is any.
    """
    cells = sam(view)
    with_control = tuple(c for c in controls(view) if view.leaves(c)["variant"] == beside)
    rho = shown_rho(view, with_control or cells) if cells else None
    return [cell for cell in cells if _rho(view, cell) == rho], rho


def place(keys: Keys, row: Row) -> str:
    """What a row trains, as its paper's tables name it."""
    return keys.label(row, keys.before)


def models(view: View, cells: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Cells by what is trained, as the paper names it: "" where a view has but one of them.

    In the order of the tables, those of a model in the order that they have.
    """
    keys, cells = Keys(view.paper), tuple(cells)
    places: dict[str, str] = {}
    for row in view.rows:
        for cell in row.cells:
            places.setdefault(cell, place(keys, row))
    known = dict.fromkeys(place(keys, row) for row in view.rows)
    of = {place: tuple(c for c in cells if places.get(c) == place) for place in known}
    return {place if len(known) > 1 else "": found for place, found in of.items() if found}


def named(view: View, cells: Iterable[str]) -> list[str]:
    """Cells as a caption names them: what is trained, where a view has several, and how."""
    groups = models(view, cells).items()
    return [f"{model} {label(view, cell)}".strip() for model, of in groups for cell in of]


def samples(view: View, cells: Iterable[str]) -> str:
    """What cells are trained on, in a word: ``images``, ``molecules``; ``samples`` of several."""
    tasks = {view.leaves(cell)["task"] for cell in cells}
    return tasks.pop() if len(tasks) == 1 else "samples"


def unit(view: View, cells: Sequence[str]) -> str:
    """What the runs of cells are counted in: ``epoch`` or ``step``."""
    return view.plan.cells[cells[0]].cell.budget.unit


def rows_of(view: View, cells: Iterable[str]) -> list[Row]:
    """The rows of a view that name some cells, for what a caption says of them."""
    chosen = set(cells)
    return [row for row in view.rows if chosen & set(row.cells)]


def title(view: View) -> str:
    """Of `metric`, in words."""
    return phrase(metric(view))


def phrase(name: str) -> str:
    """A metric in words, such as ``test accuracy``."""
    return ("test " if name.startswith("test_") else "") + METRICS[name].title


def when(spec: Spec) -> str:
    """``at the epoch of best validation accuracy``: the weights of a number that tables show."""
    if not isinstance(spec, Cell):
        return ""
    scores = spec.task.kind.scores
    best = METRICS[f"val_{scores[0]}" if scores else "val_loss"].title
    unit = spec.budget.unit
    return f"at the {unit} of best {best}" if spec.task.val_size else f"at the last {unit}"


def measured_epochs(view: View, cell: str) -> tuple[int, ...]:
    """Epochs at which a cell's spectra are measured."""
    last = view.plan.cells[cell].cell.budget.length
    return (*sorted(e for e in view.settings("curvature")["epochs"] if e < last), last)


def label(view: View, cell: str, rho: bool = True) -> str:
    """``Adam``, or ``adaptive SAM, rho 0.2``, and in what else a cell departs from its protocol."""
    flat = view.leaves(cell)
    parts = [f"rho {flat['rho']:g}"] if rho and flat["rho"] is not None else []
    departures = {k: flat[k] for k in view.paper.cells.get(cell, ()) if k != "adaptive"}
    told = {k: digits(v) if isinstance(v, float) else v for k, v in departures.items()}
    return ", ".join([method(flat), *parts, *(f"{k.replace('_', ' ')} {told[k]}" for k in told)])


def method(flat: Mapping[str, Any]) -> str:
    """``SGD``, ``SAM``, ``adaptive SAM``: how the leaves of a cell are written, but for its rho."""
    name = flat["optimizer"] if flat["variant"] == "sgd" else flat["variant"]
    return ("adaptive " if flat.get("adaptive") else "") + NAMES.get(name, name)


def of_stage(view: View, stage: str) -> list[str]:
    """The cells of a view that a stage measures."""
    own = set(every(view))
    return [cell for cell in stages.runs(view.plan, stage) if cell in own]


def _order(cell: Cell) -> tuple:
    """By rho, SGD first, then SAM, then variants by name."""
    variant = cell.method.variant
    return cell.method.ascent.rho or 0.0, variant != "sam", len(variant), variant


def _variant(row: Row) -> str:
    """The variant of a row, and in what else its method departs from the protocol."""
    own = [f"{leaf} {_leaf(row, leaf)}" for leaf in row.varied if leaf in leaves(Method)]
    return " ".join([str(_leaf(row, "variant")), *own])


def _is_plain(row: Row) -> bool:
    """Whether a row is of the optimizer alone or of SAM, by the protocol but for its ascent."""
    return _leaf(row, "variant") in PLAIN and set(row.varied) <= set(leaves(Ascent))


def _worth(row: Row) -> tuple[bool, bool]:
    return row.cell is not None, bool(row.reported.printed) and not row.reported.excluded


def _cells(rows: list[Row] | tuple[Row, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell for row in rows for cell in row.cells))


def _rho(view: View, cell: str) -> float | None:
    return view.leaves(cell)["rho"]


def _leaf(row: Row, name: str) -> object:
    return row.spec.to_dict().get(name)
