"""``share``: a region has at least, or at most, so many percent of all parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.config.claims import Bounded, Region, When
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Bounded):
    """What such a claim says.

    Attributes:
        region: of the ratio.
        when: in training.

    Raises:
        InputError: without a bound.
    """

    region: Region
    when: When

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.of_level:
            raise InputError("claim", "at_least", "(missing)", "a bound, here or in at_most")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """The region's share against its bounds, at each rho."""
    column = f"region{claim.region}"
    return [
        records.against(claim, rho, records.history(claim.variant, rho, column, claim.when))
        for rho in claim.rhos
    ]
