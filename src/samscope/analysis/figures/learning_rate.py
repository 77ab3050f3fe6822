"""The effective learning rate: how much longer h is than g in each region, and the control."""

import numpy as np
import pandas as pd

from samscope.analysis import canvas, gathered, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.comparisons import Records
from samscope.analysis.stats import mean_interval, paired_interval
from samscope.analysis.view import View

TITLE = "The effective learning rate"
CELLS = "controls"

PARTS = {
    "region1": "region 1", "region2": "region 2", "region3": "region 3", "region4": "region 4",
    "all": "all",
}  # fmt: skip
LOOKS: dict[str, canvas.Look] = {
    label: {"color": colour, "linewidth": 1.3}
    for label, colour in zip(
        PARTS.values(),
        (canvas.BLUE, canvas.SKY, canvas.VERMILLION, canvas.ORANGE, canvas.INK),
        strict=True,
    )
}
CONTROLS = {
    "sgd-norm": "SGD at SAM's norm", "sgd-norm-regions": "the same in each region", "sam": "SAM",
}  # fmt: skip
LINE: canvas.Look = {"color": canvas.MUTED, "linestyle": (0, (1, 2)), "linewidth": 0.9}


def draw(view: View) -> Drawn:
    """Draw it for the rho that figures of one rho show."""
    cells, rho = selection.sam_shown(view, "sgd-norm")
    data = pd.concat([_norms(view, cells), _gains(view, rho)], ignore_index=True)
    if not cells:
        return canvas.unplanned("no SAM cell is planned", data)
    norms, gains = (data[(data.quantity == q) & (data.n > 0)] for q in ("norm", "gain"))
    if norms.empty:
        return canvas.unrun(data)
    figure, ((left, right),) = canvas.panels((canvas.WIDTH, 3.0), 2, [(0.5, 1.95)], 0.5, 1.6)
    for label, look in LOOKS.items():
        canvas.band(left, norms[norms.name == label], "epoch", logs=True, **look)
    left.axhline(1, **LINE)
    left.set_xlabel(selection.unit(view, cells))
    left.set_ylabel("norm of h over norm of g")
    for i, row in enumerate(gains.itertuples()):
        right.plot([row.low, row.high], [i, i], color=canvas.BLUE, linewidth=1.8)
        right.plot(row.mean, i, "D", color=canvas.BLUE, markersize=4)
    if gains.empty:
        right.remove()
    right.axvline(0, **LINE)
    right.set_yticks(range(len(gains)), gains.name)
    right.set_ylim(len(gains) - 0.5, -0.5)
    right.set_xlabel("points of test accuracy above SGD")
    canvas.legend(figure, LOOKS)
    return Drawn(figure, data, _caption(view, data, rho))


def _norms(view: View, cells: list[str]) -> pd.DataFrame:
    """Root of the ratio of the mean squares of an epoch, geometric mean over seeds."""
    frame = gathered.total(gathered.read(view.plan, cells, "ratios"))
    lines = []
    for epoch, group in frame.groupby("epoch"):
        for part, label in PARTS.items():
            names = [*list(PARTS)[:4], "none"] if part == "all" else [part]
            h, g = (group[[f"{p}_{name}" for name in names]].sum(axis=1) for p in ("hh", "gg"))
            log = mean_interval(np.log(h.where(h > 0) / g.where(g > 0)) / 2)
            ends = (float(np.exp(x)) for x in (log.mean, log.low, log.high))
            lines.append(("norm", label, epoch, *ends, log.n))
    return pd.DataFrame(lines, columns=COLUMNS)


COLUMNS = ["quantity", "name", "epoch", "mean", "low", "high", "n"]


def _gains(view: View, rho: float | None) -> pd.DataFrame:
    if rho is None:
        return pd.DataFrame(columns=COLUMNS)
    records = Records(view)
    sgd = records.values("sgd", rho, "test_acc_percent")
    lines = []
    for variant, label in CONTROLS.items():
        gap = paired_interval(records.values(variant, rho, "test_acc_percent"), sgd)
        lines.append(("gain", label, np.nan, gap.mean, gap.low, gap.high, gap.n))
    return pd.DataFrame(lines, columns=COLUMNS)


def _caption(view: View, data: pd.DataFrame, rho: float | None) -> str:
    rows = selection.rows_of(view, selection.controls(view))
    return (
        f"Left: how much longer the perturbed gradient is in each region, under SAM, rho {rho:g}, "
        f"{canvas.means(data[data.quantity == 'norm'].n)}; "
        "by definition above 1 in regions 1 and 3 and below in 2 and 4. Right: test accuracy above "
        "SGD of SGD whose step is scaled, each time, to the norm that SAM's would have there, as a "
        "whole or region by region, and of SAM, mean and 95 % "
        f"t-interval over {canvas.seeds(data[data.quantity == 'gain'].n)}. Chance: equal gradients "
        "would have ratio 1, and a control that adds nothing is at 0; one that explains SAM is "
        "where SAM is. "
        + canvas.missing(data.name[(data.quantity == "gain") & (data.n == 0)])
        + scope.brief(view.plan, view.paper.name, rows)
    )
