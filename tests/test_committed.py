"""The results that the repository holds: whole, of today's plan, small, and taken as built."""

import shutil

import pytest

from conftest import ROOT, Project
from samscope.config.reading import read_config
from samscope.plan.papers import load_plan
from samscope.stages import curvature as cell_curvature
from samscope.store import records

PROFILES = ("cpu",)


@pytest.fixture(params=PROFILES)
def plan(request):
    return load_plan({**read_config(str(ROOT / "config.yaml")), "profile": request.param}, ROOT)


def test_every_run_is_there_and_whole(plan):
    for cell, planned in plan.cells.items():
        for seed in planned.seeds:
            run = plan.run_dir(cell) / f"seed={seed}"
            assert records.read_run(run, planned.cell, seed) is not None, run
        used = cell_curvature.used_settings(plan.curvature(cell))
        for seed in plan.measured_seeds(cell):
            run = plan.run_dir(cell) / f"seed={seed}"
            assert cell_curvature.is_measured(run, planned.cell, seed, used), run


def test_they_are_small(plan):
    files = [p for p in (plan.results / "runs").rglob("*") if p.is_file()]
    small = [p for p in files if not p.name.startswith("weights")]
    assert 0 < sum(p.stat().st_size for p in small) < 1e7  # a third of it, packed


def test_nothing_is_trained_for_the_page(plan, tmp_path):
    project = Project(tmp_path)
    project.edit("config.yaml", "tiny", plan.profile)
    project.edit("config.yaml", "- T1", "")
    project.edit("config.yaml", "tables:", "tables: []")
    left_out = shutil.ignore_patterns("weights*", ".lock")
    here = project.folder / "results" / plan.profile / "runs"
    shutil.copytree(plan.results / "runs", here, ignore=left_out, copy_function=shutil.copyfile)
    jobs = project.planned_jobs()
    assert jobs["table"] == sum(len(paper.tables) for paper in plan.papers.values())
    assert not {"train", "curvature", "landscape", "dataset"} & set(jobs)
