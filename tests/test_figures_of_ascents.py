"""Figures of the family of ascents: error against rho, its reduction by SAM, both orders."""

import json
import math
from dataclasses import replace

import pytest

from samscope.analysis import figures
from samscope.analysis.stats import mean_interval
from samscope.errors import InputError
from samscope.plan.load import load_plan
from small_study import KEYS, STUDY, edited, record, record_all, write_study

HEADER = "model,data,method,rho,m,order,column,metric,reported,uncertainty,excluded,note\n"
ROWS = [
    "RN18,CIFAR-100,SGD,,,,SGD,test_error_percent,20,,,",
    "RN18,CIFAR-100,SAM,0.1,,,SAM,test_error_percent,15,,,",
    "RN18,CIFAR-100,SAM,0.1,4,,m = 4,test_error_percent,,,,",
    "RN18,CIFAR-100,SAM,0.2,4,,m = 4,test_error_percent,,,,",
    "RN18,CIFAR-100,SAM,0.1,16,,m = 16,test_error_percent,,,,",
    "RN18,CIFAR-100,SAM,0.1,,first,first,test_error_percent,,,,",
    "RN18,CIFAR-100,SAM,0.1,,second,second,test_error_percent,,,,",
]
FIGURES = [
    {"draw": "over_rho", "name": "by_m", "arguments": {"by": "m"}},
    {"draw": "error_reduction"},
    {"draw": "orders"},
    {"draw": "leads", "arguments": {"rho": 0.1, "pairs": {"one": ["sam", "sgd"]}}},
]
SGD, SAM = "cnn3-digits/sgd/base", "cnn3-digits/sam/rho=0.1"
FOUR = "cnn3-digits/sam/rho=0.1,micro_batch=4"


