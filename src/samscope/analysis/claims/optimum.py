"""``optimum``: the best rho of one network is larger than that of another, or smaller."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, Leaves, MetricName, Rhos, Side, Variant

if TYPE_CHECKING:
    import pandas as pd

    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: by which a rho is best.
        variant: whose rho.
        a: leaves of one network, as the paper has them.
        a_rhos: that it was trained at.
        b: leaves of the other.
        b_rhos: likewise.
        direction: which of the two has the larger.
    """

    metric: MetricName
    variant: Variant
    a: Leaves
    a_rhos: Rhos
    b: Leaves
    b_rhos: Rhos
    direction: Side


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The ratio of the best rhos, seed by seed; of the seeds that have all rhos of both."""
    import numpy as np

    from samscope.analysis.comparisons import told, why_missing
    from samscope.analysis.effects import difference

    sides = (claim.a, claim.a_rhos), (claim.b, claim.b_rhos)
    cells = [
        {rho: records.cell(claim.variant, rho, leaves) for rho in rhos} for leaves, rhos in sides
    ]
    left, right = (np.log(_best(claim.metric, of, records)) for of in cells)
    at, missing = (
        f"{told(claim.a)} and {told(claim.b)}",
        why_missing(cell for of in cells for cell in of.values()),
    )
    return [difference(at, left, right, "ratio", missing, claim.direction)]


def _best(metric: str, cells: "dict[float, str | None]", records: "Records") -> "pd.Series":
    """The rho of the best value by seed, the smallest of equals."""
    import pandas as pd

    from samscope.metrics import METRICS

    values = {rho: records.of(cell, metric) for rho, cell in sorted(cells.items())}
    frame = pd.DataFrame(values).dropna()
    if frame.empty:
        return pd.Series(dtype=float)
    return (frame * (METRICS[metric].better or 1)).idxmax(axis=1).astype(float)
