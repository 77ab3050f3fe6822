"""What the README and the pages say was found is what the committed records give."""

import shutil

import pytest

from chromium import AXE, BINARY, Chromium
from conftest import ROOT, Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A clone with the profiles of the README, built from the committed records alone."""
    project = Project(tmp_path_factory.mktemp("built"))
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
    return project


def test_the_readme_is_made_of_the_committed_records(built):
    done = built.run("python", "docs/build.py")
    assert done.returncode == 0, done.stdout
    for name in ("README.md", "docs/results.md", "docs/T3.md"):
        assert (built.folder / name).read_text() == (ROOT / name).read_text(), name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.skipif(not BINARY, reason="no Chromium (Debian: apt install chromium)")
@pytest.mark.skipif(not AXE, reason="no axe-core: AXE=path/of/axe.min.js, as npm has it")
def test_axe_finds_nothing_on_the_pages_and_none_is_wider_than_the_window(built, tmp_path):
    paths = sorted((built.folder / "results/decide/report").glob("*.html"))
    assert len(paths) == 6
    browser = Chromium(tmp_path)
    try:
        for path in paths:
            for scheme in ("light", "dark"):
                browser.screen(1440, 900, scheme)
                browser.open(path.as_uri())
                assert browser.violations() == [], (path.name, scheme)
            for width in (390, 768, 1440):  # all that folds is open
                browser.screen(width, 900)
                wide = browser.run("document.documentElement.scrollWidth")
                assert wide <= width, (path.name, width)
    finally:
        browser.close()
