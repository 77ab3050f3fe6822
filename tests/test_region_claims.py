"""Claims of what is gathered of the ratio, on records whose numbers can be followed by hand."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from samscope import InputError
from samscope.analysis import gathered, verdicts
from samscope.analysis.correlations import across, within
from samscope.analysis.stats import mean_interval
from samscope.plan.load import load_plan
from small_study import HEADER, RUNS, record, record_all, study

WORDS = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
SAM = {"variant": "sam", "rhos": [0.1]}
PERSISTENCE = SAM | {"kind": "persistence", "statistic": "overlap", "region": 1, "lag": 1}
RANK = SAM | {"kind": "rank", "of": "g"}
BINS = SAM | {"kind": "bin_trend", "bins": ["1<r<1.2", "2<r<4"], "early": "first_epoch",
              "late": "last_epoch", "direction": "rises"}  # fmt: skip


def verdict(root, fields: dict) -> pd.Series:
    plan = study(root, [WORDS | fields])
    record_all(plan)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def edited(plan, cell: str, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table of a cell or of its runs."""
    for path in plan.run_dir(f"{RUNS}/{cell}").rglob(name):
        change(pd.read_csv(path)).to_csv(path, index=False)


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


def test_persistence_begins_at_the_first_reference(tmp_path):
    plan = study(tmp_path, [WORDS | PERSISTENCE])
    record_all(plan)
    low = lambda f: f.assign(overlap=f.overlap.where(f.reference == 4, 10.0 + f.seed))  # noqa: E731
    edited(plan, "sam/rho=0.1", "persistence.csv", low)
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    assert (line.verdict, line.effect) == ("supported", 4.0)


def test_a_level_of_persistence_is_not_for_a_stand_in(tmp_path):
    line = verdict(tmp_path, PERSISTENCE | {"at_least": 10, "at_most": 50})
    assert line.verdict == "not comparable"
    assert "stand-in" in line.reason
    assert (line.effect, line.unit) == (64.0, "%")


def test_ranks_are_against_the_share_of_region_1(tmp_path):
    line = verdict(tmp_path, RANK)
    assert line.effect == pytest.approx(6.0)
    assert line.p_holm == pytest.approx(mean_interval([5.0, 6.0, 7.0]).p)
    assert verdict(tmp_path / "h", RANK | {"of": "h"}).effect == pytest.approx(29.0)


SHARES = [[50.0, 55.0, 60.0], [51.0, 55.0, 62.0], [52.0, 55.0, 65.0]]


def with_shares(root, fields: dict) -> pd.Series:
    """The line of a claim of SAM at rho 0.1 with `SHARES` of region 1."""
    plan = study(root, [WORDS | fields])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0] * 3, shares=SHARES)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


@pytest.mark.parametrize(("way", "expected"), [("rises", "supported"), ("falls", "contradicted")])
def test_ranks_rise_and_fall(tmp_path, way, expected):
    trend = {"early": "first_half", "late": "second_half", "direction": way}
    line = with_shares(tmp_path, SAM | {"kind": "rank_trend", "of": "g"} | trend)
    # Of three epochs the first, and the mean of the others; epochs without ranks do not count.
    gap = mean_interval([7.5, 7.5, 8.0])
    assert line.verdict == expected
    assert (line.effect, line.p) == pytest.approx((gap.mean, gap.p))
    plan = study(tmp_path / "sparse", [WORDS | SAM | {"kind": "rank_trend", "of": "g"} | trend])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0] * 3, shares=SHARES)
    ranks = ["members", "threshold_g", "above_g", "threshold_h", "above_h"]
    sparse = lambda f: f.assign(**f[ranks].where(f.epoch != 2))  # noqa: E731
    edited(plan, "sam/rho=0.1", "history.csv", sparse)
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    assert line.effect == pytest.approx((10 + 11 + 13) / 3)


def test_bins_rise_and_fall_each(tmp_path):
    line = with_shares(tmp_path, BINS)
    assert line.verdict == "supported"
    assert [part["effect"] for part in line.parts] == pytest.approx([0.9 * 34 / 3, 0.1 * 34 / 3])
    fell = with_shares(tmp_path / "falls", BINS | {"direction": "falls"})
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


@pytest.mark.parametrize(
    ("sam", "control", "expected"),
    [
        # SGD has 70, 71, 72, 90. Half of an advantage of 10, 11, 12, all of it, and none.
        ([80.0, 82.0, 84.0], [79.0, 80.0, 83.0], "supported"),
        ([80.0, 82.0, 84.0], [70.2, 71.1, 72.0], "contradicted"),
        # No advantage to have a share of: SAM below SGD, or not surely above it.
        ([60.0, 61.5, 62.0], [75.0, 76.0, 77.5], "inconclusive"),
        ([71.0, 70.0, 74.0], [60.0, 61.5, 62.0], "inconclusive"),
    ],
)
def test_a_share_of_an_advantage_that_is_one(tmp_path, sam, control, expected):
    plan = study(tmp_path, [WORDS | EXPLAINED | {"rhos": [0.1]}], tables={"T1": {"seeds": 4}})
    record(plan, f"{RUNS}/sgd/base", [70.0, 71.0, 72.0, 90.0])
    record(plan, f"{RUNS}/sam/rho=0.1", sam)
    record(plan, f"{RUNS}/ckpt1/rho=0.1", control)
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    base = np.array([70.0, 71.0, 72.0])
    gap = mean_interval(np.array(control) - base - (np.array(sam) - base) / 2)
    assert line.verdict == expected
    # Of the seeds that all three have.
    assert (line.n, line.effect, line.ci_low) == pytest.approx((3, gap.mean, gap.low))
    assert gap.p < 0.05


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
        line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
        assert line.verdict == "not run"
        assert why in line.reason


