"""``relation``: the larger one metric of a run, the larger another, or the smaller.

Or: more so than a third.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, MetricName, Rhos, Variants, Way

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

CELLS = 4
"""That a correlation over cells takes at least."""


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        x: a metric.
        y: another.
        variants: whose runs are taken.
        rhos: at which; a variant without an ascent counts once.
        direction: of y where x rises.
        than: a third metric, whose correlation with y is taken from that of x.
    """

    x: MetricName
    y: MetricName
    variants: Variants
    rhos: Rhos
    direction: Way
    than: MetricName | None = None


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Spearman's correlation over cells, within each seed; the mean over seeds.

    Of the cells that have both metrics, if there are `CELLS` of them, and of the seeds that have
    all of these, none of them diverged. Within a seed, runs share initial weights and the order of
    the data: what is left is what the variant and rho do.
    """
    import pandas as pd

    from samscope.analysis.correlations import correlated
    from samscope.analysis.effects import Comparison, by_seed, compared
    from samscope.analysis.stats import mean_interval

    asked = [records.cell(variant, rho) for variant in claim.variants for rho in claim.rhos]
    cells = {cell: None for cell in asked if cell}
    names = [claim.x, claim.y, *([claim.than] if claim.than else [])]
    told = {
        name: pd.DataFrame({cell: found for cell in cells if len(found := records.of(cell, name))})
        for name in names
    }
    both = [cell for cell in cells if all(cell in frame for frame in told.values())]
    at = f"{len(both)} cells"
    if len(both) < CELLS:
        return [Comparison(at, reason=f"{CELLS} cells with both at least")]
    joined = pd.concat({name: frame[both] for name, frame in told.items()}, axis=1).dropna()

    def correlation(name: str) -> pd.Series:
        pairs = ((seed, row[name].rank(), row[claim.y].rank()) for seed, row in joined.iterrows())
        return pd.Series({seed: correlated(x, y) for seed, x, y in pairs}, dtype=float)

    found, most = correlation(claim.x), 1.0
    if claim.than:
        found, most = found - correlation(claim.than), 2.0
    shown = mean_interval(found)
    gain = mean_interval(-found) if claim.direction == "falls" else shown
    missing = "no seed has all of them, or one diverged"
    part = compared(at, shown, "correlation", [gain], missing)
    # A t-interval knows nothing of where correlations end.
    low, high = max(part.low, -most), min(part.high, most)
    return [replace(part, low=low, high=high, pairs=by_seed(found))]
