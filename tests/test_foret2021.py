"""The data folder of Foret et al.: numbers as printed, nothing lost, nothing doubled."""

import csv
import re
from functools import cache
from pathlib import Path

import pytest

from samscope import metrics, stages
from samscope.analysis import claims, verdicts
from samscope.config.paper import read_paper
from samscope.plan.load import load_plan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "workflow" / "papers" / "foret2021"
ABOUT = read_paper(FOLDER)

# table: rows, rows without a printed number, rows whose number must not be compared
COUNTS = {
    "T1": (60, 0, 0),
    "T2": (36, 0, 0),
    "T3": (54, 0, 0),
    "T9": (60, 0, 3),
    "T11": (16, 0, 8),
    "F3": (6, 2, 0),
    "RHO": (128, 128, 0),
    "M": (20, 20, 0),
    "ORDER": (8, 8, 0),
    "NORM": (19, 19, 0),
    "CODE": (20, 20, 0),
    "LONG": (36, 36, 0),
    "SHIFT": (24, 24, 0),
    "TUNE": (6, 6, 0),
}
MORE = ("reported", "uncertainty", "excluded", "note", "not_run")
UNMADE = ("T3",)
"""Tables of which no profile makes a number."""
WIDE, LONG = "WRN-28-10 (200 epochs)", "WRN-28-10 (1800 epochs)"
SHAKE, PYRAMID, DROP = "Shake-Shake (26 2x96d)", "PyramidNet", "PyramidNet+ShakeDrop"

# read off Table 1 by eye: SAM and SGD on CIFAR-10, SAM and SGD on CIFAR-100
PRINTED = {
    (WIDE, "Basic"): ("2.7±0.1", "3.5±0.1", "16.5±0.2", "18.8±0.2"),
    (WIDE, "AA"): ("2.1±<0.1", "2.3±0.1", "13.6±0.2", "15.8±0.2"),
    (LONG, "Cutout"): ("2.1±0.1", "2.7±0.1", "14.0±0.1", "17.4±0.1"),
    (SHAKE, "Basic"): ("2.3±<0.1", "2.7±0.1", "15.1±0.1", "17.0±0.1"),
    (PYRAMID, "Basic"): ("2.7±0.1", "4.0±0.1", "14.6±0.4", "19.7±0.3"),
    (DROP, "AA"): ("1.4±<0.1", "1.6±<0.1", "10.3±0.1", "10.6±0.1"),
}

# Table 6 by eye: learning rate, weight decay, rho
PARAMETERS = {
    (WIDE, "CIFAR-10"): (0.1, 0.0005, 0.05),
    (WIDE, "CIFAR-100"): (0.1, 0.0005, 0.1),
    (LONG, "CIFAR-10"): (0.05, 0.001, 0.05),
    (LONG, "CIFAR-100"): (0.05, 0.001, 0.1),
    (SHAKE, "CIFAR-10"): (0.02, 0.001, 0.02),
    (SHAKE, "CIFAR-100"): (0.02, 0.001, 0.05),
    (PYRAMID, "CIFAR-10"): (0.05, 0.0005, 0.05),
    (PYRAMID, "CIFAR-100"): (0.05, 0.0005, 0.2),
    (DROP, "CIFAR-10"): (0.02, 0.0005, 0.05),
    (DROP, "CIFAR-100"): (0.05, 0.0005, 0.05),
}

# Table 11 by eye: error and estimated sharpness by steps
STEPS = {
    ("CIFAR-10", "1"): ("2.77", "0.03", "0.17", "0.03"),
    ("CIFAR-10", "5"): ("2.77", "0.03", "2.26", "0.05"),
    ("CIFAR-100", "2"): ("16.59", "0.08", "1.83", "0.05"),
}


