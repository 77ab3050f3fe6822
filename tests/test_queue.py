"""The queue: its order, its budget, what it leaves, and the bare machine it runs on."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from pathlib import Path

import pytest
import torch

from conftest import Project
from samscope import stages, tasks
from samscope.config.reading import read_yaml
from samscope.data import prepare
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.run import cli
from samscope.run.queue import run_queue, seconds
from samscope.stages import curvature as cell_curvature
from samscope.stages.bench import Bench
from samscope.store import records, state
from samscope.train import engine
from samscope.train.step import Learner

CNN = "cnn3-digits"
SAM, CKPT12 = f"{CNN}/sam/rho=0.2", f"{CNN}/ckpt12/rho=0.2"
RUNS = [(SAM, 0), (CKPT12, 0), (SAM, 1), (CKPT12, 1)]
"""Of the project of the tests, in order; the curvature of seed 0 is measured."""


def plan_of(project: Project, **config: object):
    return load_plan({**project.config, **config}, project.folder)


def queue(project: Project, **options: object) -> list[str]:
    """Run the queue; the lines of its report."""
    lines: list[str] = []
    run_queue(plan_of(project), lines.append, **options)
    return lines


def content(folder: Path) -> dict[str, bytes]:
    """All records but provenance, which holds times."""
    paths = (p for p in folder.rglob("*") if p.is_file())
    kept = (p for p in paths if p.name not in ("provenance.json", ".lock"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}


def drop_weights(project: Project) -> None:
    about = read_yaml(project.folder / "workflow/scales/tiny.yaml")
    project.write("workflow/scales/tiny.yaml", {**about, "keep_weights": False})


@pytest.fixture(autouse=True)
def _keep_every_state(monkeypatch):
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))


@pytest.fixture
def project(tmp_path, data_dir):
    shutil.copytree(data_dir, tmp_path / "data")
    return Project(tmp_path)


@pytest.fixture(scope="session")
def expected(_built):
    """What the workflow leaves of the project's runs, below ``runs/<cell id>``."""
    return content(_built.folder / "results/tiny/runs")


@pytest.fixture
def made(_built, project):
    """The folder of the project's runs, with all that the workflow makes of them."""
    runs = "results/tiny/runs"
    return Path(shutil.copytree(_built.folder / runs, project.folder / runs))


def measure_nothing(project: Project) -> None:
    project.scale(stages={"curvature": {"where": {"variant": []}}})


# What it leaves


def test_it_leaves_what_the_workflow_leaves(project, expected):
    lines = queue(project)
    made = [line.split()[0] for line in lines if "samples/s" in line]
    assert made == [f"{cell}/seed={seed}" for cell, seed in RUNS]
    assert sum("lambda_max" in line for line in lines) == 2
    assert content(project.folder / "results/tiny/runs") == expected
    assert queue(project) == ["tiny: 0 runs made"]


def test_a_run_has_a_line(project):
    (line,) = (x for x in queue(project, match="/sam/", budget=600.0) if f"{SAM}/seed=1" in x)
    found = re.fullmatch(
        rf"{SAM}/seed=1 test ([\d.]+) % \(best epoch \d\) (\d+) samples/s ([\d.]+) s, (\d+) s left",
        line,
    )
    assert found, line
    run = project.folder / "results/tiny/runs" / SAM / "seed=1"
    metrics = json.loads((run / "metrics.json").read_text())
    assert found[1] == f"{metrics['test_acc_percent']['best_val']:.1f}"
    took = json.loads((run / "provenance.json").read_text())["seconds"]
    assert float(found[3]) == pytest.approx(took, abs=0.06)
    # Two epochs of 100 images, each image once though a step has two passes.
    assert float(found[2]) == pytest.approx(2 * 100 / took, abs=0.51)
    assert 0 < float(found[4]) <= 600
    assert not (project.folder / "results/tiny/runs" / CKPT12).exists()


def test_the_data_set_is_read_once_for_all_cells_that_share_it(project, monkeypatch):
    read, load = [], tasks.load
    monkeypatch.setattr(tasks, "load", lambda task, data: read.append(task) or load(task, data))
    bench, cell = Bench(project.folder / "data"), plan_of(project).cells[SAM].cell
    for same in (cell, cell.but(rho=0.4), cell.but(model="cnn5", variant="sgd", rho=None)):
        assert len(bench.splits(same.task).train) == 100
    assert len(read) == 1
    for size in (90, 100):
        assert len(bench.splits(cell.but(train_size=size).task).train) == size
    assert len(read) == 3