def study(root, figures=FIGURES):
    folder = write_study(root, tables={}, stages={}, protocol={"epochs": 3, "batch_size": 32,
                         "drop_last": True, "augment": "none", "val_size": 100})  # fmt: skip
    (folder / "reported/T1.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    (folder / "reported/S1.csv").unlink()
    keys = KEYS | {
        "method": {"SGD": {"variant": "sgd"}, "SAM": {"variant": "sam"}},
        "m": {"": {}, "4": {"micro_batch": 4}, "16": {"micro_batch": 16}},
        "order": {
            "": {},
            "first": {"second_order": "observed"},
            "second": {"second_order": "kept"},
        },
    }
    tables = {"T1": {"title": "One", "question": "Is it?"}}
    edited(folder / "paper.yaml", keys=keys, figures=figures, tables=tables)
    return load_plan({"profile": "tiny", "papers": [STUDY]}, root)


def test_a_line_a_value_of_the_column_and_what_is_not_run(tmp_path):
    plan = study(tmp_path)
    record(plan, FOUR, [80.0, 82.0, 84.0])
    drawn = figures.draw(plan, STUDY, "by_m")
    found = drawn.data.set_index(["line", "rho"])
    assert set(found.index) == {("4", 0.1), ("4", 0.2), ("16", 0.1)}
    expected = mean_interval([20.0, 18.0, 16.0])
    at = found.loc["4", 0.1]
    assert (at["mean"], at.low, at.high, at.n) == pytest.approx(
        (18.0, expected.low, expected.high, 3)
    )
    assert found.n.sum() == 3
    assert math.isnan(found.loc["16", 0.1]["mean"])


def test_a_column_that_no_table_has_is_refused(tmp_path):
    plan = study(tmp_path, [{"draw": "over_rho", "arguments": {"by": "mm"}}])
    with pytest.raises(InputError, match="by: mm is not allowed"):
        figures.draw(plan, STUDY, "over_rho")
    # A configuration of some tables may be without the one that has the column.
    some = replace(plan, config=replace(plan.config, tables=("T1",)))
    assert figures.draw(some, STUDY, "over_rho").caption == "Not planned."


def test_a_reduction_is_a_part_of_the_error_without_sam(tmp_path):
    plan = study(tmp_path)
    record(plan, SGD, [60.0, 60.0, 60.0])
    record(plan, SAM, [70.0, 72.0, 68.0])
    (line,) = figures.draw(plan, STUDY, "error_reduction").data.itertuples()
    assert (line.table, line.line) == ("T1", "T1: RN18")
    # 20 to 15 is a quarter, 40 to 30 as well
    assert (line.printed, line.measured) == pytest.approx((25.0, 25.0))


def test_both_orders_over_training_with_the_cosine_of_their_updates(tmp_path):
    plan = study(tmp_path)
    cell = "cnn3-digits/sam/rho=0.1,second_order=observed"
    record(plan, cell, [80.0, 82.0, 84.0])
    path = plan.run_dir(cell) / "history.csv"
    lines = ["seed,epoch,train_loss,val_acc_percent,second_order_cosine"]
    lines += [f"{s},{e},{2 / e + s},{10 * e},{1 - 0.1 * e - 0.01 * s}" for s in range(3)
              for e in (1, 2, 3)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    drawn = figures.draw(plan, STUDY, "orders")
    own = drawn.data.set_index(["quantity", "epoch"])
    assert set(own.order) == {"first order"}
    assert own.loc[("second_order_cosine", 3), "mean"] == pytest.approx(0.69)
    assert own.loc[("held_out", 2), "mean"] == 20
    assert own.loc[("train_loss", 1), "mean"] == pytest.approx(3)
    assert "first order 0.690" in drawn.caption


def courses(plan, cell, *accuracies):
    """Records of a cell, of each seed the held-out accuracy by epoch."""
    record(plan, cell, [80.0] * len(accuracies))
    lines = ["seed,epoch,train_loss,val_loss,val_acc_percent"]
    lines += [f"{seed},{epoch},1,{1 - value / 100},{value}" for seed, of in enumerate(accuracies)
              for epoch, value in enumerate(of, 1)]  # fmt: skip
    (plan.run_dir(cell) / "history.csv").write_text("\n".join(lines) + "\n")


def test_a_lead_is_paired_over_seeds_epoch_by_epoch(tmp_path):
    plan = study(tmp_path)
    courses(plan, SGD, [50, 60, 70], [40, 60, 60], [50, 50, 50])
    courses(plan, SAM, [50, 62, 75], [41, 63, 66], [52, 54, 57])
    drawn = figures.draw(plan, STUDY, "leads")
    found = drawn.data.set_index(["quantity", "epoch"])
    for epoch, gaps in {1: [0.0, 1.0, 2.0], 2: [2.0, 3.0, 4.0], 3: [5.0, 6.0, 7.0]}.items():
        expected, at = mean_interval(gaps), found.loc["acc_percent", epoch]
        ends = at["mean"], at.low, at.high, at.n
        assert ends == pytest.approx((expected.mean, expected.low, expected.high, 3))
        assert found.loc["loss", epoch]["mean"] == pytest.approx(-expected.mean / 100)
    zero = [line for axes in drawn.figure.axes for line in axes.get_lines()
            if list(line.get_ydata()) == [0, 0]]  # fmt: skip
    assert len(zero) == 2


def test_a_pair_that_is_none_is_refused_in_one_line(tmp_path):
    entry = {"draw": "leads", "arguments": {"pairs": {"one": ["sam", "adamm"]}}}
    plan = study(tmp_path, [entry])
    with pytest.raises(InputError, match=r"leads: pairs: \['sam', 'adamm'\] is not allowed"):
        figures.draw(plan, STUDY, "leads")


def test_bounds_are_of_the_weights_and_the_samples_of_a_run(tmp_path):
    folder = write_study(tmp_path)
    entry = {"draw": "bounds", "arguments": {"samples": 1000}}
    edited(folder / "paper.yaml", figures=[entry])
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record_all(plan)
    for path in (plan.results / "runs").rglob("curvature.json"):
        held = json.loads(path.read_text())
        for run in held["runs"]:
            for spectrum in run["spectra"]:
                spectrum["norm"] = 3.0
        path.write_text(json.dumps(held))
    drawn = figures.draw(plan, STUDY, "bounds")
    data = drawn.data
    assert set(data.method) == {"SGD", "SAM, rho 0.1"}
    assert set(zip(data.samples, data.parameters, data.radius, strict=True)) == {(1000, 100, 0.1)}
    # sigma = 0.1 / (10 + sqrt log 1000) = 0.1 / 12.628260; KL = 4.5 / sigma^2 = 71762.3
    slack = math.sqrt((4.5 * 126.28260**2 + math.log(20000)) / 1998)
    assert data["slack, McAllester"].tolist() == pytest.approx([slack] * len(data), rel=1e-5)
    inside = 100 * math.log1p((30 * 1.2628260) ** 2) + 4 * math.log(20000) + 8 * math.log(6300)
    slack = math.sqrt(inside / 999)
    assert data["slack, Foret et al."].tolist() == pytest.approx([slack] * len(data), rel=1e-5)
    rises = data["its largest within the radius"] - data["training loss"]
    assert (rises > 0).all()
    assert f"bounds nothing, in 0 of {len(data)} runs" in drawn.caption
