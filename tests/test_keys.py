"""What tells rows apart, which cell stands for a number, and what is said of the setting."""

import pandas as pd
import pytest
import yaml

from samscope.analysis import choice, scope, tables
from samscope.analysis.keys import Keys
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from small_study import OWN, STUDY, record, write_study

HEADER = "network,set,method,column,rho,metric,reported,uncertainty,excluded,note\n"
NETWORKS = {"RN18 (200 epochs)": {"model": "resnet18", "epochs": 200},
            "RN18 (400 epochs)": {"model": "resnet18", "epochs": 400},
            "WRN": {"model": "wrn28_10", "epochs": 200}}  # fmt: skip
SETS = {"C10": {"data": "cifar10"}, "C100": {"data": "cifar100"}}
METHODS = {"SGD": {"variant": "sgd"}, "SAM": {"variant": "sam"},
           "best SGD": {"variant": "sgd", "choose": {"lr": [0.1, 0.2]}},
           "longer SGD": {"variant": "sgd", "choose": {"epochs": [200, 400]}}}  # fmt: skip


def paper(root, rows: str, header: str = HEADER, **scale: object) -> Plan:
    """The plan of a paper of one table, T1, with keys of its own."""
    folder = write_study(root, **OWN | scale)
    about = yaml.safe_load((folder / "paper.yaml").read_text())
    about |= {"keys": {"network": NETWORKS, "set": SETS, "method": METHODS}, "figures": []}
    about["tables"] = {"T1": about["tables"]["T1"]}
    (folder / "paper.yaml").write_text(yaml.safe_dump(about))
    (folder / "reported/T1.csv").write_text(header + rows)
    return load_plan({"profile": "tiny", "papers": [STUDY]}, root)


def heads(plan: Plan) -> tuple[tuple[str, ...], list[str]]:
    """The columns that tell the table's rows apart, and the rows' heads."""
    rows, keys = plan.papers[STUDY].tables["T1"].rows, Keys(plan.papers[STUDY])
    names = keys.apart(rows)
    return names, list(dict.fromkeys(keys.label(row, names) for row in rows))


def test_a_rho_that_goes_with_the_data_is_no_head_of_a_row(tmp_path):
    """SAM's rho was tuned for each set, and SGD has none: both stand in one line."""
    plan = paper(tmp_path, "".join(
        f"WRN,{data},{method},{method},{rho},test_error_percent,3.5,,,\n"
        for data, best in (("C10", 0.05), ("C100", 0.1))
        for method, rho in (("SGD", ""), ("SAM", best))
    ))  # fmt: skip
    assert heads(plan) == (("set",), ["C10", "C100"])
    for cell in plan.cells:
        record(plan, cell, [96.0, 97.0, 98.0] if "sgd" in cell else [97.0, 98.0, 99.0])
    frame = tables.build(plan, STUDY, "T1")
    assert list(frame.columns[:6]) == ["network", "set", "column", "method", "rho", "settings"]
    best = frame[frame.selection == "best_val"]
    assert list(best.measured) == pytest.approx([3.0, 2.0, 3.0, 2.0])
    assert list(best.difference.dropna()) == pytest.approx([-1.0, -1.0])
    assert list(best.against) == ["", "SGD", "", "SGD"]


def test_a_budget_to_choose_is_shown_though_its_model_has_one(tmp_path):
    plan = paper(tmp_path, "WRN,C10,longer SGD,SGD,,test_error_percent,3.5,,,\n")
    (row,) = plan.papers[STUDY].tables["T1"].rows
    assert row.varied == ("epochs",)
    assert [plan.specs[cell].cell.budget.epochs for cell in row.cells] == [200, 400]


