"""How much of a parameter's region is mini-batch noise, how much rounding, how much curvature."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from samscope.analysis import canvas, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.selection import label
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.store.recorded import Noise, Number

TITLE = "Noise, rounding, curvature"
CELLS = "sgd_and_sam"
NEEDS = ("curvature",)

AGREEMENTS = {
    "float64": "float32 and float64",
    "prediction": "predicted by curvature",
    "another_batch": "another mini-batch",
}
COLOURS = {"sgd": canvas.INK, "sam": canvas.BLUE}
CHANCE = {"color": canvas.MUTED, "marker": "|", "markersize": 9, "linestyle": (0, (3, 2)),
          "markeredgewidth": 1.4, "linewidth": 1.2}  # fmt: skip
COLUMNS = ["cell", "quantity", "at", "mean", "low", "high", "chance", "n"]


def draw(view: View) -> Drawn:
    """Draw it for SGD and for SAM at the rho that figures of one rho show."""
    cells = selection.sgd_and_sam(view)
    rho = selection.shown_rho(view, cells) if cells else None
    cells = tuple(c for c in cells if view.leaves(c)["rho"] in (None, rho))
    data = _data(view, cells)
    if not cells:
        return canvas.unplanned("no spectrum is planned", data)
    if data.empty:
        return canvas.unrun(data)
    figure, ((left, right),) = canvas.panels((canvas.WIDTH, 2.9), 2, [(0.6, 1.8)], 1.5, 0.4)
    looks: dict[str, dict[str, Any]] = {}
    for cell in cells:
        look = {"color": COLOURS[view.leaves(cell)["variant"]], "marker": "o"}
        # A variant at another setting than the first.
        looks[cell] = {"color": canvas.MUTED, "marker": "X"} if look in looks.values() else look
    _agreements(left, data, looks, rho)
    _predictions(right, data, looks)
    shown = {label(view, cell): {**look, "markersize": 3.4} for cell, look in looks.items()}
    canvas.legend(figure, shown | {"chance": {**CHANCE, "marker": ""}})
    return Drawn(figure, data, _caption(view, data, rho))


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


def _data(view: View, cells: tuple[str, ...]) -> pd.DataFrame:
    """Means over seeds, columns `COLUMNS`; ``at`` is the rho of h, ``n`` the seeds."""
    rows = [
        (cell, *row)
        for cell, _, spectra in results.spectra(view.plan, cells)
        if spectra[-1].noise
        for row in _numbers(spectra[-1].noise)
    ]
    frame = pd.DataFrame(rows, columns=["cell", "quantity", "at", "value", "chance"])
    lines = []
    for (cell, quantity, at), group in frame.groupby(["cell", "quantity", "at"], sort=False):
        value = mean_interval(group["value"].astype(float))
        chance = group["chance"].astype(float).mean()
        lines.append((cell, quantity, at, value.mean, value.low, value.high, chance, value.n))
    return pd.DataFrame(lines, columns=COLUMNS)


def _numbers(noise: Noise) -> list[tuple[str, float, Number, Number]]:
    """Quantity, rho, value and chance of all that is recorded of a run."""
    at, none, diagonal = noise.rho, [None] * 4, noise.diagonal
    return [
        ("float64", at, *(noise.float64 or none[:2])),
        ("another_batch", at, *(noise.another_batch or none[:2])),
        *(("prediction", p.rho, p.same, p.chance) for p in noise.prediction),
        *(("prediction_error", p.rho, p.error, None) for p in noise.prediction),
        ("diagonal_above", at, diagonal.above, diagonal.chance),
        ("diagonal_rank_correlation", at, diagonal.rank_correlation, 0.0),
        ("diagonal_reliability", at, diagonal.reliability, 0.0),
        *((f"shares_region{k}", at, s, None) for k, s in enumerate(noise.shares or none, 1)),
        *(
            (f"noise_shares_region{k}", at, s, None)
            for k, s in enumerate(noise.noise_shares or none, 1)
        ),
    ]


def _caption(view: View, data: pd.DataFrame, rho: float | None) -> str:
    return (
        "Parameters whose region of h/g is the same, at the last weights, "
        f"{canvas.means(data.n)}. Left, at rho {rho:g}: computed in float32 and in float64; "
        "measured and predicted by one Hessian-vector product, r = 1 + rho (H g)_i / (||g|| g_i); "
        "in one mini-batch and in another at the same weights. Right: the prediction as rho grows; "
        "the Hessian knows nothing of activations that switch on the way. Chance: memberships that "
        "are independent and have the same shares agree by the sum of the products of the shares "
        f"(ticks, dashes). {_diagonal(data)}"
        + scope.brief(
            view.plan, view.paper.name, selection.rows_of(view, selection.sgd_and_sam(view))
        )
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
