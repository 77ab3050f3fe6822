"""A metric against rho, one small panel a variant, with SGD and SAM in each."""

import pandas as pd
from matplotlib.axes import Axes

from samscope.analysis import canvas, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import Shown
from samscope.analysis.tables import measure
from samscope.analysis.view import View

TITLE = "Test accuracy against rho"
CELLS = "variants"

REFERENCES = {
    "sgd": {"color": canvas.MUTED, "linestyle": (0, (3, 2)), "linewidth": 1.1},
    "sam": {"color": canvas.ORANGE, "marker": "o", "markersize": 3},
}
VARIANT: canvas.Look = {"color": canvas.BLUE, "marker": "o", "markersize": 3.4}
INTERVAL, SEEDS = "95 % interval", "one of two seeds"
LEGEND = {
    "the variant": VARIANT,
    "SAM": REFERENCES["sam"],
    "SGD": REFERENCES["sgd"],
    INTERVAL: {"color": canvas.BLUE, "alpha": 0.18, "linewidth": 7},
    SEEDS: {"color": canvas.BLUE, **canvas.SEED},
    "as printed": {"color": canvas.MUTED, "marker": "o", "markersize": 3.4, **canvas.HOLLOW},
}


def draw(view: View, heading: str = "") -> Drawn:
    """Draw it; measured above, reported below, because their levels are of different data.

    Args:
        view: what it shows.
        heading: of what is printed under a heading with this in it, the caption says the heading.
    """
    rows = selection.variant_rows(view)
    planned = {shown.variant for shown in rows if shown.row.cell}
    data = _data(view, [shown for shown in rows if shown.variant in planned])
    variants = [v for v in dict.fromkeys(data.variant) if v not in REFERENCES]
    if not variants:
        return canvas.unplanned("no table of variants is planned", data)
    run = set(data.variant[data["mean"].notna()])
    variants = [variant for variant in variants if variant in run]
    if not variants:
        return canvas.unrun(data)
    rhos = sorted(data.rho.unique())
    span = rhos[-1] - rhos[0] or 1.0
    figure, pairs = canvas.paired_panels(len(variants), unit=canvas.unit(selection.metric(view)))
    floor = canvas.limits([u for u, _ in pairs], pd.concat(canvas.ends(data)))
    canvas.limits([lower for _, lower in pairs], data["reported"])
    for i, (variant, (upper, lower)) in enumerate(zip(variants, pairs, strict=True)):
        upper.set_title(variant, fontweight="bold")
        for name, look in {**REFERENCES, variant: VARIANT}.items():
            faint = 1.0 if name == variant else 0.5
            _panel(upper, lower, data[data.variant == name], look, floor, faint)
        for axes in (upper, lower):
            axes.set_xticks(rhos)
            axes.set_xlim(rhos[0] - 0.05 * span, rhos[-1] + 0.05 * span)
        lower.tick_params(labelleft=i % 4 == 0)
        lower.set_xlabel("rho")
    canvas.legend(figure, _legend(data))
    return Drawn(figure, data, _caption(view, data, rows, heading))


def _legend(data: pd.DataFrame) -> dict[str, dict]:
    """Intervals, single seeds or both, as `canvas.band` draws them."""
    absent = [name for name, there in ((INTERVAL, data.n > 2), (SEEDS, data.n == 2))
              if not there.any()]  # fmt: skip
    return {name: look for name, look in LEGEND.items() if name not in absent}


def _data(view: View, rows: list[Shown]) -> pd.DataFrame:
    frame = measure(view.plan, view.paper.name, [shown.row for shown in rows])
    frame = frame[frame.selection == "best_val"]
    frame = frame.assign(variant=[s.variant for s in rows], rho=[s.rho for s in rows])
    frame = frame.sort_values("rho", kind="stable")
    names = {"measured": "mean", "ci_low": "low", "ci_high": "high", "seeds": "n"}
    frame = frame.rename(columns=names)
    frame.loc[frame.status == "excluded", "reported"] = float("nan")
    order = {v: i for i, v in enumerate(sorted(set(frame.variant), key=lambda v: (len(v), v)))}
    frame = frame.sort_values("variant", key=lambda s: s.map(order), kind="stable")
    columns = ["variant", "column", "rho", "mean", "low", "high", "n", "reported", "cell"]
    return frame[columns].reset_index(drop=True)


def _panel(
    upper: Axes, lower: Axes, frame: pd.DataFrame, look: dict, floor: float, strength: float
) -> None:
    canvas.band(upper, frame, "rho", strength, **look)
    canvas.below(upper, frame.rho, frame["mean"], floor, look["color"])
    lower.plot(frame.rho, frame.reported, **{**look, **canvas.HOLLOW})


def _caption(view: View, data: pd.DataFrame, rows: list[Shown], heading: str) -> str:
    telling = [s for s in rows if heading and heading in s.row.column and s.row.cell]
    renamed = {s.variant: s.row.column for s in telling}
    one = ", one run each" if all(s.row.reported.runs == 1 for s in rows) else ""
    text = (
        f"Upper panels: measured {selection.title(view)} {selection.when(rows[0].row.spec)}, "
        f"{canvas.means(data.n)}; a gap is a cell not run, a number with an "
        "arrow is the lowest point of a line that leaves its panel. Lower panels: the printed "
        f"numbers{one}; those that must not be compared are left out. The intervals hold "
        "the spread between seeds, which all lines share: whether two differ is in the paired "
        "differences. "
    )
    text += "".join(f"{variant} is the column {column}. " for variant, column in renamed.items())
    missing = sorted({s.variant for s in rows} - set(data.variant), key=lambda v: (len(v), v))
    text += f"Not planned in this profile: {', '.join(missing)}. " if missing else ""
    run = set(data.variant[data["mean"].notna()])
    text += canvas.missing(variant for variant in data.variant if variant not in run)
    return text + scope.brief(view.plan, view.paper.name, [s.row for s in rows])
