"""Claims on metrics: alike within a margin, where a best rho lies, two that go together."""

import math

import pandas as pd
import pytest

from samscope import InputError
from samscope.analysis import claims, verdicts
from samscope.analysis.claims import lead as lead_claim
from samscope.analysis.claims import optimum
from samscope.analysis.claims.similar import Fields as Similar
from samscope.analysis.stats import mean_interval
from small_study import OWN, REAL, RUNS, record, record_all, study

ABOUT = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
SIMILAR = {"kind": "similar", "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1]}
OPTIMUM = {
    "kind": "optimum", "metric": "test_acc_percent", "variant": "sam", "rhos": [0.1, 0.2],
    "a": {}, "b": {"epochs": 400}, "direction": "a_above_b",
}  # fmt: skip
RELATION = {
    "kind": "relation", "x": "test_loss", "y": "test_acc_percent",
    "variants": ["sgd", "sam", "ckpt1"],
    "rhos": [0.1, 0.2], "direction": "falls",
}  # fmt: skip


def verdict(root, fields, records=()):
    plan = study(root, [ABOUT | fields])
    record_all(plan)
    for cell, *values in records:
        record(plan, f"{RUNS}/{cell}", *values)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def alike(root, accuracies):
    """Of the paper's own network: a stand-in decides no level, and a margin is one."""
    plan = study(root, [ABOUT | SIMILAR | {"margin": 1.0}], **OWN)
    record(plan, f"{REAL}/sgd/base", [70.0, 71.0, 72.0])
    record(plan, f"{REAL}/sam/rho=0.1", accuracies)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def test_a_stand_in_decides_no_margin(tmp_path):
    line = verdict(tmp_path, {**SIMILAR, "margin": 1.0}, [("sam/rho=0.1", [70.3, 70.9, 72.2])])
    assert line.verdict == "not comparable"


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([70.3, 70.9, 72.2], "supported"),
        ([73.0, 74.1, 75.2], "contradicted"),
        ([68.0, 68.8, 69.9], "contradicted"),
        ([67.0, 71.0, 75.0], "inconclusive"),
    ],
)
def test_alike_is_less_than_the_margin_on_both_sides(tmp_path, accuracies, expected):
    line = alike(tmp_path, accuracies)
    assert line.verdict == expected
    differences = [a - b for a, b in zip(accuracies, (70, 71, 72), strict=True)]
    assert line.effect == pytest.approx(sum(differences) / 3)


def test_the_p_value_is_of_the_side_that_is_less_sure(tmp_path):
    line = alike(tmp_path, [70.5, 71.3, 72.7])
    above, below = mean_interval([1.5, 1.3, 1.7]), mean_interval([0.5, 0.7, 0.3])
    assert line.p == pytest.approx(max(above.p, below.p)) == pytest.approx(below.p)


def test_the_same_in_all_seeds_is_alike(tmp_path):
    line = alike(tmp_path, [70.0, 71.0, 72.0])
    assert (line.verdict, line.p) == ("supported", 0.0)


def test_a_margin_is_no_factor():
    with pytest.raises(InputError, match="lambda_max is not allowed"):
        Similar(**ABOUT | SIMILAR | {"metric": "lambda_max", "margin": 1.0})


class Two:
    """Records of two networks: by leaves and rho, a metric by seed."""

    def __init__(self, values):
        self.values = values

    def cell(self, variant, rho, settings):
        return (settings["model"], rho)

    def of(self, cell, metric):
        found = self.values[cell]
        return pd.Series(found, dtype=float, name=metric)


def best(values, metric="test_acc_percent"):
    sides = {"a": {"model": "cnn3"}, "b": {"model": "cnn5"}}
    (part,) = optimum.compare(
        optimum.Fields(**ABOUT | OPTIMUM | sides | {"metric": metric}), Two(values)
    )
    return part


def test_the_best_rho_of_each_network_and_seed_is_compared():
    cnn3 = {("cnn3", 0.1): [80, 82, 84], ("cnn3", 0.2): [81, 81, 90]}  # best: 0.2, 0.1, 0.2
    cnn5 = {("cnn5", 0.1): [9, 9, 9], ("cnn5", 0.2): [8, 8, 9]}  # 0.1 in all, once as an equal
    part = best(cnn3 | cnn5)
    assert (part.n, part.unit) == (3, "ratio")
    assert part.effect == pytest.approx(2 ** (2 / 3))
    assert part.claimed
    # A loss is the better, the lower it is: 0.1, 0.2, 0.1 against 0.2, 0.2, 0.1.
    assert best(cnn3 | cnn5, "test_loss").effect == pytest.approx((1 / 2 * 1 * 1) ** (1 / 3))


