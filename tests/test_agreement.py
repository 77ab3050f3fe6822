"""Printed numbers beside measured ones: what agrees, what differs, and what is not compared."""

import math
import shutil
import subprocess

import pandas as pd
import pytest
from scipy import stats

from pages import page
from samscope.analysis import tables
from samscope.analysis.stats import Spread, holm
from samscope.plan.load import load_plan
from small_study import (
    HEADER,
    ONE,
    OWN,
    REAL,
    STUDY,
    edited,
    line,
    record,
    study,
    write_study,
)


@pytest.fixture
def own(tmp_path):
    """The paper's own model and data: SAM collapses at rho 0.2, ckpt1 is far off at 0.1 and 0.4."""
    plan = study(tmp_path, **OWN)
    record(plan, f"{REAL}/sgd/base", [77.0, 77.4, 77.8], [0.91, 0.92, 0.93])
    record(plan, f"{REAL}/sam/rho=0.1", [78.5, 79.0, 79.2])
    record(plan, f"{REAL}/sam/rho=0.2", [20.0, 60.0, 79.0])
    record(plan, f"{REAL}/ckpt1/rho=0.1", [60.0, 60.4, 60.8])
    record(plan, f"{REAL}/sam/rho=0.4", [79.9, 80.3, 80.7])
    record(plan, f"{REAL}/ckpt1/rho=0.4", [70.0, 70.4, 70.8])
    return plan


def test_a_printed_number_is_compared_by_the_spread_between_seeds(own):
    frame = tables.build(own, "geometry_sam", "T1")
    sgd = line(frame, "sgd", 0.1)
    quiet = [[77.0, 77.4, 77.8], [78.5, 79.0, 79.2], [60.0, 60.4, 60.8], [79.9, 80.3, 80.7],
             [70.0, 70.4, 70.8]]  # fmt: skip
    pooled = Spread(math.sqrt(sum(pd.Series(v).var() for v in quiet) / 5), 10)
    assert sgd.tolerance == pytest.approx(pooled.tolerance(3))
    assert sgd.agreement == "agrees"
    assert line(frame, "ckpt1", 0.4).agreement == "differs"
    # The collapse is held to its own spread, two degrees of freedom.
    wild = line(frame, "sam", 0.2)
    assert (wild.agreement, wild.tolerance > 100) == ("agrees", True)
    gaps = [(79.58, 70.4), (78.84, 78.9), (79.21, 80.3), (77.36, 77.4)]
    p = [pooled.p(a - b, 3) for a, b in gaps]
    p.append(Spread(pd.Series([20.0, 60.0, 79.0]).std(), 2).p(79.55 - 53.0, 3))
    # SGD's one printed run stands in two rows and counts once.
    found = [line(frame, *at).p_agreement for at in (("ckpt1", 0.4), ("sam", 0.1), ("sam", 0.4),
                                                    ("sgd", 0.2), ("sam", 0.2))]  # fmt: skip
    assert found == pytest.approx(holm(p), rel=1e-6)
    assert found[2] > 0.05 > p[2]
    assert line(frame, "sam", 0.4).agreement == "unclear"


def test_what_must_not_be_compared_is_not(own):
    frame = tables.build(own, "geometry_sam", "T1")
    assert line(frame, "ckpt1", 0.1).agreement == ""  # excluded, though far off
    assert line(frame, "ckpt1", 0.2).agreement == ""  # open in the paper
    assert line(frame, "sam", 0.1, metric="test_loss").agreement == ""  # no loss printed
    assert set(frame[frame.selection == "last"].agreement) == {""}


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({"stand_ins": {"model": {"resnet18": "wrn28_10"}}}, False),
        ({"stand_ins": {"data": {"cifar100": "cifar10"}}}, False),
        ({"protocol": {"epochs": 30}}, False),
        ({"protocol": {"threads": 2}}, True),
    ],
)
def test_levels_are_compared_in_the_paper_s_own_setting_only(tmp_path, changes, compared):
    plan = study(tmp_path, **{**OWN, **changes})
    for cell in plan.cells:
        record(plan, cell, [78.0, 78.5, 79.0])
    frame = tables.build(plan, "geometry_sam", "T1")
    assert (set(frame.agreement) == {""}) != compared


def one_number(root, printed: str, beside: str, **about: object):
    """A table of one printed number; three runs of ours have mean 77.4 and deviation 0.4."""
    folder = write_study(root, **OWN)
    (folder / "reported/T1.csv").write_text(HEADER + ONE.format(printed, beside))
    edited(folder / "paper.yaml", **about)
    plan = load_plan({"profile": "tiny", "papers": [STUDY], "tables": ["T1"]}, root)
    record(plan, f"{REAL}/sgd/base", [77.0, 77.4, 77.8])
    return plan


