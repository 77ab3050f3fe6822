"""How much of a parameter's region is mini-batch noise, how much rounding, how much curvature."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from samscope.analysis import results, scope
from samscope.analysis.figures import canvas, selection
from samscope.analysis.figures.canvas import Drawn
from samscope.analysis.figures.lambda_max import label
from samscope.analysis.stats import mean_interval
from samscope.plan.papers import Plan

AGREEMENTS = {
    "float64": "float32 and float64",
    "prediction": "predicted by curvature",
    "another_batch": "another mini-batch",
}
COLOURS = {"sgd": canvas.INK, "sam": canvas.BLUE}
CHANCE = {"color": canvas.MUTED, "marker": "|", "markersize": 9, "linestyle": (0, (3, 2)),
          "markeredgewidth": 1.4, "linewidth": 1.2}  # fmt: skip
COLUMNS = ["cell", "quantity", "at", "mean", "low", "high", "chance", "n"]


def draw(plan: Plan) -> Drawn:
    """Draw it for SGD and for SAM at the rho that figures of one rho show."""
    cells = selection.sgd_and_sam_cells(plan)
    rho = selection.shown_rho(plan, cells) if cells else None
    cells = tuple(c for c in cells if plan.cells[c].cell.rho in (None, rho))
    data = _data(plan, cells)
    if not cells:
        return Drawn(canvas.empty("no spectrum is planned"), data, "Not planned.")
    figure, ((left, right),) = canvas.panels((canvas.WIDTH, 2.9), 2, [(0.6, 1.8)], 1.5, 0.4)
    if data.empty:
        for axes in (left, right):
            canvas.note(axes, "not run")
    looks = {c: {"color": COLOURS[plan.cells[c].cell.variant], "marker": "o"} for c in cells}
    _agreements(left, data, looks, rho)
    _predictions(right, data, looks)
    shown = {label(plan, cell): {**look, "markersize": 3.4} for cell, look in looks.items()}
    canvas.legend(figure, shown | {"chance": {**CHANCE, "marker": ""}})
    return Drawn(figure, data, _caption(plan, data, rho))


def _agreements(
    axes: Axes, data: pd.DataFrame, looks: dict[str, dict[str, Any]], rho: float | None
) -> None:
    """A row for each of `AGREEMENTS`: seeds' mean and interval, and a tick at chance."""
    axes.set_title("Same region of h/g", fontweight="bold")
    axes.set_yticks(range(len(AGREEMENTS)), reversed(AGREEMENTS.values()))
    for row, name in enumerate(reversed(AGREEMENTS)):
        for i, (cell, look) in enumerate(looks.items()):
            chosen = data[(data.cell == cell) & (data.quantity == name) & (data["at"] == rho)]
            y = [row + 0.15 - 0.3 * i] * len(chosen)
            axes.plot(chosen["mean"], y, **look, markersize=3.4, linewidth=0)
            axes.hlines(y, *canvas.ends(chosen), color=look["color"], linewidth=1.1)
            axes.plot(chosen["chance"], y, **{**CHANCE, "linewidth": 0, "color": look["color"]})
    axes.set_ylim(-0.5, len(AGREEMENTS) - 0.5)
    axes.set_xlim(0, 103)
    axes.set_xlabel("% of all parameters")


def _predictions(axes: Axes, data: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """How far the linear picture carries: a line a method, dashes at its chance."""
    axes.set_title("Region predicted by curvature, %", fontweight="bold")
    axes.set_xscale("log")
    for cell, look in looks.items():
        chosen = data[(data.cell == cell) & (data.quantity == "prediction")]
        canvas.band(axes, chosen, "at", **look, markersize=3.4, linewidth=1.2)
        dashes = {**CHANCE, "marker": "", "color": look["color"]}
        axes.plot(chosen["at"], chosen["chance"], **dashes, alpha=0.7)
    axes.set_ylim(0, 103)
    ticks = sorted(set(data[data.quantity == "prediction"]["at"]))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("rho")


def _data(plan: Plan, cells: tuple[str, ...]) -> pd.DataFrame:
    """Means over seeds, columns `COLUMNS`; ``at`` is the rho of h, ``n`` the seeds."""
    rows = [
        (cell, *row)
        for cell, _, spectra in results.spectra(plan, cells)
        if spectra[-1].get("noise")
        for row in _numbers(spectra[-1]["noise"])
    ]
    frame = pd.DataFrame(rows, columns=["cell", "quantity", "at", "value", "chance"])
    lines = []
    for (cell, quantity, at), group in frame.groupby(["cell", "quantity", "at"], sort=False):
        value = mean_interval(group["value"].astype(float))
        chance = group["chance"].astype(float).mean()
        lines.append((cell, quantity, at, value.mean, value.low, value.high, chance, value.n))
    return pd.DataFrame(lines, columns=COLUMNS)


def _numbers(noise: dict[str, Any]) -> list[tuple[str, float, float | None, float | None]]:
    """Quantity, rho, value and chance of all that is recorded of a run."""
    at, none, diagonal = noise["rho"], [None] * 4, noise["diagonal"]
    rows = [
        *((name, at, *(noise[name] or none[:2])) for name in ("float64", "another_batch")),
        *(("prediction", p["rho"], p["same"], p["chance"]) for p in noise["prediction"]),
        *(("prediction_error", p["rho"], p["error"], None) for p in noise["prediction"]),
        ("diagonal_above", at, diagonal["above"], diagonal["chance"]),
        ("diagonal_rank_correlation", at, diagonal["rank_correlation"], 0.0),
        ("diagonal_reliability", at, diagonal["reliability"], 0.0),
    ]
    for name in ("shares", "noise_shares"):
        found = enumerate(noise[name] or none, 1)
        rows += [(f"{name}_region{k}", at, value, None) for k, value in found]
    return rows


def _caption(plan: Plan, data: pd.DataFrame, rho: float | None) -> str:
    return (
        "Parameters whose region of h/g is the same, at the last weights, "
        f"{canvas.means(data.n)}. Left, at rho {rho:g}: computed in float32 and in float64; "
        "measured and predicted by one Hessian-vector product, r = 1 + rho (H g)_i / (||g|| g_i); "
        "in one mini-batch and in another at the same weights. Right: the prediction as rho grows; "
        "the Hessian knows nothing of activations that switch on the way. Chance: memberships that "
        "are independent and have the same shares agree by the sum of the products of the shares "
        f"(ticks, dashes). {_diagonal(data)}"
        + scope.brief(plan, selection.STUDY, selection.variant_rows(plan))
    )


def _diagonal(data: pd.DataFrame) -> str:
    """Of SAM, in a sentence or two; nothing where it is not measured."""
    sam = data[data.cell.str.contains("/sam/")] if len(data) else data
    of = sam.set_index("quantity") if len(sam) else None
    if of is None:
        return ""
    above = of.loc["diagonal_above"]
    return (
        f"Under SAM {above['mean']:.1f} % of region 1 are among the n1 parameters with the largest "
        f"|diagonal of the Hessian|, where chance, n1/N, is {above.chance:.1f} %; rank correlation "
        f"of |diagonal| and |g| {of.loc['diagonal_rank_correlation', 'mean']:.2f}, of two "
        f"estimates of the diagonal {of.loc['diagonal_reliability', 'mean']:.2f}. "
    )
