"""What all figures share: style, colours, rendering to stable bytes, and the panels for no data."""

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from samscope.analysis import stats
from samscope.analysis.figures import NOT_PLANNED, NOT_RUN
from samscope.metrics import METRICS

# Okabe and Ito's palette, distinguishable with any colour vision (https://jfly.uni-koeln.de/color).
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
INK, MUTED, RULE = "#1b1b1b", "#767676", "#dcdcdc"
WIDTH = 7.2
"""Width of a figure in inches: the text of a page."""
Look = dict[str, Any]
"""How something is drawn: keywords of matplotlib."""
HOLLOW: Look = {"markerfacecolor": "none", "linewidth": 0.8}
"""How a printed number looks, beside the filled marker of a measured one."""
SEED: Look = {"linewidth": 0.6, "alpha": 0.6}
"""How one of two seeds looks, beside their mean."""

REGIONS = {
    1: "Region 1: ratio above 1",
    2: "Region 2: ratio 0 to 1",
    3: "Region 3: ratio below −1",
    4: "Region 4: ratio −1 to 0",
}

_RHO_RAMP = ("plasma", 0.22, 0.8)
"""A colour map and the part of it that stands out from light and from dark."""
_RHO_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Drawn:
    """A drawn figure, the numbers in it, and what it shows in sentences."""

    figure: Figure
    data: pd.DataFrame
    caption: str

    def svg(self) -> bytes:
        """The figure as SVG, its caption in the metadata; the same data give the same bytes."""
        metadata = {"Date": None, "Creator": None, "Description": self.caption}
        return self._render("svg", metadata)

    def pdf(self) -> bytes:
        """The figure as PDF for a paper: vectors, with its fonts."""
        metadata = {"CreationDate": None, "Creator": None, "Producer": None}
        return self._render("pdf", metadata)

    def png(self) -> bytes:
        """The figure as PNG on white."""
        return self._render("png", {"Software": None}, facecolor="white")

    def _render(self, kind: str, metadata: dict, **options: Any) -> bytes:
        buffer = io.BytesIO()
        with styled():
            self.figure.savefig(buffer, format=kind, metadata=metadata, **options)
        return buffer.getvalue()


def styled() -> AbstractContextManager:
    """Matplotlib's defaults with ``style.mplstyle`` on top, whatever the user has set."""
    style = Path(__file__).with_name("style.mplstyle")
    return matplotlib.style.context(str(style), after_reset=True)


def shades(count: int) -> list[str]:
    """From dark, of the least, to light: as many colours that are told apart without hue too."""
    return [to_hex(colormaps["viridis"](i / max(count - 1, 1))) for i in range(count)]


def rho_styles(rhos: Iterable[float]) -> dict[float, Look]:
    """Colour and marker of each rho: a ramp, from dark and cold (small) to light and warm."""
    known = sorted(set(rhos))
    name, first, last = _RHO_RAMP
    colours = matplotlib.colormaps[name](np.linspace(first, last, len(known)))
    return {
        rho: {"color": to_hex(colour), "marker": _RHO_MARKERS[i % len(_RHO_MARKERS)]}
        for i, (rho, colour) in enumerate(zip(known, colours, strict=True))
    }


def empty(message: str) -> Figure:
    """A figure that only says why it is empty."""
    figure = Figure(figsize=(WIDTH, 1.2))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    return figure


def unplanned(what: str, data: pd.DataFrame) -> Drawn:
    """Of a figure that the profile makes nothing of; ``what`` there is not, in words."""
    return Drawn(empty(what), data, NOT_PLANNED)


def unrun(data: pd.DataFrame) -> Drawn:
    """Of a figure of which nothing is run."""
    return Drawn(empty("not run"), data, NOT_RUN)


def missing(names: Iterable[str]) -> str:
    """Of a caption, what is not run and so has no panel, row or line; "" for nothing."""
    told = "; ".join(dict.fromkeys(names))
    return f"Not run: {told}. " if told else ""


