"""Claims of what is gathered of the ratio, on records whose numbers can be followed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from samscope import InputError
from samscope.analysis import claims, gathered
from samscope.analysis.region_comparisons import across, within
from samscope.analysis.stats import mean_interval
from small_study import RUNS, record, record_all, study

WORDS = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
SAM = {"variant": "sam", "rhos": [0.1]}
PERSISTENCE = SAM | {"kind": "persistence", "statistic": "overlap", "region": 1, "lag": 1}
RANK = SAM | {"kind": "rank", "of": "g"}
BINS = SAM | {"kind": "bin_trend", "bins": ["1<r<1.2", "2<r<4"], "from": "first_epoch",
              "to": "last_epoch", "direction": "rises"}  # fmt: skip


def verdict(root, fields: dict) -> pd.Series:
    plan = study(root, [WORDS | fields])
    record_all(plan)
    return claims.evaluate(plan, "geometry_sam").iloc[0]


def test_all_kinds_together_weigh_by_their_parameters(tmp_path):
    plan = study(tmp_path)
    record_all(plan)
    frame = gathered.read(plan, [f"{RUNS}/sam/rho=0.1", f"{RUNS}/sgd/base"], "ratios")
    assert set(frame.cell) == {f"{RUNS}/sam/rho=0.1"}  # SGD has no ratio
    total = gathered.regions(gathered.total(frame))
    assert list(total.region1[:3]) == pytest.approx([60.0, 61.0, 62.0])
    assert list(total.region2[:3]) == pytest.approx([40.0, 39.0, 38.0])
    assert set(total.hh_region1) == {8}  # a sum over the kinds
    assert len(total) == 3 * 3


def test_a_cut_table_is_named(tmp_path):
    plan = study(tmp_path)
    record_all(plan)
    path = plan.run_dir(f"{RUNS}/sam/rho=0.1") / "seed=0/ratios.csv"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(InputError, match=r"seed=0/ratios.csv: file: "):
        gathered.read(plan, [f"{RUNS}/sam/rho=0.1"], "ratios")


@pytest.mark.parametrize(("lag", "above"), [(1, 3), (2, 2), ("last", 2)])
@pytest.mark.parametrize("statistic", ["overlap", "unbroken"])
def test_persistence_is_against_chance_from_the_first_reference(tmp_path, lag, above, statistic):
    line = verdict(tmp_path, PERSISTENCE | {"lag": lag, "statistic": statistic})
    expected = mean_interval([above, above + 1.0, above + 2.0])
    assert (line.effect, line.ci_low, line.n) == pytest.approx((above + 1, expected.low, 3))
    assert line.unit == "points"
    assert line.verdict == ("supported" if expected.p <= 0.05 else "inconclusive")


def test_a_level_of_persistence_is_not_for_a_stand_in(tmp_path):
    line = verdict(tmp_path, PERSISTENCE | {"at_least": 10, "at_most": 50})
    assert (line.verdict, line.reason) == ("inconclusive", claims.LEVEL_OF_A_STAND_IN)
    assert (line.effect, line.unit) == (64.0, "%")


def test_ranks_are_against_the_share_of_region_1(tmp_path):
    line = verdict(tmp_path, RANK)
    assert line.effect == pytest.approx(6.0)
    assert line.p_holm == pytest.approx(mean_interval([5.0, 6.0, 7.0]).p)
    assert verdict(tmp_path / "h", RANK | {"of": "h"}).effect == pytest.approx(29.0)


def test_bins_rise_and_fall_each(tmp_path):
    line = verdict(tmp_path, BINS)
    assert line.verdict == "supported"
    assert [part["effect"] for part in line.parts] == pytest.approx([1.8, 0.2])
    fell = verdict(tmp_path / "falls", BINS | {"direction": "falls"})
    assert fell.verdict == "contradicted"


def test_the_largest_bin_is_compared_with_each_other(tmp_path):
    among = ["1<r<1.2", "0.5<r<1", "2<r<4"]
    fields = SAM | {"kind": "bin_largest", "bin": among[0], "among": among, "when": "first_epoch"}
    line = verdict(tmp_path, fields)
    assert [part["effect"] for part in line.parts] == pytest.approx([54 - 40, 54 - 6])
    assert [part["at"] for part in line.parts] == ["rho 0.1, 0.5<r<1", "rho 0.1, 2<r<4"]


def test_a_control_that_explains_half(tmp_path):
    fields = {"kind": "explained", "metric": "test_acc_percent", "control": "ckpt1", "a": "sam",
              "b": "sgd", "rhos": [0.1], "share": 0.25}  # fmt: skip
    line = verdict(tmp_path, fields)
    # ckpt1 less SGD: 5, 5, 8; a quarter of SAM less SGD: 2.5, 2.75, 3.
    expected = mean_interval([2.5, 2.25, 5.0])
    assert (line.effect, line.ci_low) == pytest.approx((expected.mean, expected.low))


LARGEST = {"kind": "bin_largest", "bin": "1<r<1.2", "among": ["1<r<1.2", "2<r<4"],
           "when": "mean"} | SAM  # fmt: skip
CORRELATION = SAM | {"kind": "correlation", "region": 1, "over": "within"}
EXPLAINED = {"kind": "explained", "metric": "test_acc_percent", "control": "ckpt1", "a": "sam",
             "b": "sgd", "share": 0.5}  # fmt: skip


@pytest.mark.parametrize("fields", [PERSISTENCE, RANK, BINS, LARGEST, CORRELATION, EXPLAINED],
                         ids=lambda f: f["kind"])  # fmt: skip
def test_what_is_not_planned_or_has_no_record_is_not_run(tmp_path, fields):
    for rho, why in ((0.4, "not planned"), (0.1, "no result yet")):
        plan = study(tmp_path, [WORDS | fields | {"rhos": [rho]}])
        line = claims.evaluate(plan, "geometry_sam").iloc[0]
        assert line.verdict == "not run"
        assert why in line.reason


def test_settings_that_no_table_has_are_not_planned(tmp_path):
    fields = {"kind": "settings", "metric": "test_acc_percent", "variant": "sgd",
              "a": "batch_size=1024,lr=0.2", "b": "", "direction": "a_above_b"}  # fmt: skip
    line = verdict(tmp_path, fields)
    assert line.verdict == "not run"
    assert "not planned at batch_size=1024" in line.reason


def test_correlation_within_rhos_is_partial_correlation():
    random = np.random.default_rng(0)
    rho = np.repeat([0.1, 0.2, 0.4], 6)
    share = random.normal(size=18) - 20 * rho
    frame = pd.DataFrame({"rho": rho, "seed": list(range(6)) * 3, "share": share,
                          "accuracy": 0.5 * share + 40 * rho + random.normal(size=18)})  # fmt: skip
    value, low, high, p = within(frame)
    dummies = np.array([rho == r for r in (0.1, 0.2, 0.4)], float).T
    left, right = (
        v - dummies @ np.linalg.lstsq(dummies, v, rcond=None)[0]
        for v in (frame.share.to_numpy(), frame.accuracy.to_numpy())
    )
    assert value == pytest.approx(stats.pearsonr(left, right).statistic)
    half = stats.norm.ppf(0.975) / math.sqrt(18 - 2 - 3)  # Fisher's, two variables taken out
    assert (math.atanh(low), math.atanh(high)) == pytest.approx(
        (math.atanh(value) - half, math.atanh(value) + half)
    )
    assert p == pytest.approx(2 * stats.norm.sf(math.atanh(value) * math.sqrt(13)))
    seed = frame[frame.seed == 2]
    assert across(frame)[2] == pytest.approx(stats.pearsonr(seed.share, seed.accuracy).statistic)


def test_correlation_needs_every_rho(tmp_path):
    fields = {"kind": "correlation", "region": 1, "variant": "sam", "over": "across"}
    plan = study(tmp_path, [WORDS | fields | {"rhos": [0.1, 0.2, 0.4]}])
    record_all(plan)
    assert claims.evaluate(plan, "geometry_sam").iloc[0].verdict == "not run"
    again = study(tmp_path, [WORDS | fields | {"rhos": [0.1, 0.2]}])
    shares = [[60.0, 61.0, 62.0], [60.0, 62.0, 64.0], [61.0, 61.0, 61.0]]
    record(again, f"{RUNS}/sam/rho=0.2", [90.0, 70.0, 70.0], shares=shares[::-1])
    record(again, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0], shares=shares)
    line = claims.evaluate(again, "geometry_sam").iloc[0]
    # Two points a seed: equal shares at seeds 0 (61, 61) and 2 (61, 61) have none.
    assert math.isnan(line.effect)
    assert line.verdict == "inconclusive"