def test_what_diverged_is_the_worst_and_a_missing_seed_counts_for_neither():
    cnn3 = {("cnn3", 0.1): [80, 80, 80], ("cnn3", 0.2): [81, math.nan, math.nan]}
    cnn5 = {("cnn5", 0.1): [9, 9], ("cnn5", 0.2): [8, 8]}
    part = best(cnn3 | cnn5)
    assert part.n == 2
    assert part.effect == pytest.approx(2**0.5)


LEAD = {"kind": "lead", "metric": "held_out_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1],
        "when": "second_half", "direction": "a_above_b"}  # fmt: skip


def lead(root, fields):
    """SAM is ahead by 1, 2 and 6 points in three epochs, a third of a point more in each seed."""
    plan = study(root, [ABOUT | LEAD | fields])
    record_all(plan)
    for cell, ahead in (("sgd/base", (0, 0, 0)), ("sam/rho=0.1", (1, 2, 6))):
        path = plan.run_dir(f"{RUNS}/{cell}") / "history.csv"
        frame = pd.read_csv(path)
        more = frame.seed / 3 if any(ahead) else 0.0
        frame["val_acc_percent"] = 50.0 + frame.epoch.map(dict(enumerate(ahead, 1))) + more
        frame.to_csv(path, index=False)
    return verdicts.evaluate(plan, "geometry_sam").iloc[0]


def test_a_lead_is_of_a_part_of_training(tmp_path):
    line, expected = lead(tmp_path, {}), mean_interval([4, 4 + 1 / 3, 4 + 2 / 3])
    assert (line.effect, line.ci_low) == pytest.approx((expected.mean, expected.low))
    assert (line.verdict, line.unit, line.n) == ("supported", "points", 3)


def test_a_lead_grows_where_that_of_another_part_is_smaller(tmp_path):
    line = lead(tmp_path, {"over": "first_half", "direction": "a_below_b"})
    # epochs 2 and 3 less epoch 1, the same in all seeds
    assert line.effect == pytest.approx(3)
    assert "the same in all seeds" in line.reason


def test_a_part_is_not_compared_with_itself():
    with pytest.raises(InputError, match="over: second_half is not allowed"):
        lead_claim.Fields(**ABOUT | LEAD | {"over": "second_half"})


def test_one_rho_has_no_best():
    with pytest.raises(InputError, match="two different ones or more"):
        optimum.Fields(**ABOUT | OPTIMUM | {"rhos": [0.1, 0.1]})


def test_sides_that_no_row_has_are_refused(tmp_path):
    plan = study(tmp_path, [ABOUT | OPTIMUM | {"b": {"model": "resnet19"}}])
    with pytest.raises(
        InputError, match=r"C1 b: where\.model: resnet19 is not allowed; allowed: resnet18"
    ):
        claims.check(plan)


def test_two_metrics_over_cells_within_each_seed(tmp_path):
    # Losses fall where accuracies rise, but for two neighbours in seed 1.
    records = [
        ("sgd/base", [70.0, 70.0, 70.0], [0.9, 0.9, 0.9]),
        ("ckpt1/rho=0.1", [71.0, 71.0, 71.0], [0.8, 0.7, 0.8]),
        ("ckpt1/rho=0.2", [72.0, 72.0, 72.0], [0.7, 0.8, 0.7]),
        ("sam/rho=0.1", [73.0, 73.0, 73.0], [0.6, 0.6, 0.6]),
        ("sam/rho=0.2", [74.0, 74.0, 74.0], [0.5, 0.5, 0.5]),
    ]
    line = verdict(tmp_path, RELATION, records)
    assert (line["at"], line.n, line.unit) == ("5 cells", 3, "correlation")
    # Spearman's rho with two of five neighbours exchanged: 1 - 6 * 2 / (5 * 24) = 0.9
    assert line.effect == pytest.approx(-(1 + 0.9 + 1) / 3)
    assert line.ci_low == -1.0
    assert line.verdict == "supported"
    assert verdict(tmp_path, {**RELATION, "direction": "rises"}, records).verdict == "contradicted"


def test_too_few_cells_correlate_with_nothing(tmp_path):
    line = verdict(tmp_path, {**RELATION, "variants": ["sgd", "sam"]})
    assert line.verdict == "not run"
    assert "4 cells" in line.reason
    assert math.isnan(line.effect)
