"""``rank``: of region 1, so many percent have a gradient among the n1 largest of all.

n1 is the number of parameters in region 1; see `samscope.observe.ratios.magnitude_ranks`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Bounded, Gradient

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Bounded):
    """What such a claim says; without bounds, that it is more than the share of region 1.

    That share is what chance would give.

    Attributes:
        of: g, the gradient, or h, the perturbed one.
    """

    of: Gradient


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The percentage, mean over training, against its bounds or less chance, at each rho."""
    parts = []
    for rho in claim.rhos:
        above, chance = (
            records.history(claim.variant, rho, column, "mean")
            for column in (f"above_{claim.of}", "members")
        )
        parts.append(records.against(claim, rho, above, chance))
    return parts
