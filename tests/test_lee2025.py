"""The data folder of the slides' own experiment: what is printed, and the cells that it names."""

from functools import cache
from pathlib import Path

import pytest

from samscope.analysis import claims, figures, verdicts
from samscope.plan.load import load_plan

ROOT = Path(__file__).parents[1]
PAPER = "lee2025"

# by eye
PRINTED = {
    ("SGD", "test_loss"): "0.60742",
    ("SGD", "test_acc_percent"): "74.42",
    ("SAM_single", "test_loss"): "0.59017",
    ("SAM_single", "test_acc_percent"): "75.74",
    ("SAM_multi", "test_loss"): "0.58964",
    ("SAM_multi", "test_acc_percent"): "76.27",
}


@cache
def plan(profile):
    return load_plan({"profile": profile, "papers": [PAPER]}, ROOT)


def rows(profile, table):
    return plan(profile).papers[PAPER].tables[table].rows


def test_what_is_printed_stands_there_and_is_not_compared():
    found = {(r.column, r.metric): r.reported for r in rows("paper", "SELF")}
    assert {key: number.printed for key, number in found.items()} == PRINTED
    assert all("not stated" in number.excluded for number in found.values())
    assert not any(r.reported.printed for r in rows("paper", "ADAPTIVE"))


def test_two_steps_are_of_half_the_radius_and_sum():
    """As the slides have them; the paper's are projected, in table T11 of its folder."""
    for table, form in (("SELF", ""), ("ADAPTIVE", "davda54")):
        ascents = {r.column: r.spec.method.ascent for r in rows("paper", table)}
        assert ascents["SGD"].rho is None
        for column, steps in (("SAM_single", 1), ("SAM_multi", 2)):
            ascent = ascents[column]
            told = ascent.rho, ascent.adaptive, ascent.ascent_steps, ascent.ascent_rule
            assert told == (0.5, form, steps, "sum")


@pytest.mark.parametrize("profile", ["paper", "short", "cpu", "quick", "decide"])
def test_every_row_is_planned_in_every_profile(profile):
    assert all(row.cells for table in ("SELF", "ADAPTIVE") for row in rows(profile, table))
    assert len(plan(profile).specs) == 5
    figures.check(plan(profile))
    both = load_plan(
        {"profile": profile, "papers": ["geometry_sam", "epfl_cs439", "foret2021", PAPER]}, ROOT
    )
    assert set(plan(profile).specs) <= set(both.specs)


def test_claims_speak_of_cells_of_the_tables():
    frame = verdicts.evaluate(plan("paper"), PAPER)
    assert len(frame) == len(list(claims.read(plan("paper").papers[PAPER]))) == 7
    assert not [r.id for r in frame.itertuples() if "not planned" in r.reason]