def ends(
    frame: pd.DataFrame, logs: bool = False, within: tuple[float, float] = (0.0, 100.0)
) -> tuple[pd.Series, pd.Series]:
    """What is drawn below and above a mean: its interval within 0 and 100 %, or two seeds.

    The t-interval of two seeds is 12.7 standard errors wide on either side, and the seeds lie one
    from their mean.

    Args:
        frame: columns ``mean``, ``low``, ``high``, ``n``.
        logs: they are of logarithms, and no percentages.
        within: the least and the most that can be, where they are no percentages.
    """
    mean, low, high = (frame[k].astype(float) for k in ("mean", "low", "high"))
    low, high = low.fillna(mean), high.fillna(mean)
    power = np.where(frame["n"] == 2, 1 / stats.quantile(1), 1.0)
    if logs:
        return mean * (low / mean) ** power, mean * (high / mean) ** power
    low, high = mean + power * (low - mean), mean + power * (high - mean)
    return low.clip(*within), high.clip(*within)


def band(
    axes: Axes, frame: pd.DataFrame, x: str, strength: float = 1.0, logs: bool = False,
    within: tuple[float, float] = (0.0, 100.0), **look: Any,
) -> None:  # fmt: skip
    """A line of means with the band of their intervals or, of two seeds, both thin: `ends`."""
    at, mean = frame[x].astype(float), frame["mean"].astype(float)
    low, high = ends(frame, logs, within)
    two = frame["n"] == 2
    axes.plot(at, mean, **look)
    axes.fill_between(at, low, high, where=~two, color=look["color"], alpha=0.18 * strength,
                      linewidth=0)  # fmt: skip
    # A band has no width, and a line no length, at a point whose neighbours are missing.
    alone = mean.notna() & mean.shift().isna() & mean.shift(-1).isna()
    for seed in (low, high):
        seed = seed[two & ((seed > 0) | (axes.get_yscale() == "linear"))]
        axes.plot(at[seed.index], seed, color=look["color"], **SEED)
        seed = seed[alone[seed.index]]
        axes.plot(at[seed.index], seed, ".", color=look["color"], markersize=3)
    alone &= ~two
    axes.vlines(at[alone], low[alone], high[alone], color=look["color"], alpha=0.4, linewidth=2)


def limits(axes: Sequence[Axes], values: Iterable[float]) -> float:
    """The same y range for some panels: all these values, but for collapses far below the rest.

    Returns:
        the value below which points lie off the panels, minus infinity where all are on.
    """
    known = np.array([v for v in values if np.isfinite(v)])
    if not known.size:
        for panel in axes:
            panel.set_yticks([])
        return -np.inf
    low, tenth, high = known.min(), np.quantile(known, 0.1), known.max()
    # Without this, one collapsed cell squeezes all other differences into a line.
    cut = low < tenth - 1.5 * (high - tenth)
    floor = tenth - 0.4 * (high - tenth) if cut else low
    margin = 0.08 * (high - floor) or 1.0
    ends = floor - margin, high + margin
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
    for panel in axes:
        panel.set_yticks(ticks)
        panel.set_ylim(*ends)
    return ends[0] if cut else -np.inf


def below(axes: Axes, x: pd.Series, y: pd.Series, floor: float, colour: str) -> None:
    """Where a line leaves the panel below, write its lowest value at the foot."""
    if y.min() < floor:
        at = x[y.idxmin()]
        side = "left" if at == x.min() else "right"
        axes.annotate(f"{y.min():.0f}↓", (at, 0.02), xycoords=("data", "axes fraction"), ha=side,
                      color=colour, fontsize=7)  # fmt: skip


