"""The data folder of the CS-439 report: numbers as printed, nothing lost, nothing doubled."""

import csv
import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from samscope import metrics, stages
from samscope.config.paper import read_paper
from samscope.plan.load import load_plan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "workflow" / "papers" / "epfl_cs439"
ABOUT = read_paper(FOLDER)

# table: rows, rows without a printed number, rows whose number must not be compared
COUNTS = {
    "T1": (60, 10, 21),
    "RHO_GCN": (40, 10, 0),
    "RHO_ATT": (70, 10, 0),
    "RHO_WRN": (65, 0, 0),
    "EIG": (36, 0, 24),
    "BATCH": (24, 24, 0),
    "SPLIT": (32, 32, 0),
}
FOUR = ("train_loss", "train_acc_percent", "test_loss", "test_acc_percent")
MORE = ("reported", "uncertainty", "excluded", "note")
RATIO = "batch_asymmetry"
HIGHEST = "highest_test_acc_percent"

# read off Table I by eye: its five columns
PRINTED = {
    ("W.ResNet", "SGD"): ("0.0367", "98.57", "0.1095", "95.43", "21.7"),
    ("W.ResNet", "SAM"): ("0.0459", "98.64", "0.0961", "95.97", "4.8"),
    ("Attention", "SGD"): ("0.0770", "96.31", "0.1204", "94.64", "16.8"),
    ("Attention", "SAM"): ("0.0836", "95.94", "0.1223", "94.26", "12.2"),
    ("GCN", "ADAM"): ("0.1754", "86.46", "0.2406", "80.41", "289"),
    ("GCN", "SAM"): ("0.1719", "87.05", "0.2457", "81.11", "65"),
}

# read off the last train and test lines of outputs/*.dat: table, model, method, rho, in percent
LOGGED = [
    ("RHO_GCN", "GCN", "ADAM", "", "86.45799", "80.41475"),
    ("RHO_GCN", "GCN", "ASAM", "0.005", "87.05107", "81.10599"),
    ("RHO_GCN", "GCN", "ASAM", "0.01", "87.57825", "81.56682"),
    ("RHO_GCN", "GCN", "ASAM", "0.5", "82.37232", "79.03226"),
    ("RHO_ATT", "Attention", "SGD", "", "96.31137", "94.63787"),
    ("RHO_ATT", "Attention", "SAM", "1", "40.89926", "40.86404"),
    ("RHO_ATT", "Attention", "ASAM", "1", "95.93615", "94.25667"),
    ("RHO_WRN", "W.ResNet", "ASAM", "2.0", "98.636", "95.97"),
    ("RHO_WRN", "WRN-8-2", "ASAM", "2.0", "9.802", "10.0"),
    ("RHO_WRN", "W.ResNet", "SAM", "0.1", "97.756", "95.33"),
]

# of each log what its accuracies are whole numbers of
SAMPLES = {
    "RHO_GCN": {"": (3035, 1302)},
    "RHO_ATT": {"": (15_724, 3_935)},
    "RHO_WRN": {"": (50_000, 10_000), "15000": (15_000, 3_000)},
}


