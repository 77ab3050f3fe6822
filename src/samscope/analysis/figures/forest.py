"""Effects of some claims of one unit beside each other, with what is too small to matter."""

from collections.abc import Mapping

import pandas as pd

from samscope.analysis import canvas, claims, scope, selection, verdicts
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View
from samscope.errors import InputError

TITLE = "Effects"

_KEPT = (
    *("id", "test", "effect", "ci_low", "ci_high", "unit", "n", "verdict", "reason", "margin"),
    "same_as",
)


def draw(view: View, rows: Mapping[str, str] | None = None, axis: str = "effect, points") -> Drawn:
    """Draw it: a row a claim, its effect with the 95 % interval, the margin shaded.

    One that the profile does not tell from another is drawn once.

    Args:
        view: of the claims' paper.
        rows: ids of claims by what their rows are called; all that are in points by default.
        axis: what the effects are of.

    Raises:
        InputError: for a claim that the paper does not have.
    """
    data = _data(view, rows)
    if data.empty:
        return Drawn(canvas.empty("no claim in points"), data, "No claim in points.")
    if not selection.every(view):
        return canvas.unplanned("no cell is planned", data)
    run = data[data.effect.notna() & (data.same_as == "")]
    if run.empty:
        return canvas.unrun(data)
    tall = 0.3 * len(run)
    figure, ((axes,),) = canvas.panels((canvas.WIDTH, tall + 0.8), 1, [(0.2, tall)], 1.9, 0.0)
    margin = data.margin.iloc[0]
    if not pd.isna(margin):
        axes.axvspan(-margin, margin, color=canvas.MUTED, alpha=0.15, linewidth=0)
    axes.axvline(0, color=canvas.INK, linewidth=0.8)
    for i, line in enumerate(run.itertuples()):
        axes.plot([line.ci_low, line.ci_high], [i, i], color=canvas.BLUE, linewidth=1.8)
        axes.plot(line.effect, i, "D", color=canvas.BLUE, markersize=4)
    axes.set_yticks(range(len(run)), run.row)
    axes.set_ylim(len(run) - 0.4, -0.6)
    axes.set_xlabel(axis)
    return Drawn(figure, data, _caption(view, data, margin))


def _data(view: View, rows: Mapping[str, str] | None) -> pd.DataFrame:
    """A line a row, in order."""
    known = [claim.id for claim in claims.read(view.paper)]
    for id_ in (rows or {}).values():
        if id_ not in known:
            allowed = ", ".join(known) or "none: the paper has no claims"
            raise InputError(f"{view.paper.name}/paper.yaml: forest", "rows", id_, allowed)
    found = verdicts.evaluate(view.plan, view.paper.name, tuple((rows or {}).values()))
    found = found.assign(margin=[of["points"] for of in found.margins]).set_index("id", drop=False)
    if rows is None:
        found = found[[parts[0]["unit"] == "points" for parts in found.parts]]
        rows = {id_: id_ for id_ in found.id}
    shown = found.loc[list(rows.values()), list(_KEPT)]
    return shown.assign(row=list(rows)).reset_index(drop=True)


def _caption(view: View, data: pd.DataFrame, margin: float) -> str:
    run = data[data.effect.notna() & (data.same_as == "")]
    same = "".join(
        f"{line.row} is the same here ({line.id}). "
        for line in data[data.same_as != ""].itertuples()
    )
    told = "; ".join(f"{line.row}: {line.verdict} ({line.id})" for line in run.itertuples())
    absent = data[data.effect.isna()]
    shaded = "" if pd.isna(margin) else f"Shaded: under {margin:g} points, too little to matter. "
    return (
        "Mean and 95 % t-interval over "
        f"{canvas.seeds(data.n.fillna(0))}, paired, not corrected for the number of rows. "
        f"{shaded}{told[0].upper()}{told[1:]}. {same[:1].upper()}{same[1:]}"
        + canvas.missing(f"{line.row} ({line.id})" for line in absent.itertuples())
        + scope.brief(view.plan, view.paper.name, view.rows[:1])
    )