def decades(axis: Axis) -> None:
    """Label powers of ten, and where there is room the 2 and the 5 between them, or all."""
    axis.axes.set(**{"xscale" if axis is axis.axes.xaxis else "yscale": "log"})

    def between(value: float, _: int) -> str:
        low, high = sorted(axis.get_view_interval())
        room = low > 0 and high < 1000 * low
        few = room and high < 5 * low  # where the 2 and the 5 would be one label, or none
        return f"{value:g}" if few or (room and f"{value:e}"[0] in "25") else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(between))
    axis.set_tick_params(which="minor", labelsize=7.5, width=0.4)


def coordinates(axes: Axes) -> None:
    """A few ticks on both axes of a plane, as many as there is room for."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5 if axes.bbox.width > 200 else 3))


def panels(
    size: tuple[float, float],
    columns: int,
    heights: Sequence[tuple[float, float]],
    left: float,
    gap: float,
    right: float = 0.08,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with panels at exact places, all measures in inches.

    Args:
        size: width and height of the figure.
        columns: panels in a row.
        heights: top edge, measured from the figure's top, and height of every row.
        left: margin for the labels of the first column.
        gap: between columns.
        right: margin beside the last column.
    """
    width, height = size
    figure = Figure(figsize=size)
    wide = (width - left - right - gap * (columns - 1)) / columns
    rows = [
        [
            figure.add_axes(
                (
                    (left + i * (wide + gap)) / width,
                    1 - (top + tall) / height,
                    wide / width,
                    tall / height,
                )
            )
            for i in range(columns)
        ]
        for top, tall in heights
    ]
    return figure, rows


def unit(metric: str) -> str:
    """What follows a metric's name on an axis: ``, %``, or nothing."""
    return ", %" if METRICS[metric].unit == "points" else ""


def points(metric: str) -> str:
    """What follows the name of a metric's difference on an axis: ``, in points``, or nothing."""
    return ", in points" if METRICS[metric].unit == "points" else ""


def paired_panels(
    count: int, columns: int = 4, gap: float = 0.16, unit: str = ", %"
) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Small multiples below a line for the legend: each a measured panel above a reported one.

    Args:
        count: pairs of panels.
        columns: pairs in a row.
        gap: between columns, in inches.
        unit: of what is shown, see `unit`.

    Returns:
        the figure and ``count`` pairs (measured, reported).
    """
    blocks = -(-count // columns)
    head, block = 0.36, 2.72
    heights = [(head + block * i + at, tall) for i in range(blocks)
               for at, tall in ((0.22, 1.25), (1.57, 0.7))]  # fmt: skip
    figure, grid = panels((WIDTH, head + block * blocks), columns, heights, 0.55, gap)
    pairs = [(grid[2 * (i // columns)][i % columns], grid[2 * (i // columns) + 1][i % columns])
             for i in range(blocks * columns)]  # fmt: skip
    for i, (upper, lower) in enumerate(pairs):
        upper.tick_params(labelbottom=False, labelleft=i % columns == 0)
        if i % columns == 0:
            upper.set_ylabel(f"measured{unit}")
            lower.set_ylabel(f"reported{unit}")
        if i >= count:
            figure.delaxes(upper)
            figure.delaxes(lower)
    return figure, pairs[:count]


def legend(figure: Figure, looks: dict[str, Look], columns: int = 6) -> None:
    """A legend along the top: a label and the look of its line."""
    handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    figure.legend(handles=handles, loc="upper left", ncols=columns, borderaxespad=0.3)


def seeds(counts: Iterable[int]) -> str:
    """In words, how many seeds are behind a figure's points."""
    known = sorted({int(n) for n in counts if n > 0})
    if not known:
        return "no seeds yet"
    span = f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return f"{span} seed{'' if known == [1] else 's'}"


def means(counts: Iterable[int]) -> str:
    """The same with what `band` draws of them."""
    if any(0 < n < 3 for n in counts):
        thin = "or, below three seeds, each seed (thin lines join the lower and the higher)"
        return f"mean over {seeds(counts)} with the 95 % t-interval {thin}"
    return f"mean and 95 % t-interval over {seeds(counts)}"