def test_settings_that_no_table_has_are_not_planned(tmp_path):
    fields = {"kind": "settings", "metric": "test_acc_percent", "variant": "sgd",
              "a": {"batch_size": 1024, "lr": 0.2}, "b": {}, "direction": "a_above_b"}  # fmt: skip
    line = verdict(tmp_path, fields)
    assert line.verdict == "not run"
    assert "not planned at batch_size=1024" in line.reason


ROW = "RN18,CIFAR-100,{column},sgd,,,{metric},,,,,{batch_size},{lr}\n"


@pytest.mark.parametrize("direction", ["a_below_b", "a_above_b"])
@pytest.mark.parametrize("metric", ["grad_norm", "test_acc_percent"])
def test_settings_are_compared_by_seed(tmp_path, metric, direction):
    fields = {"kind": "settings", "metric": metric, "variant": "sgd", "direction": direction,
              "a": {"batch_size": 1024, "lr": 0.2}, "b": {}}  # fmt: skip
    folder = tmp_path / "workflow/papers/geometry_sam"
    study(tmp_path, [WORDS | fields])
    rows = [ROW.format(column=f"{size} {lr}", metric="test_acc_percent", batch_size=size, lr=lr)
            for size, lr in (("", ""), ("1024", "0.2"))]  # fmt: skip
    header = f"{HEADER.rstrip()},batch_size,lr\n"
    (folder / "reported/E4.csv").write_text(header + "".join(rows))
    meta = yaml.safe_load((folder / "paper.yaml").read_text())
    meta["tables"]["E4"] = {"title": "t", "question": "q"}
    (folder / "paper.yaml").write_text(yaml.safe_dump(meta))
    plan = load_plan({"profile": "tiny", "papers": ["geometry_sam"]}, tmp_path)
    runs = {
        "sgd/base": ([2.0, 4.0, 8.0], [70.0, 71.0, 72.0]),
        "sgd/batch_size=1024,lr=0.2": ([1.0, 2.0, 5.0], [64.0, 66.0, 65.0]),
    }
    for cell, (norms, accuracy) in runs.items():
        record(plan, f"{RUNS}/{cell}", accuracy)
        set_norms = lambda f, of=norms: f.assign(grad_norm=f.seed.map(of.__getitem__))  # noqa: E731
        edited(plan, cell, "history.csv", set_norms)
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    logs, points = mean_interval(np.log([0.5, 0.5, 0.625])), mean_interval([-6.0, -5.0, -7.0])
    gap = np.exp([logs.mean, logs.low]) if metric == "grad_norm" else [points.mean, points.low]
    assert line.verdict == ("supported" if direction == "a_below_b" else "contradicted")
    assert [line.effect, line.ci_low] == pytest.approx(list(gap))
    assert line.unit == ("ratio" if metric == "grad_norm" else "points")


def correlated(root, over: str, shares: list[list[float]], accuracy: list[list[float]]):
    """The line of a claim over rho 0.1, 0.2 and 0.4; lists by rho, then by seed.

    The share is the mean of three epochs of which the last goes the other way.
    """
    fields = CORRELATION | {"over": over, "rhos": [0.1, 0.2, 0.4]}
    plan = study(root, [WORDS | fields], tables={}, seeds=len(shares[0]))
    for rho, means, values in zip(fields["rhos"], shares, accuracy, strict=True):
        epochs = [[2.5 * mean - 80, mean, 80 - mean / 2] for mean in means]
        record(plan, f"{RUNS}/sam/rho={rho}", values, shares=epochs)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


BY_RHO = [[50.0, 51.0, 50.5], [60.0, 60.2, 61.0], [70.0, 70.5, 72.0]]


@pytest.mark.parametrize(("sign", "expected"), [(1, "supported"), (-1, "contradicted")])
def test_correlation_across_rhos_is_by_seed(tmp_path, sign, expected):
    accuracy = [[75 + sign * x for x in row] for row in ([-5, -5, -5], [1, -3, 4], [5, 5, 5])]
    line = correlated(tmp_path, "across", BY_RHO, accuracy)
    pairs = zip(np.transpose(BY_RHO), np.transpose(accuracy), strict=True)
    by_seed = [stats.pearsonr(*pair).statistic for pair in pairs]
    found = mean_interval(by_seed)
    assert (line.verdict, line.unit, line.n) == (expected, "correlation", 3)
    assert line.effect == pytest.approx(found.mean)
    # Student's interval ends where correlations do.
    assert max(abs(found.low), abs(found.high)) > 1
    assert [line.ci_low, line.ci_high] == pytest.approx(np.clip([found.low, found.high], -1, 1))


