"""What the README says was found is what the committed records give."""

import shutil

import pytest

from conftest import ROOT, Project


@pytest.mark.slow
def test_the_readme_is_made_of_the_committed_records(tmp_path):
    project = Project(tmp_path)
    for name in ("README.md", "config.yaml"):
        shutil.copy(ROOT / name, project.folder / name)
    shutil.copytree(ROOT / "docs", project.folder / "docs")
    (project.folder / "results").mkdir()
    for records in (ROOT / "results").glob("*.tar.xz"):
        shutil.copy(records, project.folder / "results")
    for profile in ("decide", "cpu"):
        done = project.snakemake("--config", f"profile={profile}", timeout=1800)
        assert done.returncode == 0, done.stdout
        assert "runs 0/0" in done.stdout
    done = project.run("python", "docs/build.py")
    assert done.returncode == 0, done.stdout
    for name in ("README.md", "docs/results.md", "docs/T3.md"):
        assert (project.folder / name).read_text() == (ROOT / name).read_text(), name
