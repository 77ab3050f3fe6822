"""A real Slurm on this machine: its jobs are killed, the workflow goes on to the same bytes."""

import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from chaos import digests
from conftest import Project
from loopback_slurm import NODES, command, idle, jobs, lacking, slurm

pytestmark = pytest.mark.slurm
PLUGIN = "snakemake_executor_plugin_slurm"
CALL = ("snakemake", "train_all", "--workflow-profile", "profiles/slurm")
OPTIONS = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2")
RUNS = "results/tiny/runs/cnn3-digits"


@pytest.fixture(scope="module")
def cluster():
    if lacking():
        pytest.skip(f"no {', '.join(lacking())} here: Debian's packages slurm-wlm and munge")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        with slurm(Path(folder)) as env:
            yield env
        told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert folder not in told  # no daemon and no job is left


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a workflow without a cluster leaves of its trained cells."""
    project = longer(tmp_path_factory.mktemp("local"))
    done = project.snakemake("train_all")
    assert done.returncode == 0, done.stdout
    return digests(project)


def longer(folder: Path) -> Project:
    """Two cells of two seeds, which train long enough to be killed meanwhile, and no more."""
    project = Project(folder)
    scale = "workflow/papers/geometry_sam/scale/tiny.yaml"
    told = yaml.safe_load((folder / scale).read_text())
    told["protocol"]["epochs"], told["stages"] = 100, {}
    project.write(scale, told)
    return project


def wait(ready, process: subprocess.Popen) -> None:
    while not ready():
        assert process.poll() is None, "the workflow ended too early"
        time.sleep(0.1)


@pytest.mark.skipif(not find_spec(PLUGIN), reason=f"needs pip install {PLUGIN.replace('_', '-')}")
def test_jobs_that_are_killed_go_on(tmp_path, cluster, expected, monkeypatch):
    """One job is cancelled, of another the step is killed: Snakemake submits both again."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    project = longer(tmp_path)
    log = tmp_path / "told.txt"
    with log.open("w") as told:
        place = {"cwd": tmp_path, "env": project.environment}
        workflow = subprocess.Popen((*CALL, *OPTIONS), **place, stdout=told, stderr=told)
    try:
        # Both are at work: each has a node of its own.
        wait(lambda: len(list(tmp_path.glob(f"{RUNS}/*/*/seed=0"))) == len(NODES), workflow)
        one, other = jobs(cluster, "running")
        command(cluster, "scancel", str(one))
        command(cluster, "scancel", "--signal=KILL", f"{other}.0")
        wait(lambda: not {one, other} & set(jobs(cluster)), workflow)
        assert not list(tmp_path.glob(f"{RUNS}/*/*/metrics.json"))
        assert workflow.wait(600) == 0, log.read_text()
    finally:
        workflow.kill()
    assert len(jobs(cluster, "cancelled") + jobs(cluster, "failed")) == 2
    assert digests(project) == expected
    assert idle(cluster) == list(NODES)


def test_queues_of_an_array_share_the_cells(tmp_path, cluster, expected):
    project = longer(tmp_path)
    done = project.snakemake("data/digits.json")
    assert done.returncode == 0, done.stdout
    env = {**cluster, **project.environment}
    queue = ("sbatch", "--wait", "--array=1-2", "--wrap", "samscope queue", "--output=queue-%a.txt")
    subprocess.run(queue, cwd=tmp_path, env=env, check=True, timeout=600)
    told = "".join(path.read_text() for path in tmp_path.glob("queue-*.txt"))
    made = [int(line.split()[1]) for line in told.splitlines() if line.startswith("tiny: ")]
    assert len(made) == 2
    assert sum(made) == 4
    done = project.snakemake("train_all")
    assert "Nothing to be done" in done.stdout, done.stdout
    assert digests(project) == expected
