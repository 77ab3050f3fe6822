"""An edit reruns what it changes: of the sources, of the numbers printed, of neither."""

import pytest

from conftest import planned, unbuilt
from samscope import stages

STAGES = set(stages.STAGES)


def test_an_edit_of_what_is_not_in_use_plans_nothing(built):
    """Comments, what no one calls; of registries, of a folder of kinds, of another profile."""
    source = built.own_source()
    built.edit("src/samscope/analysis/tables.py", "\n\n\n", "\n\n\n# a comment\n")
    built.edit("workflow/rules/stages.smk", "\n\n", "\n\n# a comment\n")
    built.edit("src/samscope/train/engine.py", "STATE_SHARE = 0.03", "STATE_SHARE = 0.04")
    built.edit("src/samscope/analysis/tables.py", "def write(", "COLUMNS = 1\n\n\ndef write(")
    built.edit("src/samscope/measure/lanczos.py", "import math\n", "import math\n\nPASSES = 2\n")
    kind = 'TITLE = "Unused"\n\n\ndef draw(view): ...\n'
    (source / "analysis/figures/unused.py").write_text(kind)
    for file, before, entry in (
        ("metrics.py", '"test_loss":', '"test_mood": Metric("mood"),'),
        ("optim/mixes.py", 'Mix("magnitude"', 'Mix("x", (G, H, G, H), G),'),
        ("models/__init__.py", '"cnn5": Model(', '"x": Model("cnn", "CNN", {}),'),
    ):
        built.edit(f"src/samscope/{file}", before, f"{entry}\n{before}")
    built.edit("src/samscope/models/resnet.py", "F.relu(", "F.silu(")
    built.edit("src/samscope/data/__init__.py", '"mean": (0.4914,', '"mean": (0.5,')
    built.edit("workflow/scales/cpu.yaml", "title: cpu", "title: another")
    assert built.planned_jobs() == {}
    # What a table uses counts there: its code, and an entry.
    built.edit("src/samscope/analysis/tables.py", "    laid =", "    print(COLUMNS)\n    laid =")
    jobs = built.planned_jobs()
    assert (jobs["table"], jobs["page"]) == (1, 1)
    assert not {*STAGES, "figure", "claims"} & set(jobs)
    built.edit("src/samscope/analysis/tables.py", "    print(COLUMNS)\n", "")
    built.edit("src/samscope/metrics.py", 'Metric("loss"', 'Metric("a loss"')
    assert built.planned_jobs()["table"] == 1


def test_an_edit_of_what_measures_measures_again_and_trains_nothing(built):
    built.own_source()
    built.edit("src/samscope/measure/flatness.py", "restarts=0", "restarts=1")
    jobs = built.planned_jobs()
    assert jobs["curvature"] == 2
    assert not {"train", "landscape"} & set(jobs)
    # Of a job that waits for another Snakemake does not look at the code.
    built.scale(tables={"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a test"}})
    jobs = built.planned_jobs()
    assert (jobs["train"], jobs["curvature"]) == (2, 2)


def test_a_corrected_printed_number_changes_its_table_and_the_figures_that_draw_it(built):
    built.edit("workflow/papers/geometry_sam/reported/T1.csv", "79.55", "79.54")
    jobs = built.planned_jobs()
    assert (jobs["figure"], jobs["table"]) == (5, 1)
    assert not STAGES & set(jobs)


@pytest.mark.parametrize(
    ("file", "old", "new", "cells"),
    [
        # Of a variant one cell, of the model and of the data set both.
        ("optim/mixes.py", 'Mix("sam", (H, H, H, H), H)', 'Mix("sam", (H, H, H, G), H)', 1),
        ("models/__init__.py", "((16, 2), (16, 1), (32, 2))", "((16, 2), (8, 1), (32, 2))", 2),
        ("data/__init__.py", '"mean": (0.3053,)', '"mean": (0.3,)', 2),
    ],
)
def test_an_edit_of_what_is_in_use_is_noticed(recorded, file, old, new, cells):
    recorded.own_source()
    recorded.edit(f"src/samscope/{file}", old, new)
    assert unbuilt(recorded) == {"train": cells, "curvature": cells, "landscape": 1}


def test_an_edited_forward_pass_trains_the_cells_of_its_family(recorded):
    recorded.own_source()
    recorded.edit("src/samscope/models/cnn.py", "return self.linear(", "return 2 * self.linear(")
    assert planned(recorded) == {"train": 2, "curvature": 2, "landscape": 1}
