"""A metric against the condition that rescales SAM's gradient on a region: a panel a table."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from samscope.analysis import canvas, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.tables import measure
from samscope.analysis.view import View
from samscope.plan.types import Row

TITLE = "Rescaling SAM's gradient on a region"
CELLS = "rescaled"

TICKS = (0.1, 0.3, 1, 3)


def draw(view: View) -> Drawn:
    """Draw it: a line a rho, SAM itself at condition 1; measured above, reported below."""
    tables, missing = _tables(view)
    data = _data(view, tables)
    if not tables:
        return canvas.unplanned("no table with a condition is planned", data)
    names = [name for name in tables if name in _run(data)]
    if not names:
        return canvas.unrun(data)
    shown = data[data.table.isin(names) & data[["mean", "reported"]].notna().any(axis=1)]
    figure, pairs = canvas.paired_panels(
        len(names), gap=0.34, unit=canvas.unit(selection.metric(view))
    )
    looks = canvas.rho_styles(shown.rho)
    floor = canvas.limits([upper for upper, _ in pairs], shown["mean"])
    for table, (upper, lower) in zip(names, pairs, strict=True):
        chosen = shown[shown.table == table]
        upper.set_title(_title(chosen, table), fontweight="bold")
        for rho, look in looks.items():
            _panel(upper, lower, chosen[chosen.rho == rho], look, floor)
        for axes in (upper, lower):
            _scale(axes)
        lower.margins(y=0.15)
        lowest = lower if chosen.reported.notna().any() else upper
        lowest.set_xlabel("condition")
        lowest.tick_params(labelbottom=True)
        if lowest is upper:
            lower.remove()
    legend = {f"rho {rho:g}": {**look, "markersize": 3.4} for rho, look in looks.items()}
    printed = {"color": canvas.MUTED, "marker": "o", "markersize": 3.4, **canvas.HOLLOW}
    canvas.legend(figure, {**legend, "as printed": printed}, columns=7)
    return Drawn(figure, data, _caption(view, data, tables, missing))


def _tables(view: View) -> tuple[dict[str, tuple[Row, ...]], list[str]]:
    """Rows of the tables of which cells run, not SAM's alone, and the ids of the others."""
    every = selection.rescaled_tables(view)
    planned = {
        name: rows
        for name, rows in every.items()
        if any(row.cell and _flat(row)["condition"] is not None for row in rows)
    }
    return planned, [name for name in every if name not in planned]


def _run(data: pd.DataFrame) -> set[str]:
    """The tables of which more is run than SAM's own cells and SGD's."""
    rescaled = data.condition.notna() & (data.variant != "sam")
    return set(data.table[rescaled & data["mean"].notna()])


def _flat(row: Row) -> dict[str, Any]:
    return row.spec.to_dict()


def _data(view: View, tables: dict[str, tuple[Row, ...]]) -> pd.DataFrame:
    frames = [_measured(view, rows).assign(table=name) for name, rows in tables.items()]
    columns = ["table", "variant", "rho", "condition", "mean", "low", "high", "n", "reported"]
    if not frames:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(frames, ignore_index=True)
    names = {"measured": "mean", "ci_low": "low", "ci_high": "high", "seeds": "n"}
    frame = frame.rename(columns=names)
    frame.loc[frame.variant == "sam", "condition"] = 1.0
    frame.loc[frame.status == "excluded", "reported"] = float("nan")
    order = ["table", "rho", "condition"]
    ranks = {name: i for i, name in enumerate(tables)}
    key = lambda s: s.map(ranks) if s.name == "table" else s  # noqa: E731
    return frame.sort_values(order, key=key)[[*columns, "cell"]].reset_index(drop=True)


def _measured(view: View, rows: tuple[Row, ...]) -> pd.DataFrame:
    chosen = [row for row in rows if row.metric == selection.metric(view)]
    frame = measure(view.plan, view.paper.name, chosen)
    names = ("variant", "condition")
    leaves = {name: [_flat(row)[name] for row in chosen] for name in names}
    return frame[frame.selection == "best_val"].assign(**leaves, rho=[r.at("rho") for r in chosen])


def _title(chosen: pd.DataFrame, table: str) -> str:
    """``S3_RN34: region 3``, or the variant where it rescales something else."""
    variant = next(v for v in chosen.variant[chosen.condition.notna()] if v != "sam")
    digits = variant.removeprefix("sameckpt")
    if not digits.isdigit():
        return f"{table}: {variant}"
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


def _caption(
    view: View, data: pd.DataFrame, tables: dict[str, tuple[Row, ...]], missing: list[str]
) -> str:
    rows = [row for rows in tables.values() for row in rows]
    thinned = f"Not planned in this profile: {', '.join(missing)}. " if missing else ""
    return (
        f"Upper panels: measured {selection.title(view)} {selection.when(rows[0].spec)} when SAM's "
        "gradient is multiplied by the condition on a region, "
        f"{canvas.means(data.n)}; condition 1 is SAM itself, a number with an arrow is the "
        "lowest point of a line that leaves its panel. Lower panels: the printed numbers, one run "
        "each, without those that must not be compared. "
        + thinned
        + canvas.missing(name for name in tables if name not in _run(data))
        + scope.brief(view.plan, view.paper.name, rows)
    )
