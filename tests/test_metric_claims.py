"""Claims on metrics: alike within a margin, where a best rho lies, two that go together."""

import math

import pytest

from samscope import InputError
from samscope.analysis import verdicts
from samscope.analysis.claims.similar import Fields as Similar
from samscope.analysis.stats import mean_interval
from small_study import RUNS, record, record_all, study

ABOUT = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
SIMILAR = {"kind": "similar", "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1]}
OPTIMUM = {
    "kind": "optimum", "metric": "test_acc_percent", "variant": "sam", "a_rhos": [0.1, 0.2],
    "a": {}, "b": {}, "b_rhos": [0.1], "direction": "a_above_b",
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
    line = verdict(tmp_path, {**SIMILAR, "margin": 1.0}, [("sam/rho=0.1", accuracies)])
    assert line.verdict == expected
    differences = [a - b for a, b in zip(accuracies, (70, 71, 72), strict=True)]
    assert line.effect == pytest.approx(sum(differences) / 3)


def test_the_p_value_is_of_the_side_that_is_less_sure(tmp_path):
    line = verdict(tmp_path, {**SIMILAR, "margin": 1.0}, [("sam/rho=0.1", [70.5, 71.3, 72.7])])
    above, below = mean_interval([1.5, 1.3, 1.7]), mean_interval([0.5, 0.7, 0.3])
    assert line.p == pytest.approx(max(above.p, below.p)) == pytest.approx(below.p)


def test_a_margin_is_no_factor():
    with pytest.raises(InputError, match="lambda_max is not allowed"):
        Similar(**ABOUT | SIMILAR | {"metric": "lambda_max", "margin": 1.0})


def test_the_best_rho_of_each_seed_is_compared(tmp_path):
    at_02 = ("sam/rho=0.2", [81.0, 81.0, 90.0])  # best of seeds 0 and 2, where 0.1 has 80, 82, 84
    line = verdict(tmp_path, OPTIMUM, [at_02])
    # ratios 2, 1, 2 to the only rho of b
    assert (line.n, line.unit) == (3, "ratio")
    assert line.effect == pytest.approx(2 ** (2 / 3))
    assert line.verdict == "inconclusive"
    same = verdict(tmp_path, OPTIMUM, [("sam/rho=0.2", [81.0, 83.0, 90.0])])
    assert same.effect == pytest.approx(2.0)
    assert same.reason.startswith("the same in all seeds, no interval")


def test_a_rho_that_is_not_run_leaves_no_optimum(tmp_path):
    line = verdict(tmp_path, {**OPTIMUM, "a_rhos": [0.1, 0.4]})
    assert line.verdict == "not run"
    assert line.reason.startswith("not planned")


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