@pytest.mark.parametrize(("sign", "expected"), [(1, "supported"), (-1, "contradicted")])
def test_correlation_within_rhos_is_over_seeds(tmp_path, sign, expected):
    seeds = np.array([-2.0, -1.0, 0.5, 1.5, 3.0])
    noise = np.array([0.1, -0.1, 0.1, -0.2, 0.1])
    # What rho does, up to share and down to accuracy, is the same for all seeds.
    shares = [list(60.0 + up + seeds) for up in (0, 10, 20)]
    accuracy = [list(80.0 - up + sign * (seeds + noise)) for up in (0, 10, 20)]
    line = correlated(tmp_path, "within", shares, accuracy)
    r = stats.pearsonr(seeds, seeds + noise).statistic
    z, half = math.atanh(r), stats.norm.ppf(0.975) / math.sqrt(5 - 3)
    assert (line.verdict, line.n) == (expected, 5)
    assert line.effect == pytest.approx(sign * r)
    ends = sorted((sign * math.tanh(z - half), sign * math.tanh(z + half)))
    assert [line.ci_low, line.ci_high] == pytest.approx(ends)
    assert line.p == pytest.approx(2 * stats.norm.sf(z * math.sqrt(2)))


def test_runs_of_one_seed_are_no_more_than_one():
    """The same residuals at every rho: as much is known as of one rho alone."""
    random = np.random.default_rng(0)
    share, accuracy = random.normal(size=(2, 6))
    one = pd.DataFrame({"rho": 0.1, "seed": range(6), "share": share, "accuracy": accuracy})
    more = [one.assign(rho=r, share=share + 9 * r, accuracy=accuracy - r) for r in (0.2, 0.4)]
    found = within(pd.concat([one, *more], ignore_index=True))
    fisher = stats.pearsonr(share, accuracy)
    ends = fisher.confidence_interval(0.95)
    assert found[:3] == pytest.approx((fisher.statistic, ends.low, ends.high))
    assert found == pytest.approx(within(one))


def test_within_rhos_finds_nothing_where_there_is_nothing():
    """Share and accuracy with seed effects of their own look related in 5 % of the samples."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(400):
        share, accuracy = (random.normal(size=(5, 6)) + 2 * random.normal(size=6) for _ in "ab")
        rho, seed = np.divmod(np.arange(30), 6)
        frame = pd.DataFrame({"rho": rho, "seed": seed, "share": share.ravel(),
                              "accuracy": accuracy.ravel()})  # fmt: skip
        found.append(within(frame)[3] <= 0.05)
    assert np.mean(found) < 0.08


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_perfect_correlation_crashes_nothing(tmp_path, seeds):
    rising = [list(np.arange(seeds) + 60.0)] * 3
    line = correlated(tmp_path, "within", rising, rising)
    assert line.effect == pytest.approx(1.0)
    if seeds < 4:
        assert line.verdict == "inconclusive"
        assert line.reason.startswith("fewer than four seeds")
    else:
        assert line.ci_low < line.ci_high <= 1.0


def test_a_partly_filled_grid_crashes_nothing():
    runs = [(0.1, 0, 55.0, 70.0), (0.1, 1, 55.5, 71.0), (0.2, 0, 56.0, 72.0), (0.4, 0, 57.0, 73.0)]
    frame = pd.DataFrame(runs, columns=["rho", "seed", "share", "accuracy"])
    assert all(map(math.isnan, within(frame)))
    assert list(across(frame).index) == [0]


def test_correlation_needs_every_rho(tmp_path):
    fields = {"kind": "correlation", "region": 1, "variant": "sam", "over": "across"}
    plan = study(tmp_path, [WORDS | fields | {"rhos": [0.1, 0.2, 0.4]}])
    record_all(plan)
    assert verdicts.evaluate(plan, "geometry_sam").iloc[0].verdict == "not run"
    again = study(tmp_path, [WORDS | fields | {"rhos": [0.1, 0.2]}])
    shares = [[60.0, 61.0, 62.0], [60.0, 62.0, 64.0], [61.0, 61.0, 61.0]]
    record(again, f"{RUNS}/sam/rho=0.2", [90.0, 70.0, 70.0], shares=shares[::-1])
    record(again, f"{RUNS}/sam/rho=0.1", [80.0, 82.0, 84.0], shares=shares)
    line = verdicts.evaluate(again, "geometry_sam").iloc[0]
    # Two points a seed: equal shares at seeds 0 (61, 61) and 2 (61, 61) have none.
    assert math.isnan(line.effect)
    assert line.verdict == "inconclusive"
