"""``curvature``: a variant ends where the loss is more curved than with another, or less."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, Quantity, Rhos, Side, Variant

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: of the Hessian of the training loss at the last epoch.
        a: a variant.
        b: another.
        rhos: at each of which they are compared.
        direction: which of the two has more.
    """

    metric: Quantity
    a: Variant
    b: Variant
    rhos: Rhos
    direction: Side


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` over ``b``, paired over seeds, at each rho; minus where a quantity may be negative."""
    return [
        records.pair(claim.metric, claim.a, claim.b, rho, claim.direction) for rho in claim.rhos
    ]
