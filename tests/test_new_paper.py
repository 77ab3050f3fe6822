"""`samscope new paper`: the example is a paper that runs as it is."""

import shutil

import pytest

from conftest import ROOT, Project
from samscope.config.paper import read_paper
from samscope.errors import InputError
from samscope.run.project import new_paper, open_project


def project(tmp_path):
    shutil.copytree(ROOT / "workflow" / "scales", tmp_path / "workflow" / "scales")
    shutil.copytree(ROOT / "workflow" / "new_paper", tmp_path / "workflow" / "new_paper")
    return tmp_path / "workflow"


def test_it_is_a_paper_of_its_own(tmp_path):
    workflow = project(tmp_path)
    folder = new_paper(workflow, "mine_2")
    plan = open_project({"profile": "quick", "papers": ["mine_2"]}, tmp_path)
    assert read_paper(folder).name == "mine_2"
    assert sorted(plan.specs) == ["cnn3-digits/sam/rho=0.05", "cnn3-digits/sgd/base"]


@pytest.mark.parametrize("name", ["", "2nd", "Mine", "a-b", "../up", "a/b", "a b", "é", "a" * 41])
def test_a_name_that_cannot_be_one(tmp_path, name):
    workflow = project(tmp_path)
    with pytest.raises(InputError, match=r"samscope new paper: name: .* small letters"):
        new_paper(workflow, name)
    assert not (workflow / "papers").exists()


def test_nothing_is_overwritten(tmp_path):
    workflow = project(tmp_path)
    own = new_paper(workflow, "mine") / "errata.md"
    own.write_text("of mine")
    with pytest.raises(InputError, match=r"name: mine .* a new one"):
        new_paper(workflow, "mine")
    assert own.read_text() == "of mine"


@pytest.mark.slow
def test_snakemake_makes_its_page(tmp_path):
    project = Project(tmp_path)
    assert project.run("samscope", "new", "paper", "mine").returncode == 0
    config = project.folder / "config.yaml"
    config.write_text("profile: quick\npapers: [mine]\n")
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    assert "The title of the paper" in (
        project.folder / "results/quick/report/index.html"
    ).read_text(encoding="utf-8")
