"""environment.yml, pyproject.toml and requirements.lock name the same packages and versions."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def locked(python: str) -> dict[str, str]:
    """Pinned versions for a Python version, from the lock."""
    requirements = [Requirement(r) for r in re.findall(r"^([^\s#-][^\\\n]*)", LOCK, re.M)]
    place = {
        "python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux",
        "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    chosen = [r for r in requirements if r.marker is None or r.marker.evaluate(place)]
    return {r.name: str(r.specifier) for r in chosen}


def test_conda_pins_are_the_locks():
    python = next(d for d in CONDA if isinstance(d, str) and d.startswith("python="))
    pins = [Requirement(p) for p in CONDA[-1]["pip"] if not p.startswith("--")]
    lock = locked(python.removeprefix("python="))
    assert {p.name: str(p.specifier) for p in pins} == {p.name: lock[p.name] for p in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {Requirement(d).name for d in project["dependencies"]} == {p.name for p in pins}


def test_every_package_of_the_lock_has_a_hash_and_none_names_an_index():
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(blocks) > 40
    assert [b for b in blocks if "--hash=sha256:" not in b] == []
    assert not re.search(r"index-url|find-links|https?://", LOCK)
