"""``bin_largest``: of some bins of the ratio, one holds the most parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Bin, Bins, Claim, Rhos, Variant, When
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        bin: with the most, one of `samscope.optim.bins.BINS`.
        among: it and the others.
        variant: whose ratio.
        rhos: at each of which they are compared.
        when: in training.

    Raises:
        InputError: where the bin is not among them.
    """

    bin: Bin
    among: Bins
    variant: Variant
    rhos: Rhos
    when: When

    def __post_init__(self) -> None:
        if self.bin not in self.among:
            raise InputError("claim", "among", list(self.among), f"a list with {self.bin} in it")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The bin's share minus that of each of the others, paired over seeds, at each rho."""
    from samscope.analysis.effects import difference

    parts = []
    for rho in claim.rhos:
        share = {name: records.share(claim.variant, rho, name, claim.when) for name in claim.among}
        one, missing = share.pop(claim.bin), records.missing((claim.variant, rho))
        parts += [
            difference(
                f"rho {rho:g}, {name}", one, other, "points", missing, margins=records.margins
            )
            for name, other in share.items()
        ]
    return parts
