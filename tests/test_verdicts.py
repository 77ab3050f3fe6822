"""Verdicts by margins: what is too small to matter, what is fragile, what would decide."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from samscope.analysis import verdicts
from samscope.analysis.effects import near
from samscope.analysis.stats import Interval, mean_interval, seeds_to_equate, seeds_to_tell
from samscope.config.claims import NONE, Margins
from small_claims import GREATER, claim
from small_study import RUNS, record, record_all, study

SGD = [70.0, 71.0, 72.0]
MARGIN = {"margins": {"points": 1}}


def verdict(root, gains: dict[str, list[float]], **fields) -> pd.Series:
    """Of SAM's accuracy above SGD's, whose gains over it are given by rho."""
    plan = study(root, [claim(**GREATER | {"rhos": [float(rho) for rho in gains]} | fields)])
    record_all(plan)
    for rho, by_seed in gains.items():
        accuracies = [a + gain for a, gain in zip(SGD, by_seed, strict=True)]
        record(plan, f"{RUNS}/sam/rho={rho}", accuracies)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def test_the_effect_in_the_paper_s_own_numbers_stands_beside(tmp_path):
    """Of T1: SAM 78.84 and 79.55, SGD 77.36 at both; S1 prints no SGD; ckpt1 is excluded."""
    line = verdict(tmp_path / "a", {"0.1": [1.0, 2.0, 3.0], "0.2": [1.0, 2.0, 3.0]})
    assert [part["printed"] for part in line.parts] == [[1.48], [2.19]]
    excluded = verdict(tmp_path / "b", {"0.1": [1.0, 2.0, 3.0]}, a="ckpt1")
    assert [part["printed"] for part in excluded.parts] == [[]]
    loss = verdict(tmp_path / "c", {"0.1": [1.0, 2.0, 3.0]}, metric="test_loss")
    assert [part["printed"] for part in loss.parts] == [[]]


def test_what_is_smaller_than_matters_is_equivalent(tmp_path):
    gains = [0.3, -0.1, 0.2]
    line = verdict(tmp_path / "a", {"0.1": gains}, **MARGIN)
    assert line.verdict == "equivalent"
    sides = [
        scipy_stats.ttest_1samp(gains, -1, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(gains, 1, alternative="less").pvalue,
    ]
    assert line.p_within == pytest.approx(max(sides))
    undeclared = verdict(tmp_path / "b", {"0.1": gains})
    assert (undeclared.verdict, math.isnan(undeclared.p_within)) == ("inconclusive", True)
    wide = verdict(tmp_path / "c", {"0.1": [1.9, -1.4, 0.3]}, **MARGIN)
    assert wide.verdict == "inconclusive"


@pytest.mark.parametrize("side", [1, -1])
def test_significant_and_too_small_to_matter_is_equivalent(tmp_path, side):
    """Whichever side it is on; a claim of a margin's size is decided by the side."""
    line = verdict(tmp_path / "a", {"0.1": [side * g for g in (0.30, 0.32, 0.31)]}, **MARGIN)
    assert (line.verdict, line.p < 0.05) == ("equivalent", True)
    large = verdict(tmp_path / "b", {"0.1": [side * g for g in (1.30, 1.32, 1.31)]}, **MARGIN)
    assert large.verdict == ("supported" if side > 0 else "contradicted")


def test_all_must_be_too_small(tmp_path):
    small, large = [0.30, 0.32, 0.31], [2.0, 2.1, 2.2]
    assert verdict(tmp_path / "a", {"0.1": small, "0.2": small}, **MARGIN).verdict == "equivalent"
    assert verdict(tmp_path / "b", {"0.1": small, "0.2": large}, **MARGIN).verdict == "supported"
    other = {"0.1": [-g for g in small], "0.2": large}
    # Against the claim at one rho, but by too little to matter there.
    assert verdict(tmp_path / "c", other, **MARGIN).verdict == "inconclusive"


def test_the_same_in_all_seeds_is_within_the_margin(tmp_path):
    line = verdict(tmp_path, {"0.1": [0.0, 0.0, 0.0]}, **MARGIN)
    assert (line.verdict, line.p_within) == ("equivalent", 0.0)


def test_margins_of_ratios_and_losses():
    rng = np.random.default_rng(0)
    a, b = (pd.Series(rng.uniform(1.0, 1.2, 6)) for _ in "ab")
    low, high = near(a, b, "", Margins(loss=0.05))
    assert low.mean == pytest.approx((a - 0.95 * b).mean())
    assert high.mean == pytest.approx((1.05 * b - a).mean())
    low, high = near(np.log(a), np.log(b), "ratio", Margins(ratio=1.25))
    assert low.mean == pytest.approx(np.log(1.25 * a / b).mean())
    assert high.mean == pytest.approx(np.log(1.25 * b / a).mean())
    assert near(a, b, "correlation", Margins(1, 1.25, 0.05)) == []
    assert near(a, b, "points", NONE) == []
    assert near(a, -b, "", Margins(loss=0.05)) == []


