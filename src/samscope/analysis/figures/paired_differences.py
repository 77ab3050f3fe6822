"""Paired differences of a metric: every variant minus SGD and minus SAM, at each rho."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, choice, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import Shown
from samscope.analysis.stats import paired_interval
from samscope.analysis.view import View

TITLE = "Differences to SGD and to SAM"
CELLS = "variants"

REFERENCES = ("sgd", "sam")


def draw(view: View) -> Drawn:
    """Draw it: a column of panels a rho, each with its own scale, the zero line marked."""
    data = _data(view)
    if data.empty:
        return canvas.unplanned("no table of variants is planned", data)
    run = data[data.n > 0]
    if run.empty:
        return canvas.unrun(data)
    rhos = sorted(run.rho.unique())
    shown = selection.metric(view)
    rows = {r: list(dict.fromkeys(run[run.reference == r].variant)) for r in REFERENCES}
    rows = {reference: variants for reference, variants in rows.items() if variants}
    heights, top = [], 0.25
    for variants in rows.values():
        heights.append((top, 0.2 * len(variants)))
        top += 0.2 * len(variants) + 0.8
    size = canvas.WIDTH, top - 0.35
    figure, grid = canvas.panels(size, len(rhos), heights, left=0.68, gap=0.16)
    for panels, (reference, variants) in zip(grid, rows.items(), strict=True):
        for axes, rho in zip(panels, rhos, strict=True):
            chosen = data[(data.reference == reference) & (data.rho == rho)]
            if not chosen.n.any():
                axes.remove()
                continue
            _panel(axes, chosen.set_index("variant").reindex(variants))
            axes.set_title(f"rho {rho:g}", fontweight="bold")
            axes.tick_params(labelleft=axes is panels[0] or not panels[0].figure)
        name = selection.NAMES[reference]
        left = [axes for axes in panels if axes.figure]
        for axes in left if len(rhos) < 3 else left[len(left) // 2 :][:1]:
            axes.set_xlabel(f"{selection.phrase(shown)} minus that of {name}{canvas.points(shown)}")
    return Drawn(figure, data, _caption(view, data))


def _data(view: View) -> pd.DataFrame:
    rows = _settled(view)
    frame = results.metrics(view.plan, selection.variants(view), [selection.metric(view)])
    frame = frame[frame.selection == "best_val"]
    values = {cell: group.set_index("seed").value for cell, group in frame.groupby("cell")}
    none = pd.Series(dtype=float)
    cells = {(shown.variant, shown.rho): shown.row.cell for shown in rows}
    lines = []
    for reference in REFERENCES:
        for shown in sorted(_planned(rows), key=lambda s: (s.rho, len(s.variant), s.variant)):
            if shown.variant in ("sgd", reference):
                continue
            other = values.get(cells.get((reference, shown.rho)), none)
            gap = paired_interval(values.get(shown.row.cell, none), other)
            ends = gap.mean, gap.low, gap.high, gap.n
            lines.append((shown.variant, reference, shown.rho, *ends))
    columns = ["variant", "reference", "rho", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns)


def _settled(view: View) -> list[Shown]:
    """What is shown, by the cells that stand for the printed numbers."""
    rows = selection.variant_rows(view)
    settled = choice.settled(view.plan, [shown.row for shown in rows])
    return [Shown(row, s.variant, s.rho) for row, s in zip(settled, rows, strict=True)]


def _planned(rows: list[Shown]) -> list[Shown]:
    """Those of variants that run at some rho, and of rhos at which some variant runs."""
    runs = [shown for shown in rows if shown.row.cell and shown.variant != "sgd"]
    variants, rhos = {shown.variant for shown in runs}, {shown.rho for shown in runs}
    return [shown for shown in rows if shown.variant in variants and shown.rho in rhos]


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.axvline(0, color=canvas.INK, linewidth=0.8)
    for i, line in enumerate(frame.itertuples()):
        if not line.n > 0:
            axes.annotate("not run", (0.04, i), xycoords=("axes fraction", "data"), va="bottom",
                          color=canvas.MUTED, fontsize=6.5)  # fmt: skip
            continue
        colour = _colour(line.low, line.high)
        axes.plot([line.low, line.high], [i, i], color=colour, linewidth=1.6)
        axes.plot(line.mean, i, marker="o", markersize=3.6, color=colour)
    axes.set_yticks(range(len(frame)), [selection.NAMES.get(v, v) for v in frame.index])
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.grid(axis="y", visible=True)


def _colour(low: float, high: float) -> str:
    """Above 0, below 0, or undecided."""
    return canvas.BLUE if low > 0 else canvas.VERMILLION if high < 0 else canvas.MUTED


def _caption(view: View, data: pd.DataFrame) -> str:
    rows = selection.variant_rows(view)
    shown = _planned(rows)
    variants = {s.variant for s in rows} - {s.variant for s in shown} - {"sgd"}
    rhos = {s.rho for s in rows} - {s.rho for s in shown}
    missing = [*sorted(variants), *(f"rho {rho:g}" for rho in sorted(rhos))]
    run = data[data.n > 0]
    absent = [v for v in data.variant if v not in set(run.variant)]
    absent += [f"rho {rho:g}" for rho in data.rho if rho not in set(run.rho)]
    thinned = f"Not planned in this profile: {', '.join(missing)}. " if missing else ""
    return (
        f"Difference of {selection.title(view)} between runs of the same seed: mean and 95 % "
        f"t-interval over {canvas.seeds(data.n)}, not corrected for the number of comparisons. "
        "Blue: the interval lies above 0; red: below; grey: it holds 0. Each panel has its own "
        "scale. "
        + thinned
        + canvas.missing(absent)
        + scope.brief(view.plan, view.paper.name, [s.row for s in rows])
    )
