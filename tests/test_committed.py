"""The results that the repository holds: whole, of today's plan, small, and taken as built."""

import json
import shutil

import pytest

from conftest import ROOT, Project
from samscope import stages
from samscope.config.profile import read_config
from samscope.plan.load import load_plan
from samscope.spec import Cell

PROFILES = ("cpu",)


@pytest.fixture(params=PROFILES)
def plan(request):
    return load_plan({**read_config(str(ROOT / "config.yaml")), "profile": request.param}, ROOT)


def test_every_run_says_what_its_digest_is_of(plan):
    """From its own record, without a plan: a later default or a moved module changes no digest."""
    specs = sorted((plan.results / "runs").rglob("spec.json"))
    assert specs
    for path in specs:
        held = json.loads(path.read_text())
        cell = Cell.from_dict(held["cell"], path)
        assert cell.digest(held["seed"]) == held["digest"], path
        assert path.parent.name == f"seed={held['seed']}"


def test_every_run_is_there_and_whole(plan):
    for name, stage in stages.STAGES.items():
        for id_, asked in stages.runs(plan, name).items():
            assert stage.is_built(asked), (name, id_)
            for run in asked:
                assert stage.is_made(run), (name, run.name)


def test_there_is_no_run_that_nothing_asks_for(plan):
    asked = {run.folder for runs in stages.runs(plan, "train").values() for run in runs}
    assert {path.parent for path in (plan.results / "runs").rglob("spec.json")} == asked


def test_they_are_small(plan):
    files = [p for p in (plan.results / "runs").rglob("*") if p.is_file()]
    small = [p for p in files if not p.name.startswith("weights")]
    assert 0 < sum(p.stat().st_size for p in small) < 1e7  # a third of it, packed


def test_nothing_is_made_for_the_page(plan, tmp_path):
    """Of a clone, even when asked to make what is missing, for nothing is."""
    project = Project(tmp_path)
    project.write("config.yaml", {"profile": plan.profile, "papers": list(plan.papers)})
    left_out = shutil.ignore_patterns("weights*", ".lock")
    here = project.folder / "results" / plan.profile / "runs"
    shutil.copytree(plan.results / "runs", here, ignore=left_out, copy_function=shutil.copyfile)
    for options in ((), ("--config", "train=True")):
        jobs = project.planned_jobs(*options)
        assert jobs["table"] == sum(len(paper.tables) for paper in plan.papers.values())
        assert not {*stages.STAGES, "dataset"} & set(jobs)