def test_damaged_and_missing_runs_alone_are_made(project, made, expected):
    (made / SAM / "seed=1/history.csv").write_text("damaged")
    shutil.rmtree(made / CKPT12 / "seed=0")
    lines = queue(project)
    trained = [line.split()[0] for line in lines if "samples/s" in line]
    assert trained == [f"{CKPT12}/seed=0", f"{SAM}/seed=1"]
    assert any("history.csv is not what was written" in line for line in lines)
    assert content(made) == expected


def test_a_cell_is_put_together_from_the_runs_it_has(project, made, monkeypatch):
    def third(*args):
        raise OSError("the third run fails")

    run = made / SAM
    shutil.rmtree(run / "seed=0")
    (run / "metrics.json").unlink()
    monkeypatch.setattr(records, "write_run", third)
    with pytest.raises(OSError, match="third"):
        queue(project, match="/sam/")
    monkeypatch.undo()
    train = plan_of(project).cells[SAM].cell
    assert records.read_run(run / "seed=1", train, 1)
    shutil.rmtree(run / "seed=0")
    assert queue(project, match="/sam/")[-1] == "tiny: 1 runs made"
    assert [r["seed"] for r in json.loads((run / "metrics.json").read_text())["runs"]] == [0, 1]


@pytest.mark.slow
def test_weights_go_when_nothing_needs_them_any_more(project, expected, monkeypatch):
    drop_weights(project)
    queue(project)
    found = content(project.folder / "results/tiny/runs")
    weights = {name for name in expected if name.endswith(".safetensors")}
    assert len(weights) == 6  # the last of all runs, and an earlier epoch's of the measured ones
    gone = {name for name in weights if f"{SAM}/seed=0" not in name}  # the other has a landscape
    assert found == {name: x for name, x in expected.items() if name not in gone}
    assert queue(project)[-1] == "tiny: 0 runs made"
    # The commands of the workflow: what is to be measured keeps its weights until it is.
    shutil.rmtree(project.folder / "results")
    monkeypatch.chdir(project.folder)
    assert cli.main(["train", SAM]) == 0
    folder = project.folder / "results/tiny/runs" / SAM
    assert {p.parent.name for p in folder.rglob("weights*")} == {"seed=0"}
    for kind in ("curvature", "landscape"):
        assert cli.main(["measure", kind, SAM]) == 0
    assert content(folder) == {
        name.removeprefix(f"{SAM}/"): value for name, value in found.items() if SAM in name
    }


def test_what_waits_for_another_cell_is_made_at_the_end(project):
    """The line of SAM's landscape begins from SGD, whose run comes later."""
    project.scale(tables={"T2": {"seeds": 1, "only": {"rho": [0.2]}, "reason": "a test"}})
    measure_nothing(project)
    plan, lines = plan_of(project, tables=["T1", "T2"]), []
    run_queue(plan, lines.append, match="/sam/")
    assert lines[-2] == f"{SAM}/seed=0: landscape waits for {CNN}/sgd/base/seed=0"
    lines.clear()
    made = run_queue(plan, lines.append, match="/s")
    assert made == [(f"{CNN}/sgd/base", 0), (SAM, 0)]
    assert f"{SAM}/seed=0 between: 9 x 1 points" in lines
    assert stages.STAGES["landscape"].is_built(stages.runs(plan, "landscape")[SAM])


def test_weights_that_are_gone_cannot_be_measured(project):
    drop_weights(project)
    queue(project, match="/ckpt12/")
    project.scale(stages={"curvature": {"images": 30}})
    run = project.folder / "results/tiny/runs" / CKPT12 / "seed=0"
    lines = queue(project, match="/ckpt12/")
    assert len(lines) == 2
    assert lines[0].startswith(f"{run}: weights-1.safetensors gone before")


# The budget


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("9m", 540), ("1.5h", 5400)])
def test_times(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["9", "9 m", "m", "-9m", "9d", "nan", ""])
def test_other_times_are_refused(text):
    with pytest.raises(InputError, match="90s, 9m or 2h"):
        seconds(text)


