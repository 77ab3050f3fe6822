"""What is installed: torch and NumPy for the library, for the pipeline the pins of the lock."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
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
    asked = [*PROJECT["dependencies"], *EXTRAS["pipeline"]]
    assert {Requirement(d).name for d in asked} == {p.name for p in pins}


def test_every_package_of_the_lock_has_a_hash_and_none_names_an_index():
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(blocks) > 40
    assert [b for b in blocks if "--hash=sha256:" not in b] == []
    assert not re.search(r"index-url|find-links|https?://", LOCK)


def test_the_wheel_is_typed_and_asks_for_torch_and_numpy_alone(tmp_path):
    build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.iterdir()
    with zipfile.ZipFile(path) as wheel:
        assert "samscope/py.typed" in wheel.namelist()
        (about,) = (n for n in wheel.namelist() if n.endswith("dist-info/METADATA"))
        asked = message_from_bytes(wheel.read(about)).get_all("Requires-Dist")
    needed = [r for r in map(Requirement, asked) if r.marker is None]
    assert {r.name for r in needed} == {"torch", "numpy"}


# As where only the library is installed: the packages of every extra are not to be found.
ALONE = """
import sys

finders = sys.meta_path[:]

class Present:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            return None
        return next(filter(None, (f.find_spec(name, path, target) for f in finders)), None)

sys.meta_path[:] = [Present]
"""

LIBRARY = """
import torch
from samscope import optim
from samscope.measure import curvature

model, batch = torch.nn.Linear(3, 2), (torch.randn(8, 3), torch.arange(8) % 2)
loss = torch.nn.functional.cross_entropy
optimizer = optim.SAM(model.parameters(), torch.optim.SGD, rho=0.1, lr=0.1)

def closure():
    optimizer.zero_grad()
    loss(model(batch[0]), batch[1]).backward()

optimizer.step(closure)
assert curvature(model, loss, batch).trace.value > 0
"""


def alone(code, folder):
    """Run code in a folder where nothing but the library and what it asks for is installed."""
    asked = {
        canonicalize_name(Requirement(r).name) for e in EXTRAS.values() for r in e
    } - {PROJECT["name"]}  # fmt: skip
    blocked = {
        module for module, homes in packages_distributions().items()
        if asked & set(map(canonicalize_name, homes))
    }  # fmt: skip
    assert {"yaml", "pandas", "snakemake", "pyhessian"} <= blocked
    command = [sys.executable, "-c", ALONE.format(blocked=blocked) + code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_library_runs_alone(tmp_path):
    run = alone(LIBRARY, tmp_path)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("command", [["plan"], ["report"], ["measure", "curvature", "sgd/base"]])
def test_a_command_says_what_to_install(command, tmp_path):
    run = alone(f"from samscope.__main__ import main\nsys.exit(main({command}))", tmp_path)
    said = 'samscope: needs yaml: pip install "samscope[pipeline]"\n'
    assert (run.returncode, run.stderr) == (2, said)
