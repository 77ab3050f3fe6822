"""How well m-sharpness foretells the generalisation gap of runs, for each m."""

import math

import pandas as pd

from samscope.analysis import canvas, prediction, results, scope, selection
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View
from samscope.metrics import METRICS, M

TITLE = "m-sharpness and the generalisation gap"
NEEDS = ("m_sharpness",)

GAP = "last_gap_loss"
TITLES = {
    "spearman": "Spearman's correlation",
    "kendall": "Kendall's tau",
    "information": "mutual information, bits",
}
LEAST = 3
"""Cells that have a rank."""
COLUMNS = ("m", "here", "quantity", "mean", "low", "high", "chance", "chance_high", "n", "cells")


def draw(view: View) -> Drawn:
    """Draw it: a panel a quantity, m along it, chance beside mutual information."""
    planned = selection.of_stage(view, "m_sharpness")
    frame = _frame(view, planned)
    data = _data(view, frame)
    if not planned:
        return canvas.unplanned("no m-sharpness is planned", data)
    if data.empty:
        return canvas.unrun(data)
    figure, (row,) = canvas.panels((canvas.WIDTH, 2.6), 3, [(0.3, 1.75)], left=0.55, gap=0.55)
    for axes, (quantity, title) in zip(row, TITLES.items(), strict=True):
        axes.set_title(title, fontweight="bold")
        axes.set_xlabel("m")
        own = data[data.quantity == quantity].reset_index()
        axes.axhline(0, color=canvas.INK, linewidth=0.8)
        axes.vlines(own.index, own.low, own.high, color=canvas.BLUE, linewidth=1.6)
        axes.plot(own.index, own["mean"], "o", color=canvas.BLUE, markersize=4)
        axes.set_xticks(own.index, own.m)
        axes.margins(x=0.12)
        if own.chance_high.notna().any():
            axes.plot(own.index, own.chance_high, "_", color=canvas.MUTED, markersize=12)
    return Drawn(figure, data, _caption(view, data, planned))


def _frame(view: View, cells: list[str]) -> pd.DataFrame:
    """Of the seeds that have all cells: the metrics [seeds, (metric, cell)], none missing."""
    names = [GAP, *(f"m_sharpness_{m}" for m in M)]
    frame = results.metrics(view.plan, cells, names)
    frame = frame[frame.selection == "last"]
    wide = frame.pivot(index="seed", columns=["metric", "cell"], values="value")
    # A cell whose runs all diverged, or that is not made, is none of those compared.
    return wide.dropna(axis=1, how="all").dropna()


def _data(view: View, frame: pd.DataFrame) -> pd.DataFrame:
    here = {int(m): n for m, n in view.settings("m_sharpness").get("m", {}).items()}
    lines = []
    for m in M:
        name = f"m_sharpness_{m}"
        if not {name, GAP} <= {*frame.columns.get_level_values(0)} or not len(frame):
            continue
        cells = [cell for cell in frame[GAP].columns if cell in frame[name].columns]
        if len(cells) < LEAST:
            continue
        found = prediction.power(frame[name][cells], frame[GAP][cells])
        n, none = len(frame), (math.nan, math.nan)
        for quantity, of in (("spearman", found.spearman), ("kendall", found.kendall)):
            low, high = max(of.low, -1.0), min(of.high, 1.0)
            lines.append((m, here.get(m, m), quantity, of.mean, low, high, *none, n, len(cells)))
        ends = found.information, found.low, found.high, found.chance, found.chance_high
        lines.append((m, here.get(m, m), "information", *ends, n, len(cells)))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _caption(view: View, data: pd.DataFrame, cells: list[str]) -> str:
    settings = view.settings("m_sharpness")
    others = {m: n for m, n in settings["m"].items() if int(m) != n}
    stands = ", ".join(f"{m} is {n} here" for m, n in others.items())
    count = int(data.cells.max()) if len(data) else 0
    return (
        f"m-sharpness of the last weights at a radius of {settings['rho']:g}, on "
        f"{settings['images']} training images, against the gap: {METRICS[GAP].title}. Over "
        f"{count} settings within each seed, {canvas.seeds(data.n)}. Correlations: mean and 95 % "
        "t-interval over seeds. Mutual information of whether of two runs the sharpness and the "
        "gap is larger, with a 95 % bootstrap interval over seeds; grey: 95 % of exchanges of runs "
        "within their seeds stay below, and by about their mean the estimate is too high. "
        + (f"Of m, {stands}. " if stands else "")
        + scope.brief(view.plan, view.paper.name, selection.rows_of(view, cells))
    )