def test_a_first_column_without_a_rho_stands_beside_all(tmp_path):
    """SGD is printed once, in a line of its own; SAM at each rho is compared with it."""
    rows = [f"WRN,C10,{name},{name},{rho},test_error_percent,3.5,,,\n"
            for name, rho in (("SGD", ""), ("SAM", 0.05), ("SAM", 0.1))]  # fmt: skip
    plan = paper(tmp_path, "".join(rows))
    assert heads(plan) == (("rho",), ["", "0.05", "0.1"])
    for cell in plan.cells:
        accuracy = {"sgd": 95.0, "rho=0.05": 96.0, "rho=0.1": 98.0}
        start = next(value for name, value in accuracy.items() if name in cell)
        record(plan, cell, [start, start + 0.5, start + 0.7])
    frame = tables.build(plan, STUDY, "T1")
    best = frame[frame.selection == "best_val"]
    assert list(best.against) == ["", "SGD", "SGD"]
    assert list(best.difference.dropna()) == pytest.approx([-1.0, -3.0])


def test_departures_from_the_protocol_are_told_together(tmp_path):
    header = HEADER.replace("note", "note,batch_size,lr")
    rows = [f"WRN,C10,SGD,SGD,,test_loss,,,,,{more}\n" for more in (",", "512,0.1", "512,0.2")]
    names, labels = heads(paper(tmp_path, "".join(rows), header))
    assert names == ("settings",)
    assert labels == ["", "batch_size=512,lr=0.1", "batch_size=512,lr=0.2"]


def test_several_columns_may_be_needed(tmp_path):
    rows = [
        f"{network},{data},SAM,SAM,0.1,test_loss,,,,\n" for network in NETWORKS for data in SETS
    ]
    names, labels = heads(paper(tmp_path, "".join(rows)))
    assert names == ("network", "set")
    assert labels[:2] == ["RN18 (200 epochs) C10", "RN18 (200 epochs) C100"]


CHOSEN = "WRN,C10,best SGD,SGD,,{metric},{value},,,\n"


def chosen(root, validation: list[list[float]], val_size: int = 5000) -> Plan:
    """The plan of a number that is the better of two learning rates; test accuracies 90 and 80."""
    printed = {"test_loss": 0.3, "test_acc_percent": 95}
    rows = [CHOSEN.format(metric=metric, value=value) for metric, value in printed.items()]
    plan = paper(root, "".join(rows), protocol={"val_size": val_size})
    for cell, values, test in zip(plan.cells, validation, (90.0, 80.0), strict=True):
        record(plan, cell, [test] * 3, val=values)
    return plan


@pytest.mark.parametrize(
    ("validation", "val_size", "best"),
    [
        # Seed 0 alone would say the other.
        ([[70.0, 80.0, 81.0], [71.0, 72.0, 73.0]], 5000, "lr=0.1"),
        ([[70.0, 71.0, 72.0], [69.0, 80.0, 81.0]], 5000, "lr=0.2"),
        # Without validation, by what is printed: 90 to 80.
        ([[70.0, 71.0, 72.0], [71.0, 80.0, 81.0]], 0, "lr=0.1"),
    ],
)
def test_of_several_cells_the_best_by_validation_stands_for_the_number(
    tmp_path, validation, val_size, best
):
    plan = chosen(tmp_path, validation, val_size)
    loss, accuracy = choice.settled(plan, plan.papers[STUDY].tables["T1"].rows)
    assert accuracy.cell == loss.cell
    assert accuracy.cell.endswith("base" if best == "lr=0.1" else best)
    frame = tables.build(plan, STUDY, "T1")
    line = frame[(frame.metric == "test_acc_percent") & (frame.selection == "best_val")].iloc[0]
    assert (line.cell, line.measured) == (accuracy.cell, 90.0 if best == "lr=0.1" else 80.0)
    by = "validation accuracy" if val_size else "accuracy"
    assert line.reason == f"the best of 2 cells by {by}"
    tables.write(plan, STUDY, "T1", tmp_path)
    told = "Where the paper printed the best of several settings"
    assert told in (tmp_path / "T1.md").read_text()


def test_a_cell_that_lost_a_run_does_not_stand_for_a_number(tmp_path):
    plan = chosen(tmp_path, [[70.0, 71.0, 72.0], [60.0, 61.0, 62.0]])
    record(plan, next(iter(plan.cells)), [99.0, 99.0, 99.0], [0.5, None, 0.5])
    row, _ = choice.settled(plan, plan.papers[STUDY].tables["T1"].rows)
    assert row.cell.endswith("lr=0.2")


