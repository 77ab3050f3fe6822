"""A real Slurm on this machine: its jobs are killed, the workflow goes on to the same bytes."""

import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from chaos import digests
from conftest import Project
from loopback_slurm import NODES, command, cut, idle, jobs, lacking, node, slurm

pytestmark = pytest.mark.slurm
PLUGIN = "snakemake_executor_plugin_slurm"
CALL = ("snakemake", "train_all", "--workflow-profile", "profiles/slurm")
OPTIONS = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2")
plugin = pytest.mark.skipif(
    not find_spec(PLUGIN), reason=f"needs pip install {PLUGIN.replace('_', '-')}"
)
RUNS = "results/tiny/runs/cnn3-digits"


@pytest.fixture
def cluster(monkeypatch):
    if lacking():
        pytest.skip(f"no {', '.join(lacking())} here: Debian's packages slurm-wlm and munge")
    place = tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")
    with place as folder, slurm(Path(folder)) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        yield env


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
    told["protocol"]["epochs"], told["stages"] = 200, {}
    project.write(scale, told)
    return project


def wait(ready, process: subprocess.Popen) -> None:
    while not ready():
        assert process.poll() is None, "the workflow ended too early"
        time.sleep(0.1)


@contextmanager
def at_work(cluster, project: Project, expected: dict[str, str]):
    """A workflow and its two jobs, which train; it ends like one without a cluster all the same."""
    log = project.folder / "told.txt"
    with log.open("w") as told:
        place = {"cwd": project.folder, "env": project.environment}
        workflow = subprocess.Popen((*CALL, *OPTIONS), **place, stdout=told, stderr=told)
    try:
        # Each has a node of its own.
        states = f"{RUNS}/*/*/*/state.bin"
        wait(lambda: len(list(project.folder.glob(states))) == len(NODES), workflow)
        yield workflow, *jobs(cluster, "running")
        assert workflow.wait(900) == 0, log.read_text()
    finally:
        workflow.kill()
    assert digests(project) == expected
    assert idle(cluster) == list(NODES)


@plugin
def test_jobs_that_are_killed_go_on(tmp_path, cluster, expected):
    """One job is cancelled, of another the step is killed: Snakemake submits both again."""
    with at_work(cluster, longer(tmp_path), expected) as (workflow, one, other):
        command(cluster, "scancel", str(one))
        command(cluster, "scancel", "--signal=KILL", f"{other}.0")
        wait(lambda: not {one, other} & set(jobs(cluster)), workflow)
        assert not list(tmp_path.glob(f"{RUNS}/*/*/metrics.json"))
    assert len(jobs(cluster, "cancelled") + jobs(cluster, "failed")) == 2


@plugin
def test_jobs_that_run_out_of_time_go_on(tmp_path, cluster, expected):
    """Slurm ends both by their limits of time: Snakemake submits both again."""
    with at_work(cluster, longer(tmp_path), expected) as (workflow, *both):
        for job in both:
            # Slurm looks for what is late every half minute: so long they stand still.
            command(cluster, "scancel", "--signal=STOP", f"{job}.0")
            command(cluster, "scontrol", "update", f"jobid={job}", "EndTime=now")
        wait(lambda: not set(both) & set(jobs(cluster)), workflow)
        assert not list(tmp_path.glob(f"{RUNS}/*/*/metrics.json"))
    assert jobs(cluster, "timeout") == both


@plugin
def test_the_job_of_a_node_that_dies_goes_on(tmp_path, cluster, expected):
    """Slurm takes the node for down and starts its job again, on this or another."""
    with ExitStack() as later, at_work(cluster, longer(tmp_path), expected) as (workflow, *both):
        job = cut(cluster, NODES[0])
        assert job in both
        wait(lambda: "down" in command(cluster, "sinfo", "-n", NODES[0], "-o", "%T"), workflow)
        later.enter_context(node(cluster, NODES[0]))
    assert "Restarts=1" in command(cluster, "scontrol", "show", "job", str(job))


def test_queues_of_an_array_share_the_cells(tmp_path, cluster, expected):
    project = longer(tmp_path)
    done = project.snakemake("data/digits.json")
    assert done.returncode == 0, done.stdout
    queue = ("sbatch", "--wait", "--array=1-2", "--wrap", "samscope queue", "--output=queue-%a.txt")
    subprocess.run(queue, cwd=tmp_path, env=project.environment, check=True, timeout=600)
    told = "".join(path.read_text() for path in tmp_path.glob("queue-*.txt"))
    made = [int(line.split()[1]) for line in told.splitlines() if line.startswith("tiny: ")]
    assert len(made) == 2
    assert sum(made) == 4
    done = project.snakemake("train_all")
    assert "Nothing to be done" in done.stdout, done.stdout
    assert digests(project) == expected
