"""``largest``: of some variants, one has the most of a metric, at every rho."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Claim, MetricName, Rhos, Variant, Variants
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: that is compared.
        variant: with the most of it.
        among: it and its rivals.
        rhos: at each of which they are compared.

    Raises:
        InputError: where the variant is not among them.
    """

    metric: MetricName
    variant: Variant
    among: Variants
    rhos: Rhos

    def __post_init__(self) -> None:
        if self.variant not in self.among:
            allowed = f"a list with {self.variant} in it"
            raise InputError("claim", "among", list(self.among), allowed)


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The variant minus each of its rivals, paired over seeds, at each rho."""
    rivals = [variant for variant in claim.among if variant != claim.variant]
    return [
        records.pair(claim.metric, claim.variant, rival, rho, rival=rival)
        for rho in claim.rhos
        for rival in rivals
    ]