def read(table):
    with (FOLDER / "reported" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


TABLES = {table: read(table) for table in COUNTS}


def find(table, **values):
    return [r for r in TABLES[table] if all(r[k] == v for k, v in values.items())]


@cache
def plan(profile):
    return load_plan({"profile": profile, "papers": [FOLDER.name]}, ROOT)


def rows(profile, table):
    return plan(profile).papers[FOLDER.name].tables[table].rows


def test_tables_are_the_files():
    assert {p.stem for p in (FOLDER / "reported").glob("*.csv")} == set(COUNTS) == set(ABOUT.tables)


@pytest.mark.parametrize("table", COUNTS)
def test_counts_and_unique_keys(table):
    rows = TABLES[table]
    empty, excluded = (sum(not r["reported"] for r in rows), sum(bool(r["excluded"]) for r in rows))
    assert (len(rows), empty, excluded) == COUNTS[table]
    keys = [tuple(v for k, v in r.items() if k not in MORE) for r in rows]
    assert len(set(keys)) == len(rows)
    assert all(r["note"] and r["metric"] in metrics.METRICS for r in rows)
    places = ("Table", "Figure 3")
    assert all(r["note"].startswith(places) for r in rows if r["reported"])


@pytest.mark.parametrize(("model", "augmentation"), PRINTED)
def test_table_1_is_as_printed(model, augmentation):
    found = {
        (r["data"], r["column"]): r for r in find("T1", model=model, augmentation=augmentation)
    }
    order = [(d, c) for d in ("CIFAR-10", "CIFAR-100") for c in ("SAM", "SGD")]
    for key, text in zip(order, PRINTED[model, augmentation], strict=True):
        value, _, beside = text.partition("±")
        row = found[key]
        assert (row["reported"], row["uncertainty"]) == (value, beside.lstrip("<"))
        assert ("an upper bound" in row["note"]) == beside.startswith("<")


def test_the_intervals_of_table_1_are_those_of_five_replicas():
    numbers = [row.reported for row in rows("paper", "T1")]
    assert {(n.spread_kind, n.runs) for n in numbers} == {("ci95", 5)}
    # 0.1 over t(4; 0.975) = 2.776, times the root of 5
    assert numbers[0].deviation == pytest.approx(0.1 / 2.776 * 5**0.5, rel=1e-3)
    assert {(r.reported.spread_kind, r.reported.runs) for r in rows("paper", "T11")} == {("sd", 20)}


@pytest.mark.parametrize(("model", "data"), PARAMETERS)
def test_hyper_parameters_are_those_of_table_6(model, data):
    lr, decay, rho = PARAMETERS[model, data]
    of = [r for r in rows("paper", "T1") if (r.keys["model"], r.keys["data"]) == (model, data)]
    assert len(of) == 6
    for row in of:
        method = row.spec.method
        assert (method.lr, method.weight_decay) == (lr, decay)
        assert method.ascent.rho == (rho if row.column == "SAM" else None)
        budgets = [plan("paper").specs[c].cell.budget.epochs for c in row.cells]
        epochs = 200 if model == WIDE else 1800
        assert budgets == ([epochs] if row.column == "SAM" else [epochs, 2 * epochs])


def test_table_9_has_the_same_sgd_and_one_pasted_row():
    names = ("model", "augmentation", "data", "column")
    first, ninth = (
        {tuple(r[k] for k in names): r["reported"] for r in TABLES[t]} for t in ("T1", "T9")
    )
    assert first.keys() == ninth.keys()
    assert all(ninth[key] == value for key, value in first.items() if key[-1] == "SGD")
    for row in find("T9", excluded=""):
        assert row["rho"] == ("0.05" if row["column"] == "SAM" else "")
    pasted = [r for r in TABLES["T9"] if r["excluded"]]
    for row in pasted:
        assert (row["model"], row["data"], row["column"]) == (PYRAMID, "CIFAR-10", "SAM")
        key = tuple(row[k] for k in names)
        assert row["reported"] == ninth[DROP, *key[1:]] != first[key]
    # At one rho both tables print one number.
    same = {tuple(r[k] for k in names): r["rho"] for r in find("T1", column="SAM", rho="0.05")}
    assert {k for k in same if first[k] != ninth[k]} == {tuple(r[k] for k in names) for r in pasted}


@pytest.mark.parametrize(("data", "steps"), STEPS)
def test_table_11_is_as_printed(data, steps):
    found = {r["metric"]: r for r in find("T11", data=data, inner_steps=steps)}
    error, sharp = found["test_error_percent"], found["worst_case"]
    numbers = [r[k] for r in (error, sharp) for k in ("reported", "uncertainty")]
    assert tuple(numbers) == STEPS[data, steps]
    assert sharp["excluded"]
    assert not error["excluded"]


def test_figure_3_is_as_printed():
    found = {(r["column"], r["metric"]): r["reported"] for r in TABLES["F3"] if r["reported"]}
    assert found == {
        ("SGD", "lambda_max"): "24.2",
        ("SGD", "leading_ratio"): "11.4",
        ("SAM", "lambda_max"): "1.0",
        ("SAM", "leading_ratio"): "2.6",
    }


def test_every_training_is_the_codes():
    for planned in plan("paper").specs.values():
        cell = planned.cell
        others = {("foret2021/TUNE",): 25, ("foret2021/T2",): 4096}
        batch = others.get(planned.tables, 256)
        assert (cell.budget.batch_size, cell.budget.drop_last) == (batch, True)
        assert (cell.method.momentum, cell.method.schedule) == (0.9, "cosine")
        if planned.tables == ("foret2021/T1",):
            assert (cell.method.nesterov, cell.method.decay_in_loss) == (True, True)
            assert cell.method.clip == 5.0
        if planned.tables == ("foret2021/T1",) and cell.method.variant == "sam":
            ascent = cell.method.ascent
            assert (ascent.micro_batch, ascent.ascent_epsilon, ascent.randomness) == (32, 0, "same")


@pytest.mark.parametrize("profile", ["paper", "quick", "decide", "cpu"])
def test_every_row_is_planned_or_says_why_not(profile):
    for table in COUNTS:
        for row in rows(profile, table):
            assert bool(row.cells) != bool(row.reason), (table, row)
            assert profile != "paper" or bool(row.cells) != (table in UNMADE)


def test_quick_runs_a_row_of_every_table_and_every_kind_of_ascent():
    for table in sorted({*COUNTS} - {*UNMADE, "SHIFT", "T2"}):
        assert any(row.cells for row in rows("quick", table)), table
    cells = [p.cell for p in plan("quick").specs.values()]
    assert {c.model for c in cells} == {"cnn3", "cnn3_plain"}
    ascents = [c.method.ascent for c in cells if c.method.variant == "sam"]
    assert {a.micro_batch for a in ascents} == {0, 1, 4, 15}
    assert {a.norm for a in ascents} == {1.0, 2.0, float("inf")}
    assert {a.direction for a in ascents} == {"gradient", "random"}
    assert {a.ascent_steps for a in ascents} == {1, 5}
    orders = {(c.model, c.method.ascent.second_order) for c in cells}
    assert {(m, o) for m in ("cnn3", "cnn3_plain") for o in ("observed", "kept")} <= orders
    assert {c.budget.epochs for c in cells} == {6, 12, 20, 24}
    assert stages.runs(plan("quick"), "curvature")
    assert sum(len(p.seeds) for p in plan("quick").specs.values()) < 75


def test_decide_has_a_stand_in_of_every_model_and_seeds_for_an_equivalence():
    small = {"shake8_w8", "pyramid11_w8", "pyramid11_w8_drop", "cnn3", "cnn3_plain"}
    cells = plan("decide").specs
    assert {p.cell.model for p in cells.values()} == small
    assert {len(p.seeds) for p in cells.values()} == {20, 30}
    assert set(plan("quick").specs) <= set(cells)


def test_a_cpu_runs_the_first_block_of_table_1_with_rho_to_choose():
    block = [r for r in rows("cpu", "T1") if r.cells]
    assert {(r.keys["model"], r.keys["data"]) for r in block} == {(WIDE, "CIFAR-10")}
    assert len(block) == 6
    chosen = [r for r in rows("cpu", "RHO") if r.column == "SAM, rho chosen" and r.cells]
    assert {len(r.cells) for r in chosen} == {3}
    # What validates is what Table 1 shows: one cell, not two.
    assert {c for r in block for c in r.cells} <= {
        c for r in rows("cpu", "RHO") for c in r.cells
    }  # fmt: skip


@pytest.mark.parametrize("profile", ["paper", "quick", "decide", "cpu"])
def test_it_stands_beside_the_other_papers(profile):
    both = load_plan(
        {"profile": profile, "papers": ["geometry_sam", "epfl_cs439", FOLDER.name]}, ROOT
    )
    assert set(plan(profile).specs) <= set(both.specs)


def test_the_ablations_are_told_apart():
    def ascents(table):
        return {c.method.ascent for r in rows("paper", table) for c in [r.spec]}

    assert {a.micro_batch for a in ascents("M")} == {0, 1, 4, 16, 64}
    assert {a.second_order for a in ascents("ORDER")} == {"observed", "kept"}
    assert {(a.norm, a.direction) for a in ascents("NORM")} == {
        (1.0, "gradient"), (2.0, "gradient"), (2.0, "random"), (float("inf"), "gradient")
    }  # fmt: skip
    assert {(a.ascent_steps, a.ascent_rule) for a in ascents("T11")} == {
        (1, "sum"), (2, "projected"), (3, "projected"), (5, "projected")
    }  # fmt: skip
    assert {a.micro_average for a in ascents("CODE")} == {"gradients", "perturbations"}


def test_the_hessian_is_measured_where_it_is_printed():
    asked = stages.runs(plan("paper"), "curvature")
    printed = [r for r in rows("paper", "F3") if r.reported.printed]
    assert {c for r in printed for c in r.cells} <= set(asked)


def test_claims_speak_of_cells_of_the_tables():
    frame = verdicts.evaluate(plan("paper"), FOLDER.name)
    assert len(frame) == len(list(claims.read(plan("paper").papers[FOLDER.name])))
    assert not [r.id for r in frame.itertuples() if "not planned" in r.reason]


OF_TABLE_1 = [
    c for c in claims.read(plan("paper").papers[FOLDER.name])
    if re.fullmatch(r"C1\.1[a-h]", c.id)
]  # fmt: skip


@pytest.mark.parametrize("claim", OF_TABLE_1, ids=lambda c: c.id)
def test_claims_of_table_1_say_what_it_prints(claim):
    _, _, model, augmentation, data = claim.location.split(", ")
    printed = {}
    for row in find("T1", model=model, augmentation=augmentation, data=data):
        printed[row["column"]] = row["reported"], row["rho"]
    assert claim.reported == f"{printed['SAM'][0]} and {printed['SGD'][0]} %"
    assert claim.rhos == (float(printed["SAM"][1]),)
    assert claim.direction == "a_below_b"
