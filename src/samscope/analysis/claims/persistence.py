"""``persistence``: of the members of a region at the end of epoch 1, so many percent stay."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from samscope.config.claims import Bounded, Region
from samscope.config.typed import among
from samscope.optim.bins import LAGS

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Bounded):
    """What such a claim says; without bounds, that more stay than by chance.

    Chance is that of independent steps of the same shares.

    Attributes:
        statistic: ``overlap``, those in the region after the lag, or ``unbroken``, those in it at
            every step since.
        region: of the ratio.
        lag: in steps, or ``last``, the run's last step.
    """

    statistic: Literal["overlap", "unbroken"]
    region: Region
    lag: Annotated[int | str, among((*LAGS, "last"))]


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Members after the lag, in percent of those at first: less chance, or against bounds."""
    parts = []
    for rho in claim.rhos:
        frame = records.gathered(claim.variant, rho, "persistence")
        frame = frame[(frame.region == claim.region) & frame.reference.notna()]
        frame = frame[frame.reference == frame.reference.min()]
        lag = frame.lag.max() if claim.lag == "last" else claim.lag
        frame = frame[frame.lag == lag].set_index("seed")
        found, chance = frame[claim.statistic], frame[f"{claim.statistic}_chance"]
        parts.append(records.against(claim, rho, found, chance))
    return parts
