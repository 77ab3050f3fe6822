"""The data folder of the geometry-SAM study: numbers as printed, nothing lost, nothing doubled."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from samscope.analysis import claims
from samscope.config import claims as claimed
from samscope.config.paper import read_paper
from samscope.metrics import METRICS
from samscope.optim.mixes import named_mix
from samscope.spec import Cell

WORKFLOW = Path(__file__).parents[1] / "workflow"
FOLDER = WORKFLOW / "papers" / "geometry_sam"
HEADER = "model,data,column,variant,rho,condition,metric,reported,uncertainty,excluded,note"
KEY = ("model", "data", "column", "variant", "rho", "condition", "metric")

# table: rows, rows without a printed number, rows whose number must not be compared
COUNTS = {
    "T1": (20, 1, 0),
    "T2": (50, 1, 4),
    "T3": (30, 0, 0),
    "T4": (45, 2, 5),
    "S1": (48, 6, 0),
    "S2": (96, 36, 2),
    "S234": (24, 4, 0),
    "S3": (40, 6, 0),
    "S3_RN34": (12, 2, 0),
    "S3_WRN": (12, 0, 0),
    "S4": (36, 6, 0),
}

# read off the README by eye: table, column, rho, accuracy, loss ("" where none is printed)
PRINTED = [
    ("T1", "ckpt12", "0.8", "78.60", "0.7787"),
    ("T1", "ori-SAM", "0.1", "78.84", ""),
    ("T2", "SGD", "0.6", "77.36", "0.9116"),
    ("T2", "ckpt34", "0.2", "78.14", "0.7650"),
    ("T3", "checkpoint3", "0.4", "78.49", None),
    ("T3", "checkpoint1", "0.8", "78.79", None),
    ("T4", "ckpt134", "0.6", "79.72", None),
    ("T4", "ckpt234", "0.8", "", None),
    ("S1", "condition=2", "0.2", "78.50", "0.7758"),
    ("S1", "condition=1.2", "0.1", "", ""),
    ("S2", "condition=0.667", "0.4", "78.70", "0.7337"),
    ("S2", "condition=3", "0.8", "79.43", "0.7498"),
    ("S234", "condition=0.5", "0.2", "80.16", "0.697"),
    ("S3", "condition=0.1", "0.4", "80.46", "0.7026"),
    ("S3", "ori-SAM", "0.1", "79.35", "0.7526"),
    ("S4", "condition=1.5", "0.2", "79.82", "0.7315"),
    ("S3_RN34", "condition=0.1", "0.2", "81.63", "0.6792"),
    ("S3_WRN", "ori-SAM", "0.6", "83.23", "0.5791"),
]


def read(table):
    with (FOLDER / "reported" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        assert file.readline().rstrip("\n") == HEADER
        return list(csv.DictReader(file, HEADER.split(",")))


TABLES = {table: read(table) for table in COUNTS}
ROWS = [row for rows in TABLES.values() for row in rows]
ABOUT = read_paper(FOLDER)
KINDS = {name: kind.Fields for name, kind in claims.kinds().items()}
CLAIMS = claimed.read(FOLDER / "claims.yaml", KINDS)


def lookup(table, column, rho, metric):
    """The row of a printed cell; KeyError-like failure if it is missing or doubled."""
    (row,) = [
        r for r in TABLES[table] if (r["column"], r["rho"], r["metric"]) == (column, rho, metric)
    ]
    return row


def cell(row):
    """The cell of a row at the paper's own protocol."""
    number = {k: float(row[k]) if row[k] else None for k in ("rho", "condition")}
    if row["variant"] == "sgd":
        number["rho"] = None
    names = {k: ABOUT.keys[k][row[k]] for k in ("model", "data")}
    return Cell.from_dict({**ABOUT.protocol, "variant": row["variant"], **names, **number})


