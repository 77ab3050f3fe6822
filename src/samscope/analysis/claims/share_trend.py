"""``share_trend``: the share of a region rises in training, falls, or does not fall."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from samscope.config.claims import Region, Trend
from samscope.config.typed import between
from samscope.errors import InputError

if TYPE_CHECKING:
    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison

_MARGIN = "a number of points, with does_not_fall alone"


@dataclass(frozen=True, kw_only=True)
class Fields(Trend):
    """What such a claim says.

    Attributes:
        region: of the ratio.
        direction: of the change; ``does_not_fall``: it falls by less than the margin.
        margin: in points.

    Raises:
        InputError: for a margin without ``does_not_fall``, or the other way round.
    """

    region: Region
    direction: Literal["rises", "falls", "does_not_fall"]
    margin: Annotated[float, between(0, 100, _MARGIN)] | None = None

    def __post_init__(self) -> None:
        if (self.direction == "does_not_fall") != (self.margin is not None):
            found = "(missing)" if self.margin is None else f"{self.margin:g}"
            raise InputError("claim", "margin", found, _MARGIN)


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """Late minus early share, paired over seeds, at each rho."""
    column = f"region{claim.region}"
    parts = []
    for rho in claim.rhos:
        share = partial(records.history, claim.variant, rho, column)
        parts.append(records.trend(claim, rho, share, margin=claim.margin or 0.0))
    return parts
