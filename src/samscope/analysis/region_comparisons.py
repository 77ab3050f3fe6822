"""Comparisons of what is gathered of the ratio: persistence, bins, correlation, control, settings.

Like those of `samscope.analysis.comparisons`, each makes the list of `Comparison` of a claim. Where
chance alone would give something, the effect is what is measured less that.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from samscope.analysis import gathered, results
from samscope.analysis.comparisons import Comparison, Records, against, compared, over_epochs
from samscope.analysis.stats import LEVEL, mean_interval, paired_interval


def persistence(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """Members of a region at the end of epoch 1, after a lag: less chance, or against bounds."""
    parts = []
    for rho in claim["rhos"]:
        frame = gathered.read(records.plan, _cell(records, claim, rho), "persistence")
        frame = frame[(frame.region == claim["region"]) & frame.reference.notna()]
        frame = frame[frame.reference == frame.reference.min()]
        lag = frame.lag.max() if claim["lag"] == "last" else claim["lag"]
        frame = frame[frame.lag == lag].set_index("seed")
        found, chance = frame[claim["statistic"]], frame[f"{claim['statistic']}_chance"]
        parts.append(against(records, claim, rho, found, chance))
    return parts


def bin_largest(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """A bin's share minus that of each of the others, paired over seeds, at each rho."""
    parts = []
    for rho in claim["rhos"]:
        frame = over_epochs(_shares(records, claim, rho), claim["when"])
        for other in [b for b in claim["among"] if b != claim["bin"]]:
            shown = paired_interval(frame[claim["bin"]], frame[other])
            wanted = [(claim["variant"], rho)]
            parts.append(
                compared(records, f"rho {rho:g}, {other}", shown, "points", [shown], wanted)
            )
    return parts