@pytest.mark.parametrize(
    ("about", "deviation", "runs"),
    [
        ({"spread": "sd", "runs": 20}, 0.2, 20),
        ({"spread": "se", "runs": 4}, 0.4, 4),
        # Half of a 95 % interval of 4 runs is 3.182446 standard errors.
        ({"spread": "ci95", "runs": 4}, 2 * 0.2 / 3.182446, 4),
    ],
)
def test_a_printed_spread_takes_the_place_of_the_prediction_interval(
    tmp_path, about, deviation, runs
):
    found = line(
        tables.build(one_number(tmp_path, "79.0", "0.2", **about), STUDY, "T1"), "sgd", 0.1
    )
    test = stats.ttest_ind_from_stats(79.0, deviation, runs, 77.4, 0.4, 3, equal_var=False)
    assert found.p_agreement == pytest.approx(test.pvalue, rel=1e-5)
    assert found.agreement == "differs"


def test_a_printed_spread_by_hand(tmp_path):
    """Squared errors of the means 0.36/4 and 0.16/3, degrees of freedom 3 and 2."""
    plan = one_number(tmp_path, "78.3", "0.6", spread="sd", runs=4)
    found = line(tables.build(plan, STUDY, "T1"), "sgd", 0.1)
    a, b = 0.09, 0.16 / 3
    df = (a + b) ** 2 / (a**2 / 3 + b**2 / 2)
    assert df == pytest.approx(4.9839, abs=1e-4)
    # t(0.975, 4.9839) is 2.5729.
    assert found.tolerance == pytest.approx(2.5729 * math.sqrt(a + b), abs=1e-4)
    assert found.agreement == "agrees"
    tables.write(plan, STUDY, "T1", tmp_path)
    text = (tmp_path / "T1.md").read_text()
    assert "by both spreads (Welch), holds 0" in text
    assert "one further run" not in text


@pytest.mark.parametrize(
    ("spread", "about", "agreement"),
    [
        # 1.6 is within 4.303 times 0.4 sqrt(4/3), which one run may be off.
        ("", {"spread": "sd", "runs": 20}, "agrees"),
        ("0.2", {"spread": "sd", "runs": 20}, "differs"),
        ("0.2", {"spread": "sd", "runs": 1}, "agrees"),
        # What the number after the sign means is not said.
        ("0.2", {"runs": 20}, "agrees"),
    ],
)
def test_the_printed_spread_decides_where_there_is_one(tmp_path, spread, about, agreement):
    plan = one_number(tmp_path, "79.0", spread, **about)
    found = line(tables.build(plan, STUDY, "T1"), "sgd", 0.1)
    assert found.agreement == agreement
    told = page(plan)
    assert ("by both spreads (Welch)" in told) == (agreement == "differs")


def test_without_two_seeds_of_anything_nothing_is_compared(tmp_path):
    plan = study(tmp_path, **OWN)
    for cell in plan.cells:
        record(plan, cell, [78.0])
    assert set(tables.build(plan, "geometry_sam", "T1").agreement) == {""}


def test_markdown_says_how_it_compares(own, tmp_path):
    tables.write(own, "geometry_sam", "T1", tmp_path / "out")
    text = (tmp_path / "out/T1.md").read_text()
    assert "77.36 (0.9116) /<br>**≈ 77.40 ± 0.99" in text
    assert "≠ 70.40 ± 0.99" in text
    assert "≈: the printed number, one run, lies within" in text
    # printed 77.36 < 78.84 < 79.21 < 79.55 < 79.58, measured 77.4 < 78.9 < 80.3, 53.0, 70.4
    assert "Order of the 5 cells by accuracy, printed against measured: Kendall's tau -0.20" in text


def test_latex_is_a_table_of_the_same_cells(own, tmp_path):
    tables.write(own, "geometry_sam", "T1", tmp_path / "out")
    text = (tmp_path / "out/T1.tex").read_text()
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert [line.count(" & ") for line in body] == [3, 3, 3]
    assert all(line.endswith(r" \\") for line in body)
    assert (
        r"\shortstack[l]{\textcolor{gray}{77.36 (0.9116)} \\ $\approx$ 77.40 $\pm$ 0.99" in body[0]
    )
    assert r"\textcolor{gray}{78.60 (0.8784)}$^a$" in body[0]
    assert r"\textcolor{gray}{??} \\ not run" in body[1]
    assert r"95 \% t-interval" in text
    assert r"\label{tab:geometry-sam-T1}" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_the_packages_it_names_and_fits_the_page(own, tmp_path):
    tables.write(own, "geometry_sam", "T1", tmp_path)
    needs = (tmp_path / "T1.tex").read_text().splitlines()[0].removeprefix("% ")
    page = [r"\documentclass{article}", needs, r"\begin{document}\input{T1}\end{document}"]
    (tmp_path / "page.tex").write_text("\n".join(page))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