def test_it_stops_before_an_epoch_that_would_not_fit(project, monkeypatch):
    """Every evaluation takes a minute: one an epoch, and one or two at a run's end."""
    project.scale(protocol={"epochs": 5})
    measure_nothing(project)
    minutes = []
    evaluate = engine.evaluate

    def slow(*args):
        minutes.append(1)
        return evaluate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "evaluate", slow)
        patch.setattr(time, "perf_counter", lambda: 60.0 * len(minutes))
        # Six or seven for the first run. After ten, the next epoch of the second could take 1.2.
        lines = queue(project, budget=60 * 11.1)
        assert len(minutes) == 10
        second = f"{CKPT12}/seed=0"
        takes = "an epoch of cnn3 takes (72|84) s"  # six or seven minutes for five
        assert re.fullmatch(f"out of time at {second}, 3 of 4 left; {takes}", lines[-2])
        assert lines[-1] == "tiny: 1 runs made"
        run = project.folder / "results/tiny/runs" / second
        assert (run / state.NEWEST).exists()
        assert not (run / "metrics.json").exists()
        # Of the state of the run that was begun: a minute an epoch.
        takes = "an epoch of cnn3 takes 60 s"
        assert queue(project, budget=0.0)[0] == f"out of time at {second}, 3 of 4 left; {takes}"
        assert len(minutes) == 10
    lines = queue(project)
    assert re.search("goes on after epoch [34] of 5", lines[0]), lines
    found = content(project.folder / "results/tiny/runs")
    shutil.rmtree(project.folder / "results")
    queue(project)
    assert content(project.folder / "results/tiny/runs") == found


def test_a_run_is_packed_before_its_curvature_and_outlasts_a_device_that_fails(
    project, tmp_path, monkeypatch
):
    pack, packed = tmp_path / "made.tar.gz", []

    def fails(*args):
        with tarfile.open(pack) as archive:
            packed.append(archive.getnames())
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(cell_curvature, "_measured", fails)
    lines = queue(project, pack=pack)
    assert f"runs/{SAM}/seed=0/metrics.json" in packed[0]
    assert f"{SAM}/seed=0: curvature not made: CUDA out of memory." in lines
    assert lines[-1] == "tiny: 4 runs made"


def test_without_an_epoch_it_says_what_getting_ready_took(project):
    (line, _) = queue(project, budget=1e-6)
    known = r"no epoch of cnn3 timed yet, [\d.e-]+ s to get ready"
    assert re.fullmatch(rf"out of time at {SAM}/seed=0, 4 of 4 left; {known}", line)


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_in_one_line(project, expected, monkeypatch, capsys, number):
    monkeypatch.chdir(project.folder)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.getsignal(one) for one in numbers}
    # Of a test run that was started in the background SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps, step = [], Learner.step

    def killing(*args):
        steps.append(1)
        if len(steps) == 3:  # in the second epoch of the first run, of two steps each
            os.kill(os.getpid(), number)
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", killing)
        try:
            status = cli.main(["queue", "--profile", "tiny"])
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
    assert status == 128 + number
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"samscope: stopped by {number.name}; the same command goes on\n"
    folder = project.folder / "results/tiny/runs" / SAM
    assert (folder / "seed=0" / state.NEWEST).exists()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lines = queue(project, match="/sam/")
    assert "goes on after epoch 1 of 2" in lines[0]
    found = content(folder)
    assert {f"{SAM}/{name}": x for name, x in found.items()} == {
        name: x for name, x in expected.items() if name.startswith(SAM)
    }


def test_a_cell_that_another_queue_works_on_is_left_for_the_end(project):
    measure_nothing(project)
    plan, lines = plan_of(project), []
    folder = plan.run_dir(SAM)
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def report(line: str) -> None:
            lines.append(line)
            if line.startswith(f"{CKPT12}/seed=1"):
                fcntl.flock(lock, fcntl.LOCK_UN)

        made = run_queue(plan, report)
    assert made == [(CKPT12, 0), (CKPT12, 1), (SAM, 0), (SAM, 1)]


# A bare machine


def test_a_bare_machine_suffices(project, expected):
    """None of what the workflow, the analysis and the other back end need can be imported."""
    prepare("digits", project.folder / "data")
    program = """
        import sys
        absent = {"pandas", "snakemake", "pyhessian", "sklearn", "scipy", "matplotlib",
                  "jinja2", "markdown_it", "torchvision"}
        class Without:
            def __init__(self, finder):
                self.finder = finder
            def __getattr__(self, name):
                return getattr(self.finder, name)
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] not in absent:
                    return self.finder.find_spec(name, path, target)
        sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
        from samscope.run.cli import main
        status = main(["queue", "--profile", "tiny", "--budget", "5m", "--pack", "out/some.tar.gz"])
        assert not absent & set(sys.modules)
        sys.exit(status)
    """
    config = {**project.config, "profile": "quick"}
    project.write("config.yaml", config)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert sum("samples/s" in line for line in lines) == 4
    assert sum("2 of 2 spectra measured" in line for line in lines) == 2
    assert (project.folder / "out/some.tar.gz").stat().st_size > 1000
    assert content(project.folder / "results/tiny/runs") == expected
