"""``rank_trend``: the percentage that a claim of the kind ``rank`` is of rises or falls."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from samscope.config.claims import Gradient, Trend, Way

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Trend):
    """What such a claim says.

    Attributes:
        of: g, the gradient, or h, the perturbed one.
        direction: of the change.
    """

    of: Gradient
    direction: Way


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Late minus early percentage, paired over seeds, at each rho."""
    column = f"above_{claim.of}"
    return [
        records.trend(claim, rho, partial(records.history, claim.variant, rho, column))
        for rho in claim.rhos
    ]
