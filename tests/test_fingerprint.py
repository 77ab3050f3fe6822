"""What counts as a change of code, and what a warm child does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from samscope.run import warm
from samscope.store import fingerprint as module

PARTS = {
    "__init__.py": "",
    "a.py": "from pkg import b\n\n\ndef f():\n    return b.g()\n",
    "b.py": '"""What b does."""\nimport pkg.c\n\n\ndef g():\n    """Two."""\n    return 2  # why\n',
    "c.py": "X = 1\n",
    "d.py": "Y = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "pkg"
    folder.mkdir()
    for name, text in PARTS.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(module, "_PACKAGE", folder)
    return folder


def digest(package: Path) -> str:
    module._reduce.cache_clear()
    return module.fingerprint("pkg.a")


def test_code_of_the_imports_counts_and_nothing_else(package):
    before = digest(package)
    (package / "b.py").write_text(PARTS["b.py"].replace("# why", "# because").replace("Two.", "2"))
    (package / "a.py").write_text(PARTS["a.py"].replace("    return", "    # x\n    return"))
    (package / "d.py").write_text("Y = 2\n")
    assert digest(package) == before
    (package / "c.py").write_text("X = 2\n")
    assert digest(package) != before


def test_templates_and_styles_of_a_folder_count(package):
    (package / "e").mkdir()
    (package / "e/__init__.py").write_text("")
    (package / "c.py").write_text("import pkg.e\n")
    before = digest(package)
    (package / "e/page.html").write_text("<p>")
    assert digest(package) != before


def test_all_modules_of_a_package_count(package):
    (package / "e").mkdir()
    (package / "e/__init__.py").write_text("")
    before = module.fingerprint("pkg.e")
    (package / "e/figure.py").write_text("Z = 1\n")
    assert module.fingerprint("pkg.e") != before


def test_every_module_is_found():
    for name in ("samscope.analysis.tables", "samscope.report.build", "samscope.measure.curvature"):
        seen = {}
        module._collect(name, seen)
        assert {name, "samscope.errors"} <= set(seen)


def test_without_a_server_the_command_runs_by_itself(monkeypatch):
    monkeypatch.delenv(warm.SERVER, raising=False)
    assert warm.main(["x"], lambda argv: 7 if argv == ["x"] else 1) == 7
    monkeypatch.setenv(warm.SERVER, "/nowhere/socket")
    assert warm.main(["x"], lambda argv: 7) == 7


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
