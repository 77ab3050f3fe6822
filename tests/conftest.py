"""A small copy of the project to run, edit and break."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

# Before torch is imported: two threads on a busy machine are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]


class Project:
    """A folder with the workflow and a scale of its own: one table, two seeds, two epochs.

    Its commands run the installed package, or a copy in its own ``src`` where a test makes one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Snakefile", "environment.yml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("workflow", "profiles"):
            shutil.copytree(ROOT / name, folder / name)
        scale = yaml.safe_load((folder / "workflow/scales/quick.yaml").read_text())
        study = scale["papers"]["geometry_sam"]
        study["protocol"] |= {"epochs": 2, "train_size": 100}
        study["tables"] = {"T1": {"seeds": 2, "only": {"rho": [0.2]}, "reason": "a test"}}
        study["curvature"] |= {"seeds": 1, "images": 40, "top_n": 2, "epochs": [1]}
        study["landscape"] |= {"images": 40, "points": 5}
        study["curvature"]["pooled"] |= {"batches": 2, "images": 20}
        self.write("workflow/scales/tiny.yaml", scale)
        self.config = {"profile": "tiny", "papers": ["geometry_sam"], "tables": ["T1"]}
        self.write("config.yaml", self.config)

    def write(self, path: str, value: object) -> None:
        (self.folder / path).write_text(yaml.safe_dump(value, sort_keys=False))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def scale(self, **changes: object) -> None:
        """Change the study's part of the scale."""
        path = self.folder / "workflow/scales/tiny.yaml"
        scale = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            scale["papers"]["geometry_sam"][key] |= value
        self.write("workflow/scales/tiny.yaml", scale)

    def copy(self, folder: Path) -> "Project":
        """The same project with all it has built, elsewhere."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        twin = object.__new__(Project)
        twin.folder, twin.config = folder, self.config
        return twin

    def run(self, *args: str, timeout: int = 300) -> subprocess.CompletedProcess:
        """Run a command of the environment here; stdout and stderr together."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            args,
            cwd=self.folder,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def snakemake(self, *args: str, timeout: int = 300) -> subprocess.CompletedProcess:
        return self.run("snakemake", "--cores", "2", *args, timeout=timeout)

    def planned_jobs(self, *args: str) -> dict[str, int]:
        """Jobs by rule that a dry run announces."""
        done = self.snakemake(*args, "--dry-run", "--quiet", "rules")
        assert done.returncode == 0, done.stdout
        lines = [line.split() for line in done.stdout.splitlines()]
        jobs = {r[0]: int(r[1]) for r in lines if len(r) == 2 and r[1].isdigit()}
        jobs.pop("total", None)
        return jobs


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits."""
    from samscope.data import prepare

    folder = tmp_path_factory.mktemp("data")
    prepare("digits", folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing is built."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    built = Project(tmp_path_factory.mktemp("built"))
    done = built.snakemake()
    assert done.returncode == 0, done.stdout
    return built


@pytest.fixture
def built(_built: Project, tmp_path: Path) -> Project:
    """A copy of a project that was run to the end once."""
    return _built.copy(tmp_path)
