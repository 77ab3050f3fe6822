"""``optimum``: the best rho of one network is larger than that of another, or smaller."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, Leaves, MetricName, Rhos, Side, Variant
from samscope.errors import InputError

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
        b: leaves of the other.
        rhos: two or more, at all of which both were trained: where grids differ, so do their best.
        direction: which of the two has the larger.

    Raises:
        InputError: for fewer than two rhos.
    """

    metric: MetricName
    variant: Variant
    a: Leaves
    b: Leaves
    rhos: Rhos
    direction: Side

    def __post_init__(self) -> None:
        if len(set(self.rhos)) < 2:
            raise InputError("claim", "rhos", list(self.rhos), "two different ones or more")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The ratio of the best rhos, seed by seed; of the seeds that have all rhos of both."""
    import numpy as np

    from samscope.analysis.comparisons import told, why_missing
    from samscope.analysis.effects import difference

    cells = [
        {rho: records.cell(claim.variant, rho, leaves) for rho in sorted(set(claim.rhos))}
        for leaves in (claim.a, claim.b)
    ]
    left, right = (np.log(_best(claim.metric, of, records)) for of in cells)
    at = f"{told(claim.a)} and {told(claim.b)}"
    missing = why_missing(cell for of in cells for cell in of.values())
    return [difference(at, left, right, "ratio", missing, claim.direction)]


def _best(metric: str, cells: "dict[float, str | None]", records: "Records") -> "pd.Series":
    """The rho of the best value by seed, the smallest of equals; what diverged is the worst."""
    import pandas as pd

    from samscope.metrics import METRICS

    values = {rho: records.of(cell, metric) for rho, cell in cells.items()}
    seeds = set.intersection(*(set(found.index) for found in values.values()))
    frame = pd.DataFrame(values).reindex(sorted(seeds))
    ranked = (frame * METRICS[metric].better).fillna(float("-inf"))
    return ranked.idxmax(axis=1).astype(float) if len(ranked) else pd.Series(dtype=float)