@pytest.mark.parametrize(("d", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_to_tell_are_those_of_the_tables(d, n):
    """Of 80 % power in a two-sided paired t-test at 5 %, as G*Power and Cohen's tables have it."""
    assert seeds_to_tell(Interval(d, 1 / math.sqrt(5), 5)) == n
    assert seeds_to_tell(Interval(-d, 1 / math.sqrt(5), 5)) == n
    assert math.isinf(seeds_to_tell(Interval(0.0, 1.0, 5)))


def test_seeds_to_equate_have_the_power():
    rng = np.random.default_rng(1)
    mean, margin = 0.2, 1.0
    error = 1 / math.sqrt(5)
    n = seeds_to_equate(Interval(margin + mean, error, 5), Interval(margin - mean, error, 5))
    drawn = rng.normal(mean, 1, (4000, n))
    reach = scipy_stats.t.ppf(0.95, n - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(n)
    within = (abs(drawn.mean(axis=1)) + reach < margin).mean()
    assert within == pytest.approx(0.8, abs=0.05)
    assert math.isinf(seeds_to_equate(mean_interval([1.0, 2.0]), mean_interval([-1.0, -2.0])))


def test_an_open_claim_says_what_would_decide_it(tmp_path):
    told = {
        "support": {"0.1": [2.0, 8.0, 0.5]},
        "contradict": {"0.1": [-2.0, -8.0, -0.5]},
        "show no difference that matters": {"0.1": [1.9, -1.4, 0.3]},
        "effects as found decide it at no number": {"0.1": [2.0, 8.0, 0.5], "0.2": [-1, 0.5, -0.2]},
    }
    for number, (words, gains) in enumerate(told.items()):
        line = verdict(tmp_path / str(number), gains, **MARGIN)
        assert (line.verdict, words in line.reason) == ("inconclusive", True), line.reason


def test_a_fragile_verdict_says_so(tmp_path):
    firm = verdict(tmp_path / "a", {"0.1": [11.0, 11.01, 11.02]})
    assert (firm.verdict, firm.fragile) == ("supported", "")
    edge = verdict(tmp_path / "b", {"0.1": [1.0, 1.6, 1.9]})
    assert (edge.verdict, edge.fragile) == (
        "supported",
        "p 0.030, another without seed 0 or 1 or 2",
    )
    # Of two rhos, one hangs on its first seed.
    one = verdict(tmp_path / "c", {"0.1": [5.0, 5.0001, 9.0], "0.2": [9.0, 9.01, 9.02]})
    assert (one.verdict, one.fragile.startswith("p 0.0")) == ("supported", True)


def test_counts_are_of_what_the_paper_says(tmp_path):
    """Our own questions and the paper's open ones are counted apart."""
    from samscope.report import sections

    fields = GREATER | {"rhos": [0.1]}
    named = {"C1": {}, "C2": {"asks": "ours", "runs": "a"}, "C3": {"asks": "open", "runs": "a"}}
    plan = study(tmp_path, [claim(**fields | {"id": k} | more) for k, more in named.items()])
    record_all(plan)
    verdicts.write(plan, "geometry_sam")
    found = sections.verdicts(plan, plan.papers["geometry_sam"])
    assert found["counts"]["supported"] == 1
    assert found["apart"] == {"open": "1 supported", "ours": "1 supported"}
    assert found["runs"] == 2


def test_claims_on_the_same_runs_are_told(tmp_path):
    """Of two that a stand-in does not tell apart the second is not evidence of its own."""
    ids = ("C1", "C2", "C3", "C4")
    several = [claim(**GREATER | {"id": name, "rhos": [0.1]}) for name in ids]
    several[1] |= {"location": "another table"}
    several[2] |= {"rhos": [0.2]}
    several[3] |= {"rhos": [0.4]}  # not run
    plan = study(tmp_path, several)
    record_all(plan)
    for rho, gains in (("0.1", [1.0, 1.2, 1.1]), ("0.2", [2.0, 2.2, 2.5])):
        accuracies = [a + gain for a, gain in zip(SGD, gains, strict=True)]
        record(plan, f"{RUNS}/sam/rho={rho}", accuracies)
    found = verdicts.evaluate(plan, "geometry_sam")
    assert list(found.same_as) == ["", "C1", "", ""]
    assert list(found.verdict)[:2] == ["supported"] * 2