def test_tables_are_the_files_and_the_paper_lists_them():
    files = {p.stem for p in (FOLDER / "reported").glob("*.csv")}
    # The study printed no such tables.
    ours = {"E1", "E4", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10"}
    assert files - ours == set(COUNTS) == set(ABOUT.tables) - ours
    for table in ours:
        rows = csv.DictReader((FOLDER / f"reported/{table}.csv").read_text().splitlines())
        assert not any(row["reported"] for row in rows)


@pytest.mark.parametrize("table", COUNTS)
def test_counts_and_unique_keys(table):
    rows = TABLES[table]
    empty = sum(not r["reported"] for r in rows)
    excluded = sum(bool(r["excluded"]) for r in rows)
    assert (len(rows), empty, excluded) == COUNTS[table]
    assert len({tuple(r[k] for k in KEY) for r in rows}) == len(rows)


def test_every_printed_grid_is_complete():
    for table, rows in TABLES.items():
        per_cell = Counter((r["column"], r["rho"]) for r in rows)
        columns, rhos = {c for c, _ in per_cell}, {rho for _, rho in per_cell}
        assert len(per_cell) == len(columns) * len(rhos), table
        assert set(per_cell.values()) == {1 if table in ("T3", "T4") else 2}, table


@pytest.mark.parametrize(("table", "column", "rho", "accuracy", "loss"), PRINTED)
def test_printed_values_keep_their_digits(table, column, rho, accuracy, loss):
    assert lookup(table, column, rho, "test_acc_percent")["reported"] == accuracy
    if loss is not None:
        assert lookup(table, column, rho, "test_loss")["reported"] == loss


def test_every_row_has_a_variant_that_parses_and_a_source():
    for row in ROWS:
        named_mix(row["variant"], float(row["condition"]) if row["condition"] else None)
        assert bool(row["condition"]) == row["variant"].startswith("sameckpt")
        if row["condition"]:
            assert row["column"] == f"condition={row['condition']}"
        assert row["note"]
        assert bool(row["reported"]) == (
            "first seen in README" in row["note"] or "two runs" in row["note"]
        )


def test_distinct_settings():
    # 144 settings with a printed number, 32 left open, 5 for ckpt14 as described.
    assert len({cell(row) for row in ROWS}) == 144 + 32 + 5


def test_excluded_rows_are_the_known_ones_and_carry_a_printed_number():
    excluded = {
        (table, r["column"], r["rho"])
        for table, rows in TABLES.items()
        for r in rows
        if r["excluded"]
    }
    inverted = {("T4", "ckpt14 (as described)", rho) for rho in ("0.1", "0.2", "0.4", "0.6", "0.8")}
    pasted = {("T2", "ckpt34", "0.6"), ("T2", "ckpt34", "0.8"), ("S2", "condition=3", "0.4")}
    assert excluded == inverted | pasted
    assert all(r["reported"] for r in ROWS if r["excluded"])


def test_ckpt14_has_two_readings_of_one_number():
    for rho in ("0.1", "0.2", "0.4", "0.6", "0.8"):
        coded = lookup("T4", "ckpt14 (as coded)", rho, "test_acc_percent")
        described = lookup("T4", "ckpt14 (as described)", rho, "test_acc_percent")
        assert (coded["variant"], described["variant"]) == ("ckpt23", "ckpt14")
        assert coded["reported"] == described["reported"]
        assert described["excluded"]
        assert not coded["excluded"]


def test_the_protocol_is_the_one_in_the_source():
    assert ABOUT.protocol["weight_decay"] == 0.001
    assert ABOUT.protocol["drop_last"] is False


def test_claims_are_numbered_without_a_gap():
    numbers = {int(re.fullmatch(r"C0\.(\d+)[a-z]?", c.id)[1]) for c in CLAIMS}
    assert numbers == set(range(1, 22))


def test_claims_speak_of_settings_of_the_tables():
    printed = [row for table in ("T1", "T2", "T3", "T4", "S3") for row in TABLES[table]]
    ours = [*read("E1"), *read("P2"), *read("P3")]
    known = {(named(r), float(r["rho"])) for r in [*printed, *ours]}
    for claim in [c for c in CLAIMS if c.kind != "settings"]:
        names = ("a", "b", "variant", "control")
        variants = [getattr(claim, name) for name in names if hasattr(claim, name)]
        variants += claim.among if claim.kind == "largest" else []
        # Those with leaves of their own are of P4, P5, P7, P8 and P10.
        leaves = (" lr=", " label_noise=", " split_seed=", " ire_kappa=")
        plain = [v for v in variants if not any(leaf in v for leaf in leaves)]
        assert {(v, rho) for v in plain for rho in claim.rhos} <= known, claim.id


def named(row):
    """The name of a row's variant in a claim."""
    return row["variant"] + (f" condition={row['condition']}" if row["condition"] else "")


def test_claims_of_settings_name_rows_of_a_table():
    known = []
    for table in ("E4", "P3", "P6", "T1"):
        for row in csv.DictReader((FOLDER / f"reported/{table}.csv").read_text().splitlines()):
            numbers = {k: row.get(k) for k in ("batch_size", "lr", "epochs", "rho")}
            found = {k: float(v) for k, v in numbers.items() if v}
            known.append(found | ({"schedule": row["schedule"]} if "schedule" in row else {}))
    for claim in [c for c in CLAIMS if c.kind == "settings"]:
        assert claim.a in known
        assert claim.b in known


# The study prints no eigenvalue.
OF_TABLES = [
    c for c in CLAIMS
    if c.kind == "greater" and METRICS[c.metric].stage == "train" and c.asks == "paper"
]  # fmt: skip


@pytest.mark.parametrize("claim", OF_TABLES, ids=lambda c: c.id)
def test_printed_numbers_support_what_is_claimed_of_them(claim):
    # SAM at rho 0.1 has another number in the S tables.
    tables = ("S3",) if claim.location.startswith("S3") else ("T1", "T2", "T4")
    printed = {
        (named(r), float(r["rho"]), r["metric"]): float(r["reported"])
        for t in tables
        for r in TABLES[t]
        if r["reported"] and not r["excluded"]
    }
    differences = [
        printed[claim.a, rho, claim.metric] - printed[claim.b, rho, claim.metric]
        for rho in claim.rhos
    ]
    assert all((d > 0) == (claim.direction == "a_above_b") for d in differences)
    stated = [float(x) for x in re.findall(r"[+-][\d.]+", claim.reported)]
    assert stated == pytest.approx(differences, abs=1e-9)


def test_printed_percentages_rise_as_claimed_and_their_threshold_does_not():
    rows = list(csv.DictReader((FOLDER / "figures/magnitude_ranks.csv").read_text().splitlines()))
    (claim,) = [c for c in CLAIMS if c.id == "C0.13d"]
    halves = [[r for r in rows if (int(r["epoch"]) > 100) == late] for late in (False, True)]
    above, threshold = (
        [sum(float(r[name]) for r in half) / len(half) for half in halves]
        for name in ("above", "threshold")
    )
    stated = re.findall(r"([\d.]+) %", claim.reported)
    assert list(map(float, stated)) == pytest.approx(above)
    assert claim.direction == "rises"
    assert above[0] < above[1]
    stated = re.findall(r"([\d.]+e-4)", claim.note)
    assert list(map(float, stated)) == pytest.approx(threshold, rel=5e-3)
