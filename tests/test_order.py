"""The order in which a plan's runs are made: every cell once first, by the profile's priority."""

import pytest

from conftest import ROOT, Project
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.plan.order import ordered

SAM = "cnn3-digits/sam/rho=0.2"


def plan_of(project: Project, **config: object):
    return load_plan({**project.config, **config}, project.folder)


def first(plan) -> list[str]:
    """Variant and settings of the runs of the first seed."""
    return [cell.partition("/")[2] for cell, seed in ordered(plan) if seed == 0]


def test_every_cell_has_a_first_seed_before_any_has_a_second(project):
    project.scale(tables={"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a test"}})
    plan = plan_of(project, tables=["T1", "S3"])
    runs = ordered(plan)
    assert sorted(runs) == sorted((c, s) for c, p in plan.cells.items() for s in p.seeds)
    assert [seed for _, seed in runs] == sorted(seed for _, seed in runs)
    assert runs[0] == (SAM, 0)
    assert {seed for _, seed in runs} == {0, 1, 2}


def test_the_priority_names_cells_and_tables(project):
    priority = ["sameckpt3/rho=0.4,condition=2", "cnn3-digits/sam/rho=0.4", "T1"]
    project.scale(priority=priority)
    plan = plan_of(project, tables=["S3", "T1"])
    assert first(plan)[:7] == [
        "sameckpt3/rho=0.4,condition=2", "sam/rho=0.4", "sam/rho=0.1", "sam/rho=0.2",
        "ckpt12/rho=0.2", "sam/rho=0.6", "sameckpt3/rho=0.1,condition=0.1",
    ]  # fmt: skip
    # A table or a cell that this call does not plan is passed over.
    assert first(plan_of(project, tables=["T1"])) == ["sam/rho=0.2", "ckpt12/rho=0.2"]


@pytest.mark.parametrize(
    ("priority", "words"),
    [
        (["T11"], ("tiny.yaml: priority: T11", "T1, T2")),
        (["sam/rho=0.25"], ("sam/rho=0.25", "the end of a cell's id")),
        (["rho=0.2", "am/rho=0.2"], ("am/rho=0.2",)),
        ("T1", ("priority: T1 ",)),
        (["T1", "T1"], ("priority", "each name once")),
    ],
)
def test_an_entry_that_names_nothing_is_refused(project, priority, words):
    project.scale(priority=priority)
    with pytest.raises(InputError) as error:
        plan_of(project, tables=[])
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_the_orders_of_the_profiles():
    config = {"papers": ["geometry_sam"]}
    paper = load_plan({**config, "profile": "paper"}, ROOT)
    assert first(paper)[:16] == [
        "sgd/base", "sam/rho=0.2", "sam/rho=0.4", "sam/rho=0.1", "sam/rho=0.8", "sam/rho=0.6",
        "ckpt1/rho=0.8", "ckpt1/rho=0.2", "ckpt12/rho=0.8", "ckpt12/rho=0.2", "ckpt14/rho=0.8",
        "ckpt23/rho=0.8", "ckpt34/rho=0.2", "sameckpt2/rho=0.1,condition=0.3",
        "sameckpt3/rho=0.4,condition=0.1", "ckpt12/rho=0.1",
    ]  # fmt: skip
    assert {cell.split("/")[0] for cell, _ in ordered(paper)[:16]} == {"resnet18-cifar100"}
    short = load_plan({**config, "profile": "short"}, ROOT)
    tables = short.papers["geometry_sam"].tables
    cells = [cell for cell, seed in ordered(short) if seed == 0]
    for table in ("T3", "T4", "T2", "T1", "S2", "S234", "S3", "S1", "S4"):
        assert set(cells[: len(tables[table].cells)]) <= set(cells)
        new = [cell for cell in tables[table].cells if cell in cells]
        assert cells[: len(new)] == new, table
        cells = cells[len(new) :]
    assert not paper.about.keep_weights
    assert not short.about.keep_weights