ROW = "WRN,C10,SAM,SAM,0.1,test_loss,0.3,,,\n"


@pytest.mark.parametrize(
    ("row", "scale", "level", "told"),
    [
        (ROW, {}, "full", "the paper's own models, data and protocol (WRN on C10)"),
        # What no paper prints does not count.
        (ROW, {"protocol": {"threads": 2}}, "full", "threads 2 (paper: 1)"),
        (ROW, {"protocol": {"train_size": 9000}}, "reduced", "train_size 9000 (paper: all)"),
        # A length that a key gives, cut short.
        (ROW, {"stand_ins": {"epochs": {"200": 20}}}, "reduced", "epochs 20 (paper: 200)"),
        # Of the same family and on the same data; then of another, and on other data.
        (ROW, {"stand_ins": {"model": {"wrn28_10": "wrn10_w8"}}}, "reduced",
         "trained wrn10_w8 on cifar10 in place of WRN on C10"),
        (ROW, {"stand_ins": {"model": {"wrn28_10": "resnet8_w8"}}}, "stand-in",
         "trained a stand-in, resnet8_w8 on cifar10 in place of WRN on C10"),
        (ROW, {"stand_ins": {"data": {"cifar10": "cifar100"}}}, "stand-in",
         "trained a stand-in, wrn28_10 on cifar100 in place of WRN on C10"),
    ],
)  # fmt: skip
def test_the_level_of_evidence_follows_from_what_is_trained(tmp_path, row, scale, level, told):
    plan = paper(tmp_path, row, **scale)
    rows = plan.papers[STUDY].tables["T1"].rows
    assert scope.level(plan, STUDY, rows) == level
    assert told in scope.setting(plan, STUDY, rows)
    assert bool(scope.unlike(plan, STUDY, rows[0])) == (level != "full")


def test_a_shortened_length_is_told_of_each_row(tmp_path):
    rows = [ROW.replace("WRN", name) for name in NETWORKS]
    plan = paper(tmp_path, "".join(rows), stand_ins={"epochs": {"400": 40}})
    rows = plan.papers[STUDY].tables["T1"].rows
    assert [bool(scope.unlike(plan, STUDY, row)) for row in rows] == [False, True, False]
    assert scope.unlike(plan, STUDY, rows[1]) == "epochs 40 in place of 400"
    assert "200 and 40 epochs (paper: 200 and 400)" in scope.brief(plan, STUDY, rows)


def test_a_label_s_stand_in_is_told(tmp_path):
    header = HEADER.replace("note", "note,batch_size")
    plan = paper(
        tmp_path, ROW.replace("\n", ",1024\n"), header, stand_ins={"batch_size": {"1024": 64}}
    )
    told = scope.replaced(plan, STUDY, plan.papers[STUDY].rows)
    assert told == "batch_size 64 stands in for 1024"


def test_a_weaker_row_decides_the_level_of_a_table(tmp_path):
    rows = ROW + ROW.replace("C10", "C100")
    plan = paper(tmp_path, rows, stand_ins={"data": {"cifar100": "cifar10"}, "model": {}})
    levels = [scope.level(plan, STUDY, [row]) for row in plan.papers[STUDY].rows]
    assert levels == ["full", "stand-in"]
    assert scope.level(plan, STUDY, plan.papers[STUDY].rows) == "stand-in"
    nothing = {"only": {"variant": []}, "reason": "to save time"}
    plan = paper(tmp_path / "none", rows, tables={"T1": nothing})
    assert scope.level(plan, STUDY, plan.papers[STUDY].rows) == ""


def test_measured_numbers_are_of_the_rows_asked_for(tmp_path):
    plan = paper(tmp_path, ROW)
    (cell,) = plan.cells
    record(plan, cell, [90.0, 91.0, 92.0], [0.1, 0.2, 0.3])
    frame = tables.measure(plan, STUDY, plan.papers[STUDY].rows)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.measured) == pytest.approx([0.2, 0.2])
