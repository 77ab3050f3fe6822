"""The SAME tables: test accuracy against the condition that rescales SAM's gradient on a region."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from samscope.analysis import scope
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.tables import measure
from samscope.plan.papers import Plan, Table

TICKS = (0.1, 0.3, 1, 3)


def draw(plan: Plan) -> Drawn:
    """Draw it: a line a rho, SAM itself at condition 1; measured above, reported below."""
    tables, missing = _tables(plan)
    data = _data(plan, tables)
    if not tables:
        return Drawn(canvas.empty("no table with a condition is planned"), data, "Not planned.")
    figure, pairs = canvas.paired_panels(len(tables), gap=0.34)
    looks = canvas.rho_styles(data.rho)
    floor = canvas.limits([upper for upper, _ in pairs], data["mean"])
    for table, (upper, lower) in zip(tables, pairs, strict=True):
        chosen = data[data.table == table.id]
        upper.set_title(_title(chosen, table.id), fontweight="bold")
        for rho, look in looks.items():
            _panel(upper, lower, chosen[chosen.rho == rho], look, floor)
        if chosen["mean"].isna().all():
            canvas.note(upper, "not run")
        for axes in (upper, lower):
            _scale(axes)
        lower.margins(y=0.15)
        lower.set_xlabel("condition")
    legend = {f"rho {rho:g}": {**look, "markersize": 3.4} for rho, look in looks.items()}
    printed = {"color": canvas.MUTED, "marker": "o", "markersize": 3.4, **canvas.HOLLOW}
    canvas.legend(figure, {**legend, "as printed": printed}, columns=7)
    return Drawn(figure, data, _caption(plan, data, tables, missing))


def _tables(plan: Plan) -> tuple[list[Table], list[str]]:
    """Tables of which cells run, not SAM's alone, and the ids of the others."""
    every = selection.rescaled_tables(plan)
    planned = [t for t in every if any(row.cell and row.condition is not None for row in t.rows)]
    return planned, [table.id for table in every if table not in planned]


def _data(plan: Plan, tables: list[Table]) -> pd.DataFrame:
    frames = [
        measure(plan, [r for r in table.rows if r.metric == "test_acc_percent"]).assign(
            table=table.id
        )
        for table in tables
    ]
    columns = ["table", "variant", "rho", "condition", "mean", "low", "high", "n", "reported"]
    if not frames:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(frames, ignore_index=True)
    frame = frame[frame.selection == "best_val"]
    names = {"measured": "mean", "ci_low": "low", "ci_high": "high", "seeds": "n"}
    frame = frame.rename(columns=names)
    frame.loc[frame.variant == "sam", "condition"] = 1.0
    frame.loc[frame.status == "excluded", "reported"] = float("nan")
    order = ["table", "rho", "condition"]
    ranks = {table.id: i for i, table in enumerate(tables)}
    key = lambda s: s.map(ranks) if s.name == "table" else s  # noqa: E731
    return frame.sort_values(order, key=key)[[*columns, "cell"]].reset_index(drop=True)


def _title(chosen: pd.DataFrame, table: str) -> str:
    """``S3_RN34: region 3``."""
    variant = next(v for v in chosen.variant if v != "sam")
    digits = variant.removeprefix("sameckpt")
    return f"{table}: region{'s' if len(digits) > 1 else ''} {', '.join(digits)}"


def _panel(upper: Axes, lower: Axes, frame: pd.DataFrame, look: dict, floor: float) -> None:
    canvas.band(upper, frame, "condition", 0.5, **look, markersize=3.2, linewidth=1.1)
    canvas.below(upper, frame.condition, frame["mean"], floor, look["color"])
    known = frame.dropna(subset="reported")
    lower.plot(known.condition, known.reported, **look, **canvas.HOLLOW, markersize=3.2)


def _scale(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.08, 3.8)
    axes.axvline(1, color=canvas.RULE, linewidth=0.8, zorder=0)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{t:g}" for t in TICKS]))
    axes.xaxis.set_minor_locator(NullLocator())


def _caption(plan: Plan, data: pd.DataFrame, tables: list[Table], missing: list[str]) -> str:
    rows = [row for table in tables for row in table.rows]
    thinned = f"Not planned in this profile: {', '.join(missing)}. " if missing else ""
    return (
        "Upper panels: measured test accuracy at the epoch of best validation accuracy when SAM's "
        "gradient is multiplied by the condition on a region, "
        f"{canvas.means(data.n)}; condition 1 is SAM itself, a number with an arrow is the "
        "lowest point of a line that leaves its panel. Lower panels: the printed numbers, one run "
        "each, without those that must not be compared. "
        + thinned
        + scope.brief(plan, selection.STUDY, rows)
    )
