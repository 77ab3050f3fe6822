"""The workflow as a user runs it: what is built, what an edit reruns, what a failure loses."""

import json
import shutil
from pathlib import Path

from conftest import ROOT
from samscope.analysis.figures import FIGURES

SAM = "geometry_sam/cnn3-digits/sam/rho=0.2"
RUNS = "results/tiny/runs"


def stamps(project, pattern: str) -> dict[str, int]:
    """Times of the files that match, to see which were written again."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(project.folder.glob(pattern))}


def test_everything_is_built_and_a_second_call_does_nothing(built):
    for path in (
        "report/index.html", "tables/geometry_sam/T1.csv", "tables/geometry_sam/T1.md",
        "claims/geometry_sam.json", "figures/accuracy_vs_rho.svg", f"runs/{SAM}/metrics.json",
        f"runs/{SAM}/seed=1/weights.safetensors", f"runs/{SAM}/curvature.json",
    ):  # fmt: skip
        assert (built.folder / "results/tiny" / path).stat().st_size > 0, path
    again = built.snakemake()
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout


def test_a_data_set_that_is_gone_is_not_missed(built):
    shutil.rmtree(built.folder / "data")
    assert built.planned_jobs() == {}


def test_records_that_are_gone_are_missed(built):
    shutil.rmtree(built.folder / RUNS / SAM)
    (built.folder / RUNS / "geometry_sam/cnn3-digits/ckpt12/rho=0.2/curvature.json").unlink()
    (built.folder / "results/tiny/tables/geometry_sam/T1.md").unlink()
    jobs = built.planned_jobs()
    assert (jobs["train"], jobs["curvature"], jobs["landscape"]) == (1, 2, 1)
    assert jobs["table"] == 1


def test_an_edited_variant_or_model_is_trained_again(built):
    shutil.copytree(ROOT / "src", built.folder / "src")
    mixes = built.folder / "src/samscope/optim/mixes.py"
    text = mixes.read_text()
    mixes.write_text(text.replace('Mix("sam", (H, H, H, H), H)', 'Mix("sam", (H, H, H, G), H)'))
    assert built.planned_jobs()["train"] == 1
    mixes.write_text(text)
    built.edit(
        "src/samscope/models/__init__.py", "((16, 2), (16, 1), (32, 2))", "((16, 2), (8, 1))"
    )
    assert built.planned_jobs()["train"] == 2


def test_an_edited_source_file_retrains_nothing(built):
    shutil.copytree(ROOT / "src", built.folder / "src")
    built.edit("src/samscope/analysis/tables.py", "\n\n\n", "\n\n\n# a comment\n")
    built.edit("workflow/rules/train.smk", "\n\n", "\n\n# a comment\n")
    assert built.planned_jobs() == {}
    built.edit("src/samscope/train/engine.py", "STATE_SHARE = 0.03", "STATE_SHARE = 0.04")
    built.edit("src/samscope/analysis/tables.py", "COLUMNS = (", "EDITED = 1\nCOLUMNS = (")
    jobs = built.planned_jobs()
    assert "train" not in jobs
    assert jobs["table"] == 1


def test_one_rho_more_trains_the_cells_it_adds(built):
    built.scale(tables={"T1": {"seeds": 2, "only": {"rho": [0.2, 0.4]}, "reason": "a test"}})
    jobs = built.planned_jobs()
    assert jobs["train"] == 2
    assert "curvature" not in jobs


def test_one_field_of_the_protocol_retrains_every_cell(built):
    built.scale(protocol={"lr": 0.07})
    jobs = built.planned_jobs()
    assert jobs["train"] == 2
    assert jobs["curvature"] == 2
    assert jobs["table"] == 1


def test_a_corrected_printed_number_changes_its_table_and_the_figures_that_draw_it(built):
    built.edit("workflow/papers/geometry_sam/reported/T1.csv", "79.55", "79.54")
    jobs = built.planned_jobs()
    assert jobs["figure"] == len(FIGURES)
    assert jobs["table"] == 1
    assert not {"train", "curvature", "landscape"} & set(jobs)


def test_other_curvature_settings_train_nothing(built):
    built.scale(curvature={"images": 30})
    jobs = built.planned_jobs()
    assert jobs["curvature"] == 2
    assert jobs["spectra_table"] == 1
    assert not {"train", "landscape"} & set(jobs)


def test_other_landscape_settings_measure_no_spectra(built):
    built.scale(landscape={"points": 3})
    jobs = built.planned_jobs()
    assert jobs["landscape"] == 1  # of SAM, for SGD is in none of the tables here
    assert not {"train", "curvature"} & set(jobs)


def test_an_epoch_whose_weights_were_not_kept_is_told_in_one_line(built):
    built.scale(protocol={"epochs": 3})
    done = built.snakemake("train_all")
    assert done.returncode == 0, done.stdout
    built.scale(curvature={"epochs": [1, 2]})
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


def test_one_seed_more_trains_only_that_seed(built):
    before = stamps(built, f"{RUNS}/{SAM}/seed=*/metrics.json")
    built.scale(tables={"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a test"}})
    done = built.snakemake(f"{RUNS}/{SAM}/metrics.json")
    assert done.returncode == 0, done.stdout
    after = stamps(built, f"{RUNS}/{SAM}/seed=*/metrics.json")
    assert len(after) == 3
    assert {k: after[k] for k in before} == before
    summary = json.loads((built.folder / f"{RUNS}/{SAM}/metrics.json").read_text())
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]


def test_the_command_by_itself_gives_the_bytes_of_the_workflow(built):
    """A warm child of the workflow and a process of its own train the same run."""
    cell = built.folder / RUNS / SAM
    before = {p.name: p.read_bytes() for p in sorted((cell / "seed=0").glob("*"))}
    shutil.rmtree(cell)
    for command in (["train"], ["measure", "curvature"], ["measure", "landscape"]):
        done = built.run("samscope", *command, SAM)
        assert done.returncode == 0, done.stdout
    after = {p.name: p.read_bytes() for p in sorted((cell / "seed=0").glob("*"))}
    assert set(after) == set(before)
    assert [n for n in before if before[n] != after[n]] == ["provenance.json"]


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


def test_a_partial_call_makes_tables_from_what_is_there_and_trains_nothing(built):
    built.scale(tables={"T1": {"seeds": 3, "only": {"rho": [0.2]}, "reason": "a test"}})
    assert built.planned_jobs()["train"] == 2
    jobs = built.planned_jobs("--config", "partial=True")
    assert jobs["table"] == 1
    assert not {"train", "curvature"} & set(jobs)


def test_one_run_one_table_one_figure_can_be_asked_for(project):
    assert project.planned_jobs(f"{RUNS}/{SAM}/metrics.json") == {"dataset": 1, "train": 1}
    jobs = project.planned_jobs("results/tiny/tables/geometry_sam/T1.csv")
    assert jobs == {"dataset": 1, "train": 2, "table": 1}
    assert project.planned_jobs("results/tiny/figures/accuracy_vs_rho.svg")["figure"] == 1


def test_progress_counts_runs(project):
    done = project.snakemake("train_all")
    assert done.returncode == 0, done.stdout
    assert "runs 4/4" in done.stdout.splitlines()[-1]


def test_snakemakes_own_report_is_built(built):
    done = built.snakemake("--report", "report.zip")
    assert done.returncode == 0, done.stdout
    assert Path(built.folder / "report.zip").stat().st_size > 10_000
