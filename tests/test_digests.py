"""What counts as a change of code, and what a warm child does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from samscope import CONFIGURATION, digests, numerics
from samscope.run import warm

PARTS = {
    "__init__.py": "",
    "a.py": "from pkg import b\nfrom pkg.b import TABLE\n\n\ndef f():\n    return b.g(TABLE)\n",
    "b.py": (
        '"""What b does."""\nimport pkg.c\n\nRegistry = dict\n'
        'TABLE: Registry[str, int] = {"x": 1}\n\n'
        'def g(value):\n    """Two."""\n    return pkg.c.X  # why\n\ndef unused():\n    return 1\n'
    ),
    "c.py": "X = 1\nY = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose digests are taken, and a function that edits a file of it."""
    folder = tmp_path / "pkg"
    folder.mkdir()
    for name, text in PARTS.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(digests, "_PACKAGE", folder)

    def edit(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    yield edit
    _forget()


def _forget() -> None:
    digests.digest.cache_clear()
    digests._module.cache_clear()
    digests._piece.cache_clear()


def digest(*entries: str) -> str:
    _forget()
    return digests.digest(*(entries or ("pkg.a:f",)))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("b.py", "# why", "# because"),
        ("b.py", "Two.", "2"),
        ("a.py", "    return", "    # x\n    return"),
        ("b.py", "    return 1", "    return 2"),  # of what is not used
        ("c.py", "Y = 1", "Y = 2"),
        ("b.py", '{"x": 1}', '{"x": 1, "y": 2}'),  # of hundreds of entries a job uses one
        ("a.py", "def f():", "def f() -> int:"),
    ],
)
def test_what_a_function_does_not_use_does_not_count(package, name, old, new):
    before = digest()
    package(name, old, new)
    assert digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("c.py", "X = 1", "X = 2"),
        ("b.py", "return pkg.c.X", "return pkg.c.Y"),
        ("b.py", "def g(value):", "def g(value, other=1):"),
        ("a.py", "b.g(TABLE)", "b.g(None)"),
    ],
)
def test_what_it_uses_counts_wherever_it_is(package, name, old, new):
    before = digest()
    package(name, old, new)
    assert digest() != before


def test_a_module_counts_whole_and_so_do_the_files_of_a_folder(package, tmp_path):
    before = digest("pkg.b")
    package("b.py", "    return 1", "    return 2")
    assert digest("pkg.b") != before
    (tmp_path / "pkg/e").mkdir()
    before = digest("pkg.e/")
    (tmp_path / "pkg/e/page.html").write_text("<p>")
    assert digest("pkg.e/") != before


def test_what_is_not_there_is_refused():
    for entry in ("samscope.nowhere:f", "samscope.digests:nothing", "samscope.nowhere"):
        with pytest.raises(LookupError, match=entry):
            digests.digest(entry)


def test_what_measures_is_found_at_any_depth():
    """The code of the spectra reaches from the stage to the vectors that Lanczos starts with."""
    seen: dict[str, str] = {}
    digests._collect(digests._module("samscope.stages.curvature"), "_measured", seen)
    assert {
        "samscope.measure.lanczos:spectrum", "samscope.measure.hessian:Hessian",
        "samscope.seeding:derive", "samscope.train.feed:Feed", "samscope.optim.ratio:regions",
    } <= set(seen)  # fmt: skip
    assert not [name for name in seen if name.startswith("samscope.models.cnn")]


def test_without_a_server_the_command_runs_by_itself(monkeypatch):
    monkeypatch.delenv(warm.SERVER, raising=False)
    assert warm.main(["x"], lambda argv: 7 if argv == ["x"] else 1) == 7
    monkeypatch.setenv(warm.SERVER, "/nowhere/socket")
    assert warm.main(["x"], lambda argv: 7) == 7


def test_a_job_of_a_cluster_does_not_compute_in_the_server_of_who_submits_it(monkeypatch):
    for name in (numerics.MODE, "PATH", CONFIGURATION):  # put back after the test
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv(warm.SERVER, "/of/another/workflow")
    warm.hand_down({"profile": "quick"})
    assert warm.SERVER not in os.environ


def test_what_the_server_imports_for_a_command_is_there():
    """A module of the package that is gone would stop every job of the workflow."""
    for names in warm._IMPORTS.values():
        for name in (n for n in names if n.startswith("samscope.")):
            base = ROOT / "src" / Path(*name.split("."))
            assert base.with_suffix(".py").exists() or (base / "__init__.py").exists(), name


def test_a_warm_child_is_the_command(tmp_path, monkeypatch):
    """Same folder, output and exit status; the server leaves with the process that started it."""
    server = warm.start()
    path = os.environ[warm.SERVER]
    try:
        call = [sys.executable, "-m", "samscope", "plan", "--config", "absent.yaml"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert str(tmp_path) in done.stderr
    finally:
        server.stdin.close()
        assert server.wait(20) == 0
        monkeypatch.delenv(warm.SERVER)
    assert not Path(path).parent.exists()


def test_jobs_of_a_workflow_share_the_plan_that_it_began_with(project, monkeypatch):
    """It is opened once; an edit of a paper while the workflow runs does not reach its jobs."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv(CONFIGURATION, json.dumps(project.config))
    server = warm.start()
    env = {**project.environment, warm.SERVER: os.environ[warm.SERVER]}

    def asked() -> str:
        call = [sys.executable, "-m", "samscope", "claims", "another"]
        return subprocess.run(call, env=env, capture_output=True, text=True).stderr

    try:
        told = asked()
        assert "paper: another is not allowed; allowed: geometry_sam" in told
        (project.folder / "workflow/papers/geometry_sam/paper.yaml").write_text("no paper")
        assert asked() == told
    finally:
        server.stdin.close()
        assert server.wait(20) == 0
        monkeypatch.delenv(warm.SERVER)
    assert "paper.yaml" in asked()
