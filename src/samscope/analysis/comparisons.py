"""The comparisons that claims are made of: two variants at a rho, a share against a level."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import results, scope, spectra
from samscope.analysis.spectra import QUANTITIES
from samscope.analysis.stats import Interval, mean_interval, paired_interval
from samscope.plan.papers import Plan
from samscope.spec import Cell

UNITS = {"test_acc_percent": "points", "test_loss": ""}


@dataclass(frozen=True)
class Comparison:
    """One test over seeds.

    Attributes:
        at: what is compared where, such as ``rho 0.2``.
        effect: in ``unit``, with its 95 % t-interval ``low`` to ``high``.
        low: lower bound, NaN where there is no interval.
        high: upper bound, likewise.
        unit: ``points``, ``%``, ``ratio``, ``correlation``, or "" for a loss.
        n: number of seeds; 0: not run.
        claimed: whether the effect lies on the claimed side.
        p: two-sided p-value, of the side it lies on; NaN where there is no interval.
        rank: the lower, the less it supports the claim (a t statistic).
        reason: why it is not run, or has no interval.
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
        (printed, model), (on, data) = (next(iter(meta[k].items())) for k in ("models", "data"))
        self._printed = printed, on
        place = paper, scale["models"].get(model, model), scale["data"].get(data, data)
        self._cells = {
            (_variant(p.cell), p.cell.rho): cell
            for cell, p in plan.cells.items()
            if (p.cell.paper, p.cell.model, p.cell.data) == place and not p.cell.varied
        }

    @cached_property
    def unlike(self) -> str:
        """Why its levels are not compared with printed ones, see `samscope.analysis.scope`."""
        tables = self.plan.papers[self.paper].tables.values()
        rows = [row for table in tables for row in table.rows]
        row = next((row for row in rows if (row.model, row.data) == self._printed), None)
        return scope.unlike(self.plan, self.paper, row) if row else ""

    def cell(self, variant: str, rho: float) -> str | None:
        """Id of the cell of a variant at a rho, None where it is not planned.

        A factor follows the variant's name, as in ``sameckpt3 condition=0.1``.
        """
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

    def history(self, variant: str, rho: float, column: str, when: str) -> pd.Series:
        """A column of the history by seed, of the epochs that have it; empty if not run."""
        frame = self._histories[self._histories.cell == self.cell(variant, rho)]
        frame = frame[["seed", "epoch", column]].astype({"epoch": float, column: float})
        return over_epochs(frame.dropna(), when)[column]

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


def _variant(cell: Cell) -> str:
    """The name of a cell's variant in a claim."""
    factor = "" if cell.condition is None else f" condition={cell.condition:g}"
    return cell.variant + factor


def over_epochs(frame: pd.DataFrame, when: str) -> pd.DataFrame:
    """By seed: means over the epochs of a frame that are meant, ``when`` as in claims.yaml."""
    epochs = frame.groupby("seed").epoch
    first, last = epochs.transform("min"), epochs.transform("max")
    meant = {
        "mean": frame.epoch >= first,
        "first_epoch": frame.epoch == first,
        "last_epoch": frame.epoch == last,
        "first_half": 2 * frame.epoch <= last,
        "second_half": 2 * frame.epoch > last,
    }
    return frame[meant[when]].groupby("seed").mean(numeric_only=True)


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
    return [
        against(records, claim, rho, _history(records, claim, rho, claim["when"]))
        for rho in claim["rhos"]
    ]


def rank(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """Members of region 1 above the threshold of Project 1, mean over epochs: less chance."""
    parts = []
    for rho in claim["rhos"]:
        above = _history(records, claim, rho, "mean")
        chance = records.history(claim["variant"], rho, "members", "mean")
        parts.append(against(records, claim, rho, above, chance))
    return parts


def trend(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """Of a region's share, or of Project 1's percentage: late minus early, paired, at each rho.

    That it does not fall is tested as that it falls by less than the claim's ``margin``: of no
    change at all, a test could never tell that it is none.
    """
    parts = []
    for rho in claim["rhos"]:
        early, late = (_history(records, claim, rho, claim[when]) for when in ("from", "to"))
        falls = claim["direction"] == "falls"
        gain = (early, late) if falls else (late + claim.get("margin", 0), early)
        wanted = [(claim["variant"], rho)]
        shown, margin = paired_interval(late, early), paired_interval(*gain)
        parts.append(compared(records, f"rho {rho:g}", shown, "points", [margin], wanted))
    return parts


def _history(records: Records, claim: dict[str, Any], rho: float, when: str) -> pd.Series:
    """The column of the history that a claim is of."""
    column = f"region{claim['region']}" if "region" in claim else f"above_{claim['of']}"
    return records.history(claim["variant"], rho, column, when)


def against(
    records: Records,
    claim: dict[str, Any],
    rho: float,
    found: pd.Series,
    chance: pd.Series | None = None,
) -> Comparison:
    """What is found against the claim's bounds, or above chance where it has none."""
    low, high = claim.get("at_least"), claim.get("at_most")
    wanted = [(claim["variant"], rho)]
    if low is None and high is None:
        shown = paired_interval(found, chance)
        return compared(records, f"rho {rho:g}", shown, "points", [shown], wanted)
    margins = [] if low is None else [mean_interval(found - low)]
    margins += [] if high is None else [mean_interval(high - found)]
    return compared(records, f"rho {rho:g}", mean_interval(found), "%", margins, wanted)


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
    reason = _why_no_interval(shown) if math.isnan(p) else ""
    return Comparison(at, *ends, unit, shown.n, claimed, p, rank, reason)


def _why_no_interval(shown: Interval) -> str:
    if math.isnan(shown.mean):
        return "a value that is not finite"
    return f"{'one seed' if shown.n == 1 else 'the same in all seeds'}, no interval"