def read(table):
    with (FOLDER / "reported" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


TABLES = {table: read(table) for table in COUNTS}


def find(table, **values):
    return [r for r in TABLES[table] if all(r[k] == v for k, v in values.items())]


def test_tables_are_the_files():
    assert {p.stem for p in (FOLDER / "reported").glob("*.csv")} == set(COUNTS) == set(ABOUT.tables)


@pytest.mark.parametrize("table", COUNTS)
def test_counts_and_unique_keys(table):
    rows = TABLES[table]
    empty, excluded = (sum(map(f, rows)) for f in (lambda r: not r["reported"],
                       lambda r: bool(r["excluded"])))  # fmt: skip
    assert (len(rows), empty, excluded) == COUNTS[table]
    keys = [tuple(v for k, v in r.items() if k not in MORE) for r in rows]
    assert len(set(keys)) == len(rows)
    assert all(r["note"] and r["metric"] in metrics.METRICS for r in rows)


@pytest.mark.parametrize(("model", "printed"), PRINTED)
def test_table_1_is_as_printed_and_each_number_is_compared_at_most_once(model, printed):
    expected = dict(zip((*FOUR, RATIO), PRINTED[model, printed], strict=True))
    rows = [r for r in find("T1", model=model) if r["column"].startswith(printed) and r["reported"]]
    assert {(r["metric"], r["reported"]) for r in rows} == set(expected.items())
    compared = Counter(r["metric"] for r in rows if not r["excluded"])
    lost = {RATIO} if (model, printed) == ("W.ResNet", "SAM") else set()
    assert compared == dict.fromkeys(set(expected) - lost, 1)


def test_what_is_compared_is_what_was_run():
    def compared(model):
        rows = [r for r in find("T1", model=model, excluded="") if "SAM" in r["column"]]
        return {(r["method"], r["rho"], r["metric"] == RATIO) for r in rows if r["reported"]}

    assert compared("GCN") == {("ASAM", "0.005", False), ("ASAM", "0.05", True)}
    assert compared("W.ResNet") == {("ASAM", "2", False)}
    assert compared("Attention") == {("ASAM", "1", False), ("ASAM", "1", True)}
    described = {(r["model"], r["rho"]) for r in find("T1", column="SAM (as described)")}
    assert described == {("W.ResNet", "2"), ("Attention", "1"), ("GCN", "0.05")}


def test_table_1_is_the_last_line_of_the_logs():
    logs = {
        ("GCN", "ADAM"): ("RHO_GCN", "ADAM", ""),
        ("GCN", "SAM"): ("RHO_GCN", "ASAM", "0.005"),
        ("Attention", "SGD"): ("RHO_ATT", "SGD", ""),
        ("Attention", "SAM"): ("RHO_ATT", "ASAM", "1"),
        ("W.ResNet", "SAM"): ("RHO_WRN", "ASAM", "2.0"),
    }
    for (model, printed), (table, method, rho) in logs.items():
        for metric, text in zip(FOUR, PRINTED[model, printed], strict=False):
            (row,) = find(table, model=model, method=method, rho=rho, metric=metric)
            # What is printed of molecules with SAM is cut, not rounded: 0.17198 and 0.24576.
            most = 1.0 if (model, printed) == ("GCN", "SAM") else 0.51
            digits = len(text.partition(".")[2])
            assert abs(float(row["reported"]) - float(text)) <= most * 10**-digits


@pytest.mark.parametrize(("table", "model", "method", "rho", "train", "test"), LOGGED)
def test_logged_values_keep_their_digits(table, model, method, rho, train, test):
    size = {} if table != "RHO_WRN" else {"train_size": ""}
    rows = find(table, model=model, method=method, rho=rho, **size)
    found = {r["metric"]: r["reported"] for r in rows}
    assert (found["train_acc_percent"], found["test_acc_percent"]) == (train, test)


def test_all_31_long_runs_of_the_logs_are_there_once():
    runs = Counter()
    for table in SAMPLES:
        runs.update(r["note"].rpartition(", ")[0] for r in TABLES[table] if r["reported"])
    assert len(runs) == 31
    assert set(runs.values()) == {len(FOUR) + 1}
    for table in SAMPLES:
        last, best = (find(table, metric=m) for m in ("test_acc_percent", HIGHEST))
        for one, other in zip(last, best, strict=True):
            assert bool(one["reported"]) == bool(other["reported"])
            assert float(other["reported"] or 0) >= float(one["reported"] or 0) - 1e-5


@pytest.mark.parametrize("table", SAMPLES)
def test_accuracies_are_whole_numbers_of_samples(table):
    for row in TABLES[table]:
        if row["reported"] and row["metric"].endswith("acc_percent"):
            sizes = SAMPLES[table][row.get("train_size", "")]
            right = (
                float(row["reported"]) / 100 * sizes[row["metric"].startswith(("test", "highest"))]
            )
            assert right == pytest.approx(round(right), abs=3e-3), row


def test_stored_ratios_are_those_of_the_stored_values():
    printed = {(m, o): v[-1] for (m, o), v in PRINTED.items()}
    for (model, method), text in printed.items():
        found = {r["metric"]: float(r["reported"]) for r in find("EIG", model=model, column=method)}
        ratio = abs(found["lambda_max"] / found["lambda_min"])
        assert found["asymmetry"] == pytest.approx(ratio, rel=1e-4)
        if (model, method) != ("W.ResNet", "SAM"):
            assert math.isclose(ratio, float(text), rel_tol=0.01)
        else:
            assert ratio == pytest.approx(14.83, abs=0.005)


@cache
def plan(profile):
    return load_plan({"profile": profile, "papers": ["geometry_sam", "epfl_cs439"]}, ROOT)


def test_a_cpu_runs_the_molecules_at_their_full_protocol():
    found = plan("cpu").specs.items()
    cells = {i: p for i, p in found if "epfl_cs439/RHO_GCN" in p.tables}
    full = {p.cell for p in plan("paper").specs.values()}
    assert len(cells) == 8
    for planned in cells.values():
        assert planned.seeds == (0, 1, 2, 3, 4)
        assert planned.cell in full
        assert (planned.cell.model, planned.cell.budget.epochs) == ("gcn", 200)
    found = {(p.cell.method.ascent.adaptive, p.cell.method.ascent.rho) for p in cells.values()}
    adaptive = {("davda54", rho) for rho in (0.005, 0.01, 0.05, 0.1, 0.5)}
    assert found == {("", None), ("", 0.005), ("", 0.05)} | adaptive


def test_every_training_is_the_codes():
    tables = plan("paper").papers["epfl_cs439"].tables
    cells = {row.keys["model"]: row.spec for row in tables["T1"].rows}
    told = {name: (c.task.name, c.method.optimizer, c.method.lr, c.budget.epochs,
                   c.budget.batch_size) for name, c in cells.items()}  # fmt: skip
    assert told == {
        "W.ResNet": ("images", "sgd", 0.1, 50, 128),
        "Attention": ("beats", "sgd", 0.01, 50, 128),
        "GCN": ("molecules", "adam", 0.01, 200, 64),
    }
    for cell in cells.values():
        assert (cell.task.loss, cell.task.smoothing) == ("smoothed_kl", 0.1)
        assert (cell.method.schedule, cell.method.weight_decay) == ("step", 5e-4)


def test_what_a_model_is_trained_by_is_no_departure():
    plan = load_plan({"profile": "paper", "papers": [FOLDER.name]}, ROOT)
    assert "wrn22_8-cifar10/sam/rho=2,adaptive=davda54,optimizer=sgd" in plan.specs
    assert plan.specs["attention-mitbih/sgd/optimizer=sgd"].cell.budget.epochs == 50
    assert plan.specs["gcn-mutagenicity/sgd/optimizer=adam"].cell.budget.epochs == 200


def test_adaptive_runs_are_measured_too():
    asked = stages.runs(plan("cpu"), "curvature")
    assert {"gcn-mutagenicity/sam/rho=0.05,adaptive=davda54,optimizer=adam",
            "gcn-mutagenicity/sam/rho=0.05,optimizer=adam",
            "gcn-mutagenicity/sgd/optimizer=adam"} <= set(asked)  # fmt: skip