def bin_trend(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """Late minus early share of each of some bins, paired over seeds, at each rho."""
    parts = []
    for rho in claim["rhos"]:
        frame = _shares(records, claim, rho)
        early, late = (over_epochs(frame, claim[when]) for when in ("from", "to"))
        for name in claim["bins"]:
            shown = paired_interval(late[name], early[name])
            falls = claim["direction"] == "falls"
            margin = paired_interval(early[name], late[name]) if falls else shown
            wanted = [(claim["variant"], rho)]
            parts.append(
                compared(records, f"rho {rho:g}, {name}", shown, "points", [margin], wanted)
            )
    return parts


def correlation(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """Correlation of a region's share, mean over training, with test accuracy.

    ``across``: over the rhos, within each seed, then the mean over seeds. ``within``: over seeds,
    with Fisher's interval. Of the seeds that have every rho.
    """
    frame = share_and_accuracy(records, claim["region"], claim["variant"], claim["rhos"])
    wanted = [(claim["variant"], rho) for rho in claim["rhos"]]
    names = "rho " + ", ".join(f"{rho:g}" for rho in claim["rhos"])
    absent = [(variant, rho) for variant, rho in wanted if rho not in set(frame.rho)]
    if absent:
        return [Comparison(f"rho {at[1]:g}", reason=records.why_missing(at)) for at in absent]
    n = _whole(frame).seed.nunique()
    if not n:
        return [Comparison(names, reason=records.why_missing(*wanted))]
    if claim["over"] == "across":
        shown = mean_interval(across(frame))
        part = compared(records, names, shown, "correlation", [shown], wanted)
        # A t-interval knows nothing of where correlations end.
        return [replace(part, low=max(part.low, -1.0), high=min(part.high, 1.0))]
    value, low, high, p = within(frame)
    why = "fewer than four seeds" if n < FISHER else "the same in all seeds"
    reason = f"{why}, no interval" if math.isnan(p) else ""
    return [Comparison(names, value, low, high, "correlation", n, value > 0, p, value, reason)]


def share_and_accuracy(
    records: Records, region: int, variant: str, rhos: list[float]
) -> pd.DataFrame:
    """Columns rho, seed, share (mean over training, percent) and accuracy, a row a run."""
    frames = []
    for rho in rhos:
        share = records.history(variant, rho, f"region{region}", "mean")
        accuracy = records.values(variant, rho, "test_acc_percent")
        frame = pd.DataFrame({"share": share, "accuracy": accuracy}).dropna()
        frames.append(frame.rename_axis("seed").reset_index().assign(rho=rho))
    return pd.concat(frames, ignore_index=True)


FISHER = 4
"""Seeds that Fisher's interval takes at least."""

LARGEST = 1 - 1e-12
"""Correlation of which Fisher's z is finite."""


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of the seeds that have every rho of the frame."""
    return frame[frame.groupby("seed").rho.transform("size") == frame.rho.nunique()]


def across(frame: pd.DataFrame) -> pd.Series:
    """Correlation over the rhos, by seed; of seeds that have them all."""
    seeds = _whole(frame).groupby("seed")
    return pd.Series({seed: _correlated(g.share, g.accuracy) for seed, g in seeds}, dtype=float)


def _correlated(x: pd.Series, y: pd.Series) -> float:
    """Pearson's correlation, NaN where one of them does not vary."""
    if not (mean_interval(x).error > 0 and mean_interval(y).error > 0):
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum()) / math.sqrt(float((x * x).sum() * (y * y).sum()))


def within(frame: pd.DataFrame) -> tuple[float, float, float, float]:
    """Correlation over seeds, its 95 % interval by Fisher's z, and the p-value of none.

    A seed counts once, with its means over the rhos: its runs share initial weights and the order
    of the data. Seeds that lack a rho are left out, so that what a rho does is the same for all.
    """
    seeds = _whole(frame).groupby("seed")[["share", "accuracy"]].mean()
    value = _correlated(seeds.share, seeds.accuracy)
    if len(seeds) < FISHER or math.isnan(value):
        return value, math.nan, math.nan, math.nan
    z, error = math.atanh(max(-LARGEST, min(LARGEST, value))), 1 / math.sqrt(len(seeds) - 3)
    half = stats.norm.ppf((1 + LEVEL) / 2) * error
    return value, math.tanh(z - half), math.tanh(z + half), 2 * float(stats.norm.sf(abs(z) / error))


def explained(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """What a control has of the advantage of ``a`` over ``b``, less the claimed ``share`` of it.

    Decided where there is an advantage to have a share of: where it is significant itself.
    """
    parts = []
    for rho in claim["rhos"]:
        values = [records.values(claim[name], rho, claim["metric"]) for name in _EXPLAINED]
        control, a, b = pd.concat(values, axis=1, join="inner", keys=_EXPLAINED).to_numpy().T
        advantage = mean_interval(a - b)
        shown = mean_interval(control - b - claim["share"] * (a - b))
        wanted = [(claim[name], rho) for name in _EXPLAINED]
        part = compared(records, f"rho {rho:g}", shown, "points", [shown], wanted)
        p = np.maximum(part.p, advantage.p if advantage.mean > 0 else 1.0)
        parts.append(replace(part, p=float(p)))
    return parts


_EXPLAINED = ("control", "a", "b")


def settings(records: Records, claim: dict[str, Any]) -> list[Comparison]:
    """A variant with other settings (``a``) and with its own or others (``b``), paired."""
    a, b = (_setting(records, claim["variant"], claim[name]) for name in ("a", "b"))
    at = f"{claim['a']} and {claim['b'] or 'the protocol'}"
    if a is None or b is None:
        return [Comparison(at)]
    left, right = (_value(records, cell, claim["metric"]) for cell in (a, b))
    ratio = claim["metric"] == "grad_norm"
    if ratio:
        left, right = np.log(left), np.log(right)
    shown, other = paired_interval(left, right), paired_interval(right, left)
    if not shown.n:
        return [Comparison(at, reason="no result yet")]
    margin = other if claim["direction"] == "a_below_b" else shown
    return [compared(records, at, shown, "ratio" if ratio else "points", [margin], [])]


def _setting(records: Records, variant: str, settings: str) -> str | None:
    """The planned cell of a variant in a row with these settings, as a table prints them."""
    for table in records.plan.papers[records.paper].tables.values():
        for row in table.rows:
            if (row.variant, row.settings) == (variant, settings) and row.cell:
                return row.cell
    return None


def _value(records: Records, cell: str, metric: str) -> pd.Series:
    """By seed: a metric at the best-validation epoch, or a column of the history, its mean."""
    if metric in results.METRICS:
        frame = results.metrics(records.plan, [cell])
        frame = frame[(frame.metric == metric) & (frame.selection == "best_val")]
        return frame.set_index("seed").value
    return results.histories(records.plan, [cell]).groupby("seed")[metric].mean()


def _cell(records: Records, claim: dict[str, Any], rho: float) -> list[str]:
    cell = records.cell(claim["variant"], rho)
    return [cell] if cell else []


def _shares(records: Records, claim: dict[str, Any], rho: float) -> pd.DataFrame:
    frame = gathered.read(records.plan, _cell(records, claim, rho), "ratios")
    return gathered.total(frame)
