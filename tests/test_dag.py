"""The workflow as a user runs it: what is built, what an edit reruns, what a failure loses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, planned, stamps, unbuilt
from samscope import stages

SAM = "cnn3-digits/sam/rho=0.2"
RUNS = "results/tiny/runs"
STAGES = set(stages.STAGES)


# What is built


def test_everything_is_built_and_a_second_call_does_nothing(built):
    for path in (
        "report/index.html", "tables/geometry_sam/T1.csv", "tables/geometry_sam/T1.md",
        "claims/geometry_sam.json", "figures/geometry_sam/accuracy_vs_rho.svg",
        f"runs/{SAM}/metrics.json", f"runs/{SAM}/seed=1/weights.safetensors",
        f"runs/{SAM}/curvature.json", f"runs/{SAM}/landscape.json",
    ):  # fmt: skip
        assert (built.folder / "results/tiny" / path).stat().st_size > 0, path
    assert "runs 4/4" in (built.folder / "told.txt").read_text().splitlines()[-1]
    again = built.snakemake()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_a_data_set_that_is_gone_is_not_missed(built):
    shutil.rmtree(built.folder / "data")
    assert built.planned_jobs() == {}


def test_records_that_are_gone_are_missed(built):
    shutil.rmtree(built.folder / RUNS / SAM)
    (built.folder / RUNS / "cnn3-digits/ckpt12/rho=0.2/curvature.json").unlink()
    (built.folder / "results/tiny/tables/geometry_sam/T1.md").unlink()
    jobs = built.planned_jobs()
    assert (jobs["train"], jobs["curvature"], jobs["landscape"]) == (1, 2, 1)
    assert jobs["table"] == 1


def test_other_curvature_settings_train_nothing(built):
    built.scale(stages={"curvature": {"images": 30}})
    jobs = built.planned_jobs()
    assert (jobs["curvature"], jobs["spectra_table"]) == (2, 1)
    assert not {"train", "landscape"} & set(jobs)


# What a record that is there is worth, without any memory of the job that made it


def test_records_from_elsewhere_are_taken_as_built(recorded):
    # Without the data set, and with one that is newer than the records.
    assert planned(recorded) == {}
    (recorded.folder / "data").mkdir()
    (recorded.folder / "data/digits.json").write_text("{}")
    assert planned(recorded) == {}


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"protocol": {"lr": 0.07}}, {"train": 2, "curvature": 2, "landscape": 1}),
        ({"stages": {"curvature": {"images": 30}}}, {"curvature": 2}),
        ({"tables": {"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a"}}}, {"train": 2}),
    ],
)
def test_an_edited_profile_makes_what_it_changes_and_nothing_else(recorded, change, jobs):
    recorded.scale(**change)
    assert planned(recorded) == jobs


@pytest.mark.parametrize(
    ("change", "stage", "cells"),
    [
        ({"stages": {"curvature": {"seeds": 2}}}, "curvature", 2),
        ({"stages": {"curvature": {"epochs": []}}}, "curvature", 2),
        # Of SAM alone, for SGD is in none of the tables here.
        ({"stages": {"landscape": {"points": 3}}}, "landscape", 1),
    ],
)
def test_other_settings_leave_other_stages_built(recorded, change, stage, cells):
    recorded.scale(**change)
    assert unbuilt(recorded) == {stage: cells}


def test_only_what_was_asked_for_is_made_again(recorded):
    recorded.scale(protocol={"lr": 0.07})
    assert planned(recorded, f"{RUNS}/{SAM}/metrics.json") == {"train": 1}
    assert planned(recorded, f"{RUNS}/{SAM}/landscape.json") == {"train": 1, "landscape": 1}
    assert planned(recorded, "results/tiny/tables/geometry_sam/T1.csv") == {"train": 2}


# Papers


def test_a_paper_is_one_folder_and_shared_cells_are_planned_once(recorded):
    recorded.second_paper()
    path = "workflow/papers/second/scale/tiny.yaml"
    recorded.edit(path, "- 0.2\n", "- 0.2\n      - 0.4\n")
    recorded.write("config.yaml", {**recorded.config, "papers": ["second"], "tables": []})
    # Those of rho 0.4; the others are there.
    assert planned(recorded) == {"train": 2, "curvature": 2}
    both = {**recorded.config, "papers": ["geometry_sam", "second"]}
    recorded.write("config.yaml", {**both, "tables": ["T1", "second/A"]})
    jobs = recorded.planned_jobs()
    assert (jobs["train"], jobs["table"], jobs["claims"]) == (2, 2, 2)
    # A table of one paper, whatever the others have.
    recorded.write("config.yaml", {**both, "tables": ["geometry_sam/T1"]})
    jobs = recorded.planned_jobs("tables")
    assert (jobs["table"], "train" in jobs) == (1, False)


# What a profile trains


def test_a_committed_profile_trains_only_when_asked(recorded):
    profile = {"title": "tiny", "description": "For a test.", "committed": True}
    recorded.write("workflow/scales/tiny.yaml", profile)
    shutil.rmtree(recorded.folder / RUNS / SAM)
    recorded.scale(stages={"curvature": {"images": 30}})
    jobs = recorded.planned_jobs()
    assert jobs["table"] == 1
    assert not STAGES & set(jobs)
    jobs = {"train": 1, "curvature": 2, "landscape": 1}
    assert planned(recorded, "--config", "train=True") == jobs


def test_a_partial_call_makes_tables_from_what_is_there_and_trains_nothing(recorded):
    shutil.rmtree(recorded.folder / RUNS / SAM)
    assert unbuilt(recorded)["train"] == 1
    jobs = recorded.planned_jobs("--config", "partial=True")
    assert jobs["table"] == 1
    assert not STAGES & set(jobs)


def test_one_run_one_table_one_figure_can_be_asked_for(project):
    assert project.planned_jobs(f"{RUNS}/{SAM}/metrics.json") == {"dataset": 1, "train": 1}
    jobs = project.planned_jobs("results/tiny/tables/geometry_sam/T1.csv")
    assert jobs == {"dataset": 1, "train": 2, "table": 1}
    figure = "results/tiny/figures/geometry_sam/lambda_max.svg"
    jobs = project.planned_jobs(figure)
    assert jobs == {"dataset": 1, "train": 2, "curvature": 2, "figure": 1}
    assert project.planned_jobs("train_all") == {"dataset": 1, "train": 2, "train_all": 1}
    refused = project.dry_run(f"{RUNS}/cnn3-digits/sam/rho=0.3/metrics.json")
    assert refused.returncode != 0
    assert "rho=0.3 is not allowed; allowed: one of 2 cells" in refused.stdout


def test_rules_can_be_forced(recorded):
    jobs = recorded.planned_jobs("tables", "--forcerun", "train")
    assert (jobs["train"], jobs["table"]) == (2, 1)


# What a job leaves


@pytest.mark.slow
def test_an_epoch_whose_weights_were_not_kept_is_told_in_one_line(built):
    built.scale(protocol={"epochs": 3})
    done = built.snakemake("train_all")
    assert done.returncode == 0, done.stdout
    built.scale(stages={"curvature": {"epochs": [1, 2]}})
    jobs = built.planned_jobs()
    assert jobs["curvature"] == 2
    assert "train" not in jobs
    done = built.snakemake(f"{RUNS}/{SAM}/curvature.json")
    assert done.returncode != 0
    told = "seed=0/weights-2.safetensors: run: not measured before the weights went"
    assert told in done.stdout
    assert f"delete {RUNS}/{SAM}/seed=0 and train the cell again" in done.stdout
    # As told.
    shutil.rmtree(built.folder / RUNS / SAM / "seed=0")
    assert built.run("samscope", "train", SAM).returncode == 0
    done = built.snakemake(f"{RUNS}/{SAM}/curvature.json")
    assert done.returncode == 0, done.stdout


def test_a_killed_job_goes_on_and_keeps_what_it_made(recorded):
    """Of a record that was there, of other runs, and of which Snakemake has no memory."""
    recorded.scale(protocol={"epochs": 60})
    target, cell = f"{RUNS}/{SAM}/metrics.json", recorded.folder / RUNS / SAM
    job = recorded.start("snakemake", "--cores", "2", target)
    while not (cell / "seed=1/state.bin").exists():
        assert job.poll() is None
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert recorded.snakemake("--unlock").returncode == 0
    assert planned(recorded, target) == {"train": 1}
    done = recorded.snakemake(target)
    assert done.returncode == 0, done.stdout
    log = (recorded.folder / f"results/tiny/logs/train/{SAM}.log").read_text()
    assert f"{SAM}/seed=0 train kept" in log
    assert "seed=1: goes on after epoch" in log
    assert planned(recorded, target) == {}


def test_one_seed_more_trains_only_that_seed(built):
    before = stamps(built.folder, f"{RUNS}/{SAM}/seed=*/metrics.json")
    built.scale(tables={"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a test"}})
    done = built.snakemake(f"{RUNS}/{SAM}/metrics.json")
    assert done.returncode == 0, done.stdout
    after = stamps(built.folder, f"{RUNS}/{SAM}/seed=*/metrics.json")
    assert len(after) == 3
    assert {k: after[k] for k in before} == before
    summary = json.loads((built.folder / f"{RUNS}/{SAM}/metrics.json").read_text())
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]


COMMANDS = """
import json, sys
from samscope import numerics
numerics.pin()
from samscope.__main__ import main
sys.exit(max(main(command) for command in json.loads(sys.argv[1])))
"""


def test_the_command_by_itself_gives_the_bytes_of_the_workflow(built):
    """A warm child of the workflow and a process of its own train the same run."""
    cell = built.folder / RUNS / SAM
    before = {p.name: p.read_bytes() for p in sorted((cell / "seed=0").glob("*"))}
    shutil.rmtree(cell)
    commands = (["train", SAM], ["measure", "curvature", SAM], ["make", "landscape", SAM])
    done = built.run(sys.executable, "-c", COMMANDS, json.dumps(commands))
    assert done.returncode == 0, done.stdout
    after = {p.name: p.read_bytes() for p in sorted((cell / "seed=0").glob("*"))}
    assert set(after) == set(before)
    assert [n for n in before if before[n] != after[n]] == ["provenance.json"]


@pytest.mark.slow
def test_a_failed_cell_does_not_lose_its_neighbours(project):
    broken = project.folder / RUNS / SAM / "seed=1"
    broken.parent.mkdir(parents=True)
    broken.write_text("a file where a folder belongs")
    done = project.snakemake("train_all")
    assert done.returncode != 0
    assert f"failed: {RUNS}/{SAM}/metrics.json: samscope: {RUNS}/{SAM}/seed=1: " in done.stdout
    assert (broken.parent / "seed=0/metrics.json").exists()
    assert (project.folder / RUNS / SAM.replace("/sam/", "/ckpt12/") / "metrics.json").exists()
    partial = project.snakemake("--config", "partial=True")
    assert partial.returncode == 0, partial.stdout
    table = (project.folder / "results/tiny/tables/geometry_sam/T1.md").read_text()
    assert "not run" in table


def test_snakemakes_own_report_is_built(built):
    done = built.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stdout
    assert Path(built.folder / "report.zip").stat().st_size > 10_000


def test_what_plans_imports_no_library_that_computes():
    """The DAG is built from names: in a second, on the barest machine."""
    program = """
import sys
from samscope.run.project import open_project
print({"torch", "numpy", "pandas", "scipy", "matplotlib"} & set(sys.modules))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert done.stdout == "set()\n", done.stdout + done.stderr
