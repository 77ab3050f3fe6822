"""Paired differences of test accuracy: every variant minus SGD and minus SAM, at each rho."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import results, scope
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.stats import paired_interval
from samscope.plan.papers import Plan, Row

REFERENCES = ("sgd", "sam")


def draw(plan: Plan) -> Drawn:
    """Draw it: a column of panels a rho, each with its own scale, the zero line marked."""
    data = _data(plan)
    if data.empty:
        return Drawn(canvas.empty("no table of variants is planned"), data, "Not planned.")
    rhos = sorted(data.rho.unique())
    rows = {r: list(dict.fromkeys(data[data.reference == r].variant)) for r in REFERENCES}
    tall = [0.2 * len(variants) for variants in rows.values()]
    heights = [(0.25, tall[0]), (0.25 + tall[0] + 0.8, tall[1])]
    size = canvas.WIDTH, 0.25 + sum(tall) + 1.25
    figure, grid = canvas.panels(size, len(rhos), heights, left=0.68, gap=0.16)
    for panels, (reference, variants) in zip(grid, rows.items(), strict=True):
        for axes, rho in zip(panels, rhos, strict=True):
            chosen = data[(data.reference == reference) & (data.rho == rho)]
            _panel(axes, chosen.set_index("variant").reindex(variants))
            axes.set_title(f"rho {rho:g}", fontweight="bold")
            axes.tick_params(labelleft=axes is panels[0])
        name = canvas.NAMES[reference]
        for axes in panels if len(rhos) < 3 else panels[len(rhos) // 2 :][:1]:
            axes.set_xlabel(f"test accuracy minus that of {name}, in points")
    return Drawn(figure, data, _caption(plan, data))


def _data(plan: Plan) -> pd.DataFrame:
    rows = selection.variant_rows(plan)
    frame = results.metrics(plan, selection.variant_cells(plan))
    frame = frame[(frame.metric == "test_acc_percent") & (frame.selection == "best_val")]
    values = {cell: group.set_index("seed").value for cell, group in frame.groupby("cell")}
    none = pd.Series(dtype=float)
    cells = {(row.variant, row.rho): row.cell for row in rows}
    lines = []
    for reference in REFERENCES:
        for row in sorted(_planned(rows), key=lambda r: (r.rho, len(r.variant), r.variant)):
            if row.variant in ("sgd", reference):
                continue
            other = values.get(cells.get((reference, row.rho)), none)
            gap = paired_interval(values.get(row.cell, none), other)
            lines.append((row.variant, reference, row.rho, gap.mean, gap.low, gap.high, gap.n))
    columns = ["variant", "reference", "rho", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _planned(rows: list[Row]) -> list[Row]:
    """Rows of variants that run at some rho, and of rhos at which some variant runs."""
    runs = [row for row in rows if row.cell and row.variant != "sgd"]
    variants, rhos = {row.variant for row in runs}, {row.rho for row in runs}
    return [row for row in rows if row.variant in variants and row.rho in rhos]


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.axvline(0, color=canvas.INK, linewidth=0.8)
    for i, line in enumerate(frame.itertuples()):
        if pd.isna(line.mean):
            missing = "not run" if line.n == 0 else ""
            axes.annotate(missing, (0.04, i), xycoords=("axes fraction", "data"), va="bottom",
                          color=canvas.MUTED, fontsize=6.5)  # fmt: skip
            continue
        colour = _colour(line.low, line.high)
        axes.plot([line.low, line.high], [i, i], color=colour, linewidth=1.6)
        axes.plot(line.mean, i, marker="o", markersize=3.6, color=colour)
    axes.set_yticks(range(len(frame)), [canvas.NAMES.get(v, v) for v in frame.index])
    axes.set_ylim(len(frame) - 0.4, -0.6)
    if frame["mean"].isna().all():
        axes.set_xticks([0])
        axes.set_xlim(-1, 1)
    axes.grid(axis="y", visible=True)


def _colour(low: float, high: float) -> str:
    """Above 0, below 0, or undecided."""
    return canvas.BLUE if low > 0 else canvas.VERMILLION if high < 0 else canvas.MUTED


def _caption(plan: Plan, data: pd.DataFrame) -> str:
    rows = selection.variant_rows(plan)
    shown = _planned(rows)
    variants = {row.variant for row in rows} - {row.variant for row in shown} - {"sgd"}
    rhos = {row.rho for row in rows} - {row.rho for row in shown}
    missing = [*sorted(variants), *(f"rho {rho:g}" for rho in sorted(rhos))]
    thinned = f"Not planned in this profile: {', '.join(missing)}. " if missing else ""
    return (
        "Difference of test accuracy between runs of the same seed: mean and 95 % t-interval over "
        f"{canvas.seeds(data.n)}, not corrected for the number of comparisons. Blue: the interval "
        "lies above 0; red: below; grey: it holds 0. Each panel has its own scale. "
        + thinned
        + scope.brief(plan, selection.STUDY, rows)
    )
