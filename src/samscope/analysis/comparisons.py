"""The comparisons that claims are made of: two variants at a rho, a share against a level."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import results, spectra
from samscope.analysis.spectra import QUANTITIES
from samscope.analysis.stats import Interval, mean_interval, paired_interval
from samscope.papers import Plan

UNITS = {"test_acc_percent": "points", "test_loss": ""}


@dataclass(frozen=True)
class Comparison:
    """One test over seeds.

    Attributes:
        at: what is compared where, such as ``rho 0.2``.
        effect: in ``unit``, with its 95 % t-interval ``low`` to ``high``.
        low: lower bound, NaN for one seed.
        high: upper bound, NaN for one seed.
        unit: ``points``, ``%``, ``ratio``, or "" for a loss.
        n: number of seeds; 0: not run.
        claimed: whether the effect lies on the claimed side.
        p: two-sided p-value, of the side it lies on.
        rank: the lower, the less it supports the claim (a t statistic).
        reason: why it is not run.
    """

    at: str
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    n: int = 0
    claimed: bool = False
    p: float = math.nan
    rank: float = math.nan
    reason: str = "not planned"


class Records:
    """The records of a paper's first model and data, read once."""

    def __init__(self, plan: Plan, paper: str) -> None:
        self.plan, self.paper = plan, paper
        meta, scale = plan.papers[paper].meta, plan.scale["papers"][paper]
        model, data = next(iter(meta["models"].values())), next(iter(meta["data"].values()))
        place = paper, scale["models"].get(model, model), scale["data"].get(data, data)
        self._cells = {
            (p.cell.variant, p.cell.rho): cell
            for cell, p in plan.cells.items()
            if (p.cell.paper, p.cell.model, p.cell.data) == place
            and p.cell.condition is None
            and not p.cell.varied
        }

    def cell(self, variant: str, rho: float) -> str | None:
        """Id of the cell of a variant at a rho, None where it is not planned."""
        return self._cells.get((variant, None if variant == "sgd" else float(rho)))

    def values(self, variant: str, rho: float, metric: str) -> pd.Series:
        """A metric at the best-validation epoch by seed; empty if not run.

        Or one of `samscope.analysis.spectra.QUANTITIES` at the last epoch.
        """
        cell = self.cell(variant, rho)
        if metric in QUANTITIES:
            return self._spectra[self._spectra.cell == cell].set_index("seed")[metric]
        frame = self._metrics
        return frame[(frame.cell == cell) & (frame.metric == metric)].set_index("seed").value

    def shares(self, variant: str, rho: float, region: int, when: str) -> pd.Series:
        """Share of a region in percent by seed, ``when`` as in claims.yaml; empty if not run."""
        frame = self._histories[self._histories.cell == self.cell(variant, rho)]
        if when == "mean":
            return frame.groupby("seed")[f"region{region}"].mean()
        epochs = frame.groupby("seed").epoch
        edge = epochs.transform("min" if when == "first_epoch" else "max")
        return frame[frame.epoch == edge].set_index("seed")[f"region{region}"]

    def why_missing(self, *wanted: tuple[str, float]) -> str:
        """Why there is no result for the first of these variants at a rho that has none."""
        return "not planned" if None in (self.cell(*w) for w in wanted) else "no result yet"

    @cached_property
    def _metrics(self) -> pd.DataFrame:
        frame = results.metrics(self.plan, self._cells.values())
        return frame[frame.selection == "best_val"]

    @cached_property
    def _spectra(self) -> pd.DataFrame:
        frame = spectra.measured(self.plan, self._cells.values())
        return frame[frame["last"].astype(bool)]

    @cached_property
    def _histories(self) -> pd.DataFrame:
        return results.histories(self.plan, self._cells.values())


def greater(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """``a`` minus ``b``, paired over seeds, at each rho; a ratio where runs differ by factors."""
    return [
        _pair(records, claim["metric"], claim["a"], claim["b"], rho, claim["direction"])
        for rho in claim["rhos"]
    ]


def largest(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """The variant minus each of its rivals, paired over seeds, at each rho."""
    rivals = [v for v in claim["among"] if v != claim["variant"]]
    return [
        _pair(records, claim["metric"], claim["variant"], rival, rho, "a_above_b", rival)
        for rho in claim["rhos"]
        for rival in rivals
    ]


def share(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """A region's share against its bounds, at each rho."""
    low, high = claim.get("at_least", -math.inf), claim.get("at_most", math.inf)
    parts = []
    for rho in claim["rhos"]:
        values = records.shares(claim["variant"], rho, claim["region"], claim["when"])
        shown = mean_interval(values)
        margins = [mean_interval(values - low)] if low > -math.inf else []
        margins += [mean_interval(high - values)] if high < math.inf else []
        parts.append(
            compared(records, f"rho {rho:g}", shown, "%", margins, [(claim["variant"], rho)])
        )
    return parts


def share_trend(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """A region's late minus its early share, paired over seeds, at each rho."""
    parts = []
    for rho in claim["rhos"]:
        early, late = (
            records.shares(claim["variant"], rho, claim["region"], claim[when])
            for when in ("from", "to")
        )
        shown = paired_interval(late, early)
        margin = paired_interval(early, late) if claim["direction"] == "falls" else shown
        wanted = [(claim["variant"], rho)]
        parts.append(compared(records, f"rho {rho:g}", shown, "points", [margin], wanted))
    return parts


def _pair(
    records: Records, metric: str, a: str, b: str, rho: float, direction: str, rival: str = ""
) -> Comparison:
    left, right = (records.values(v, rho, metric) for v in (a, b))
    factors = metric in QUANTITIES and QUANTITIES[metric].factors
    if factors:
        left, right = (np.log(s.where(s > 0)) for s in (left, right))
    shown, other = paired_interval(left, right), paired_interval(right, left)
    margin = other if direction == "a_below_b" else shown
    at = f"rho {rho:g}" + (f", {rival}" if rival else "")
    unit = "ratio" if factors else UNITS.get(metric, "")
    return compared(records, at, shown, unit, [margin], [(a, rho), (b, rho)])


def compared(
    records: Records,
    at: str,
    shown: Interval,
    unit: str,
    margins: list[Interval],
    wanted: list[tuple[str, float]],
) -> Comparison:
    """Supported if all margins are above 0: the side and p-value of the one that is least so."""
    if not shown.n:
        return Comparison(at, unit=unit, reason=records.why_missing(*wanted))
    ends = shown.mean, shown.low, shown.high
    if unit == "ratio":
        ends = tuple(map(math.exp, ends))
    least = min(margins, key=lambda m: m.mean)
    claimed = least.mean > 0
    p = max(m.p for m in margins) if claimed else least.p
    rank = least.mean if math.isnan(least.t) else least.t
    return Comparison(at, *ends, unit, shown.n, claimed, p, rank, "")
