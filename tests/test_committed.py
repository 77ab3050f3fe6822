"""The results that the repository holds: whole, of today's plan, small, and taken as built."""

import json
import shutil
import tarfile
from collections import Counter

import pytest

from conftest import ROOT, Project
from samscope import stages
from samscope.config.profile import read_config
from samscope.run.project import open_project
from samscope.spec import Cell

PROFILES = ("cpu",)
COMPLETE = {f"geometry_sam/{table}" for table in ("T1", "T2", "T3", "E1", "P3")}
"""The tables of which every run is there."""
FROM_CHANGED_TREES = {
    "runs/resnet8_w8-cifar10/": 48,
    "runs/gcn-mutagenicity/sam/rho=0.005,optimizer=adam/": 5,
}
"""Runs of the profile `cpu` that are still to be trained from a clean commit; no other may come."""


@pytest.fixture(params=PROFILES, scope="module")
def plan(request, tmp_path_factory):
    """As a fresh clone has it once a command was called."""
    project = clone(tmp_path_factory.mktemp("clone"), request.param)
    return open_project(
        {**read_config(str(ROOT / "config.yaml")), **project.config}, project.folder
    )


def clone(folder, profile) -> Project:
    project = Project(folder)
    (folder / "results").mkdir()
    shutil.copy(ROOT / f"results/{profile}.tar.xz", folder / "results")
    project.config = {"profile": profile}
    return project


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
        for id_, asked in complete(plan, name).items():
            assert stage.is_built(asked), (name, id_)
            for run in asked:
                assert stage.is_made(run), (name, run.name)


def test_what_else_is_there_is_whole_and_measured(plan):
    """Of a study that is not trained to its end: its runs stand with all that is asked of them."""
    seen = 0
    for name, stage in stages.STAGES.items():
        for asked in stages.runs(plan, name).values():
            for run in asked:
                if (run.folder / "spec.json").exists():
                    assert stage.is_made(run), (name, run.name)
                    seen += name == "train"
    assert seen > sum(map(len, complete(plan, "train").values())) > 50


def complete(plan, stage):
    """The runs of a stage that complete tables ask for, by cell."""
    found = stages.runs(plan, stage)
    return {id_: runs for id_, runs in found.items() if COMPLETE & {*plan.specs[id_].tables}}


def test_there_is_no_run_that_nothing_asks_for(plan):
    asked = {run.folder for runs in stages.runs(plan, "train").values() for run in runs}
    assert {path.parent for path in (plan.results / "runs").rglob("spec.json")} <= asked


def test_they_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "results").glob("*.tar.xz")) < 3.1e7


def test_records_are_of_commits():
    dirty = Counter()
    for path in (ROOT / "results").glob("*.tar.xz"):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith("/provenance.json"):
                    made = json.load(archive.extractfile(member))
                    assert len(made["commit"]) == 40, member.name
                    if made["dirty"]:
                        known = (f for f in FROM_CHANGED_TREES if member.name.startswith(f))
                        dirty[path.name, next(known, member.name)] += 1
    allowed = {("cpu.tar.xz", folder): count for folder, count in FROM_CHANGED_TREES.items()}
    assert dirty == allowed
    told = f"\n- {dirty.total()} runs are of uncommitted code"
    assert told in (ROOT / "README.md").read_text()


def test_nothing_is_made_for_the_page(plan, tmp_path):
    """Of a clone; of the tables that are complete even when asked to make what is missing."""
    project = clone(tmp_path, plan.profile)
    for options, tables in (((), []), (("--config", "train=True"), sorted(COMPLETE))):
        about = {"profile": plan.profile, "papers": list(plan.papers), "tables": tables}
        project.write("config.yaml", about)
        jobs = project.planned_jobs(*options)
        every = sum(len(paper.tables) for paper in plan.papers.values())
        assert jobs["table"] == (len(tables) or every)
        assert not {*stages.STAGES, "dataset"} & set(jobs)
