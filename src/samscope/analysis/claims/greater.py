"""``greater``: a variant has more of a metric than another, or less, at every rho."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, MetricName, Rhos, Side, Variant

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: of training at the best-validation epoch, or of the Hessian at the last.
        a: a variant.
        b: another.
        rhos: at each of which they are compared.
        direction: which of the two has more.
    """

    metric: MetricName
    a: Variant
    b: Variant
    rhos: Rhos
    direction: Side


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` minus ``b``, paired over seeds, at each rho; a ratio where runs differ by factors."""
    return [
        records.pair(claim.metric, claim.a, claim.b, rho, claim.direction) for rho in claim.rhos
    ]
