"""A small copy of the project to run, edit and break."""

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import planner
from samscope import numerics, stages
from samscope.plan.load import load_plan

# Before a test imports torch.
numerics.pin()
# What compiles here is a kernel or two: processes to compile in take longer to start than to help.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

ROOT = Path(__file__).parents[1]
_SCALE = "workflow/papers/geometry_sam/scale/{}.yaml"


class Project:
    """A folder with the workflow and a scale of its own: one table, two seeds, two epochs.

    Its commands run the installed package, or a copy in its own ``src`` where a test makes one.
    One that is there already is taken as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "config.yaml").exists():
            self._lay_out(folder)
        self.config = yaml.safe_load((folder / "config.yaml").read_text())

    def _lay_out(self, folder: Path) -> None:
        for name in ("Snakefile", "environment.yml"):
            shutil.copy(ROOT / name, folder / name)
        for name in ("workflow", "profiles"):
            shutil.copytree(ROOT / name, folder / name)
        self.write("workflow/scales/tiny.yaml", {"title": "tiny", "description": "For a test."})
        study = yaml.safe_load((folder / _SCALE.format("quick")).read_text())
        study["protocol"] |= {"epochs": 2, "train_size": 100}
        study["stand_ins"]["batch_size"] = {"1024": 100}  # the most of so few
        study["tables"] = {"T1": {"seeds": 2, "only": {"rho": [0.2]}, "reason": "a test"}}
        study["stages"]["curvature"] |= {"seeds": 1, "images": 40, "top_n": 2, "epochs": [1]}
        study["stages"]["curvature"] |= {"products": 10, "trace_products": 4}
        study["stages"]["landscape"] |= {"images": 40, "points": 5}
        study["stages"]["curvature"]["pooled"] |= {"batches": 2, "images": 20}
        self.write(_SCALE.format("tiny"), study)
        config = {"profile": "tiny", "papers": ["geometry_sam"], "tables": ["T1"]}
        self.write("config.yaml", config)

    def write(self, path: str, value: object) -> None:
        (self.folder / path).write_text(yaml.safe_dump(value, sort_keys=False))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def scale(self, **changes: object) -> None:
        """Change the study's part of the profile; ``stages`` by stage and setting."""
        path = self.folder / _SCALE.format("tiny")
        scale = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            if key == "stages":
                value = {name: scale[key][name] | value[name] for name in value}
            scale[key] = scale[key] | value if isinstance(value, dict) else value
        self.write(_SCALE.format("tiny"), scale)

    def few_figures(self) -> None:
        """Leave five of the paper's figures, of each room of measurements one."""
        path = "workflow/papers/geometry_sam/paper.yaml"
        about = yaml.safe_load((self.folder / path).read_text())
        kept = ("accuracy_vs_rho", "region_shares", "lambda_max", "noise_floor", "lines")
        about["figures"] = [entry for entry in about["figures"] if entry["draw"] in kept]
        self.write(path, about)

    def second_paper(self, **curvature: object) -> None:
        """A paper named second, whose table A has the rows of T1, with settings of its own."""
        study = self.folder / "workflow/papers/geometry_sam"
        second = study.with_name("second")
        for part in ("reported", "scale"):
            (second / part).mkdir(parents=True)
        about = yaml.safe_load((study / "paper.yaml").read_text())
        about |= {
            "name": "second",
            "figures": [],
            "answers": [],
            "tables": {"A": about["tables"]["T1"]},
        }
        self.write("workflow/papers/second/paper.yaml", about)
        shutil.copy(study / "reported/T1.csv", second / "reported/A.csv")
        scale = yaml.safe_load((study / "scale/tiny.yaml").read_text())
        for leaf in ("batch_size", "epochs"):  # what it has no row of it may not name
            del scale["stand_ins"][leaf]
        scale["tables"] = {"A": scale["tables"]["T1"]}
        for stage in scale["stages"].values():
            stage["where"]["variant"] = ["sam"]
        scale["stages"]["curvature"] |= {"where": {"variant": ["sam", "ckpt12"]}, **curvature}
        self.write("workflow/papers/second/scale/tiny.yaml", scale)

    def own_source(self) -> Path:
        """A copy of the package that its commands run, to edit."""
        return shutil.copytree(ROOT / "src", self.folder / "src") / "samscope"

    def copy(self, folder: Path) -> "Project":
        """The same project with all it has built, elsewhere."""
        return Project(shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True))

    @property
    def environment(self) -> dict[str, str]:
        """Of its commands: a source of its own counts before the tested one."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        beside = filter(None, (os.environ.get("PYTHONPATH"),))
        source = ":".join((f"{self.folder}/src", f"{ROOT}/src", *beside))
        return {**os.environ, "PATH": path, "PYTHONPATH": source}

    def run(self, *args: str, timeout: int = 900) -> subprocess.CompletedProcess:
        """Run a command of the environment here; stdout and stderr together."""
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        place = {"cwd": self.folder, "env": self.environment}
        return subprocess.run(args, **place, **piped, timeout=timeout)

    def start(self, *args: str) -> subprocess.Popen:
        """Start a command, in a process group of its own, to be killed."""
        silent = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        place = {"cwd": self.folder, "env": self.environment}
        return subprocess.Popen(args, **place, **silent, start_new_session=True)

    def snakemake(self, *args: str, timeout: int = 900) -> subprocess.CompletedProcess:
        return self.run("snakemake", "--cores", "2", *args, timeout=timeout)

    def dry_run(self, *args: str) -> subprocess.CompletedProcess:
        """What Snakemake would do; it is imported once for all dry runs."""
        return planner.call(["--cores", "2", *args, "--dry-run"], self.folder, self.environment)

    def planned_jobs(self, *args: str) -> dict[str, int]:
        """Jobs by rule that a dry run announces."""
        done = self.dry_run(*args, "--quiet", "rules")
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
    """Built once for all workers of a test run: by the first that comes; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, told = shared / "built", shared / "built/told.txt"
    with (shared / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        built = Project(folder)
        if not told.exists():
            built.few_figures()
            done = built.snakemake()
            assert done.returncode == 0, done.stdout
            told.write_text(done.stdout)
    return built


@pytest.fixture
def built(_built: Project, tmp_path: Path) -> Project:
    """A copy of a project that was run to the end once; ``told.txt`` is what was said."""
    return _built.copy(tmp_path)


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    """Times of the files that match, to see which were written again."""
    found = (p for p in sorted(folder.glob(pattern)) if p.is_file() and ".snakemake" not in p.parts)
    return {str(p): p.stat().st_mtime_ns for p in found}


def record_of_all(project) -> None:
    """Records of specs as if all had been made elsewhere; for dry runs, which read no more.

    The times are as after ``git clone``, and Snakemake has no memory of a job.
    """

    plan, drawn = load_plan(dict(project.config), project.folder), random.Random(0)
    for name, stage in stages.STAGES.items():
        for id_, asked in stages.runs(plan, name).items():
            told = [{"seed": run.seed, **run.identity} for run in asked]
            settings = {"settings": asked[0].settings} if asked[0].settings else {}
            folder = plan.run_dir(id_)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / stage.record).write_text(json.dumps({"runs": told, **settings}))
            for file in (stage.record, *stage.beside):
                (folder / file).touch()
                at = 1.7e9 + drawn.random() * 1e7
                os.utime(folder / file, (at, at))


@pytest.fixture
def recorded(project):
    project.few_figures()
    record_of_all(project)
    return project


def planned(project, *args: str) -> dict[str, int]:
    """Jobs of the stages that a dry run announces, and that it leaves every file as it is."""
    before = stamps(project.folder, "**/*")
    jobs = project.planned_jobs(*args)
    assert stamps(project.folder, "**/*") == before
    return {rule: count for rule, count in jobs.items() if rule in stages.STAGES}


def unbuilt(project) -> dict[str, int]:
    """By stage, how many records are of other runs than the plan's, by the project's source."""
    done = project.run(sys.executable, "-c", UNBUILT)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


UNBUILT = """
import json
from pathlib import Path
from samscope import stages
from samscope.config.profile import read_config
from samscope.run.project import open_project
plan = open_project(read_config("config.yaml"), Path())
left = {}
for name, stage in stages.STAGES.items():
    left[name] = sum(not stage.is_built(asked) for asked in stages.runs(plan, name).values())
print(json.dumps({name: count for name, count in left.items() if count}))
"""
