"""``lead``: in a part of training a method leads another, or leads by more than in another."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from samscope.config.claims import Claim, Rhos, Side, Variant, When
from samscope.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from samscope.analysis.comparisons import Records
    from samscope.analysis.effects import Comparison


@dataclass(frozen=True, kw_only=True)
class Fields(Claim):
    """What such a claim says.

    Attributes:
        metric: of a row of the history. Held out are the validation samples; those of the test
            where there are none.
        a: a variant.
        b: another.
        rhos: at each of which they are compared.
        when: in training; the mean over these rows.
        over: in training: where there is one, the difference there is taken from that ``when``.
        direction: which of the two has more.

    Raises:
        InputError: where both parts of training are the same.
    """

    metric: Literal["held_out_acc_percent", "held_out_loss", "train_acc_percent", "train_loss"]
    a: Variant
    b: Variant
    rhos: Rhos
    when: When
    direction: Side
    over: When | None = None

    def __post_init__(self) -> None:
        if self.over == self.when:
            raise InputError("claim", "over", self.over, f"not {self.when}, which is compared")


def compare(claim: Fields, records: "Records") -> "list[Comparison]":
    """``a`` minus ``b``, paired over seeds, at each rho; less the same in another part."""
    from samscope.analysis.comparisons import at_rho
    from samscope.analysis.effects import difference

    unit, margins = "points" if claim.metric.endswith("percent") else "", records.margins
    if claim.over:
        # A part of a lead, which can be next to nothing, is no size that matters.
        margins = replace(margins, loss=None)

    def at(when: str, rho: float) -> "list[pd.Series]":
        return [records.history(v, rho, claim.metric, when) for v in (claim.a, claim.b)]

    parts = []
    for rho in claim.rhos:
        a, b = at(claim.when, rho)
        if claim.over:
            early = at(claim.over, rho)
            a, b = (a - b).dropna(), (early[0] - early[1]).dropna()
        missing = records.missing((claim.a, rho), (claim.b, rho))
        parts.append(difference(at_rho(rho), a, b, unit, missing, claim.direction, margins))
    return parts
