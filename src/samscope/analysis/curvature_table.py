"""What every measured variant's minimum looks like, beside SGD's: the table of curvature.

Papers draw densities and print few numbers, so variants are compared with each other.
"""

import numpy as np
import pandas as pd

from samscope import stages
from samscope.analysis import results, scope, selection, spectra
from samscope.analysis.spectra import QUANTITIES
from samscope.analysis.stats import paired_interval
from samscope.analysis.view import View
from samscope.plan.types import Plan

_VERSUS = ("versus_sgd", "versus_low", "versus_high")
_ERRORS = ("bound_percent", "converged")
COLUMNS = (
    *("cell", "variant", "rho", "epoch", "quantity", "mean", "low", "high", "n"),
    *(*_VERSUS, *_ERRORS),
)

MARKED = 5.0
"""Percent of a number: where the error of one run's may be larger, the page marks it."""


def papers(plan: Plan) -> tuple[str, ...]:
    """Names of the papers that have such a table: those of which the profile measures curvature."""
    return tuple(name for name, paper in plan.papers.items() if "curvature" in paper.scale.stages)


def build(plan: Plan, paper: str) -> pd.DataFrame:
    """A line for every measured cell and quantity at the last epoch, columns `COLUMNS`.

    Mean and 95 % t-interval over seeds; of logarithms, and the comparison a ratio, where
    `samscope.metrics.Metric.factors`, else a difference. Both are paired over seeds with SGD.
    ``bound_percent`` is the largest error of a seed's number, see `samscope.analysis.spectra`, and
    ``converged`` whether every seed's Lanczos run reached its tolerance.
    """
    view = View(plan, plan.papers[paper])
    frame = spectra.measured(plan, selection.measured(view))
    frame = frame[frame["last"].astype(bool)]
    runs = {cell: group.set_index("seed") for cell, group in frame.groupby("cell", sort=False)}
    lines = [
        _line(view, cell, group, runs.get(view.reference(cell)), name)
        for cell, group in runs.items()
        for name in spectra.of_any(frame)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _line(
    view: View, cell: str, group: pd.DataFrame, flat: pd.DataFrame | None, name: str
) -> tuple:
    method, quantity = view.plan.cells[cell].cell.method, QUANTITIES[name]
    versus: tuple[float, ...] = (np.nan,) * 3
    if flat is not None and flat is not group:
        pair = (frame[name].astype(float).map(quantity.scaled) for frame in (group, flat))
        gap = paired_interval(*pair)
        versus = tuple(map(quantity.unscaled, (gap.mean, gap.low, gap.high)))
    ends = spectra.averaged(group[name], quantity)
    about = cell, method.variant, method.ascent.rho, int(group.epoch.max()), name
    errors = group[spectra.BOUNDS[name]].max(), bool(group.converged.all())
    return (*about, *ends, len(group), *versus, *errors)


def markdown(plan: Plan, paper: str, frame: pd.DataFrame) -> str:
    """The same as a page: a row a variant."""
    about = plan.papers[paper]
    settings, measured = about.scale.stages["curvature"], stages.runs(plan, "curvature")
    rows = [row for row in about.rows if row.cell in measured]
    found = {*frame.quantity} - {"asymmetry", "batch_asymmetry"}
    shown = {name: q for name, q in QUANTITIES.items() if name in found}
    view = View(plan, about)
    models = selection.models(view, frame.cell.unique())
    of = {cell: name for name, cells in models.items() for cell in cells if len(models) > 1}
    symbols = [q.symbol or q.title for q in shown.values()]
    head = [*(["model"] if of else []), "variant", "rho", *symbols, "n"]
    lines = [head, ["---"] * len(head)]
    for _, group in frame.groupby("cell", sort=False):
        first = group.iloc[0]
        found = group.set_index("quantity")
        rho = "–" if pd.isna(first.rho) else f"{first.rho:g}"
        cells = [
            spectra.interval(line) + (" †" if line.bound_percent > MARKED else "")
            for line in (found.loc[name] for name in shown)
        ]
        name = selection.label(view, first.cell, rho=False) + ("" if first.converged else " †")
        lines.append([*([of[first.cell]] if of else []), name, rho, *cells, str(first.n)])
    legend = (
        "Mean [95 % t-interval] over n seeds at the last epoch, of logarithms where runs differ by "
        f"factors. k = {settings['top_n']}; sharpness at rho {settings['rho']:g}; the Hessian of "
        f"the mean loss on {settings['images']} fixed training "
        f"{selection.samples(view, frame.cell.unique())}. Pooled: of "
        f"{settings['pooled']['batches']} shuffled, augmented mini-batches of "
        f"{settings['pooled']['images']}, another quantity."
    )
    if any("†" in cell for line in lines for cell in line):
        legend += (
            f" †: of one run at least the error may exceed {MARKED:g} % of the number (of an "
            "eigenvalue the bound by its residual, of the trace half its 95 % interval, of the "
            "average case two standard errors; `bound_percent` in the CSV), or, at a variant's "
            "name, Lanczos ended before its tolerance."
        )
    # A norm is written with the sign that ends a cell.
    escaped = [[word.replace("|", "\\|") for word in line] for line in lines]
    table = "\n".join(f"| {' | '.join(line)} |" for line in escaped)
    note = "" if len(frame) else "not run"
    blocks = ["# Curvature by variant", scope.setting(plan, paper, rows), table, note, legend]
    return "\n\n".join(filter(None, blocks)) + "\n"


def write(plan: Plan, paper: str) -> None:
    """Write ``curvature/<paper>.csv`` and ``.md``; the same records give the same bytes."""
    frame, folder = build(plan, paper), plan.results / "curvature"
    results.put(folder / f"{paper}.csv", frame.to_csv(index=False, lineterminator="\n"))
    results.put(folder / f"{paper}.md", markdown(plan, paper, frame))
