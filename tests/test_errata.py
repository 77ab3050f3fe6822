"""What the page shows where a paper's errata ask for a measurement."""

import pytest

from pages import CLAIMS, own_study, pages, words
from samscope import InputError
from samscope.report import directives
from small_study import record_all, study


@pytest.fixture
def plan(tmp_path):
    plan = study(tmp_path, CLAIMS)
    record_all(plan)
    return plan


@pytest.fixture
def own(tmp_path):
    return own_study(tmp_path)


def errata(plan, text: str) -> str:
    """The page's errata for a text."""
    (plan.papers["geometry_sam"].folder / "errata.md").write_text(text)
    shown = pages(plan)["geometry_sam.html"]
    return words(shown[shown.index('id="errata"') : shown.index('id="words"')])


def test_errata_show_which_column_the_printed_one_is_nearer_to(own):
    shown = errata(own, "# E\n\n<!-- measured: columns T1: ckpt1 | ori-SAM -->\n\nMore.")
    assert "rho printed ckpt1 ori-SAM 0.1 78.60 (0.8784) 78.73 ± 0.63 ≈ 78.90 ± 0.90" in shown
    # Root mean square over rho 0.1 and 0.4, seed by seed: ckpt1 0.09, 0.12, 0.36; SAM about 13.6.
    near, far = [], []
    for i in range(3):
        ckpt1 = [[78.5, 78.7, 79.0][i] - 78.60, [79.5, 79.7, 79.9][i] - 79.58]
        sam = [[78.5, 79.0, 79.2][i] - 78.60, [60.0, 60.4, 60.8][i] - 79.58]
        near.append((sum(x * x for x in ckpt1) / 2) ** 0.5)
        far.append((sum(x * x for x in sam) / 2) ** 0.5)
    gap = sum(far) / 3 - sum(near) / 3
    assert f"nearer to ckpt1 , by {gap:.2f} ± " in shown
    assert "paired over 3 seeds" in shown
    assert shown.index("More.") > shown.index("nearer")


def test_errata_on_a_stand_in_compare_orders_alone(plan):
    shown = errata(plan, "<!-- measured: columns T1: ori-SAM | ckpt1 -->")
    assert "nearer" not in shown
    assert "On a stand-in only the order can be compared" in shown


def test_errata_show_cells_verdicts_and_the_choice_of_the_epoch(plan):
    shown = errata(plan, "<!-- measured: cells T1: ori-SAM @ 0.1 | S1: ori-SAM @ 0.1 -->")
    assert "T1 ori-SAM, rho 0.1 78.84 82.00 ± 4.97" in shown
    assert "S1 ori-SAM, rho 0.1 79.35 82.00 ± 4.97" in shown
    shown = errata(plan, "<!-- measured: claims C1 -->")
    assert "C1 SAM is above SGD. ✓ supported +11.0 points" in shown
    shown = errata(plan, "<!-- measured: selection -->")
    assert "over 7 cells" in shown
    assert "is +1.00 points from that at the last epoch (3 seeds)" in shown


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("pie T1", "columns, cells, claims, selection"),
        ("columns T1: ori-SAM | nobody", "the columns of T1 SGD, ori-SAM, ckpt1"),
        ("columns T9: A | B", "the tables T1, "),
        ("cells T1: ori-SAM @ 0.2 | T1: ori-SAM @ 9", "the rows of ori-SAM, by rho, 0.1, 0.2"),
        ("cells T1: nobody @ 0.1", "the columns of T1 SGD, ori-SAM"),
        ("claims C1 C9", "the claims C1"),
    ],
)
def test_errata_that_ask_for_what_is_not_there_stop_the_plan(plan, text, allowed):
    path = plan.papers["geometry_sam"].folder / "errata.md"
    path.write_text(f"<!-- measured: selection -->\n<!-- measured: {text} -->")
    with pytest.raises(InputError, match=r"geometry_sam/errata\.md: measured") as told:
        directives.check(plan)
    assert f"allowed: {allowed}" in str(told.value)


def test_errata_of_a_table_that_is_left_out_say_nothing(plan):
    del plan.papers["geometry_sam"].tables["S1"]
    text = "<!-- measured: columns S1: ori-SAM | condition=2 -->"
    assert "Measured" not in errata(plan, text)
    directives.check(plan)
