"""Curvature over seeds: averages, errors, densities and the table, from records written by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samscope import InputError, stages
from samscope.analysis import curvature_table, results, spectra
from samscope.analysis.stats import mean_interval, paired_interval
from samscope.run import cli
from small_study import CURVATURE, RUNS, record, record_all, study

SGD, SAM = f"{RUNS}/sgd/base", f"{RUNS}/sam/rho=0.1"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    plan = study(tmp_path_factory.mktemp("study"))
    record_all(plan)
    return plan


def test_every_run_and_epoch_is_a_line(plan):
    frame = spectra.measured(plan, [SAM])
    assert list(zip(frame.seed, frame.epoch, frame["last"], strict=True)) == [
        (seed, epoch, epoch == 3) for seed in range(3) for epoch in (1, 3)
    ]
    last = frame[frame["last"]].set_index("seed")
    assert list(last.lambda_max) == [1.0, 2.0, 4.0]
    assert list(last.lambda_min) == pytest.approx([-0.1, -0.2, -0.4])
    assert list(last.leading_ratio) == [4.0, 4.0, 4.0]
    assert list(last.pooled_max) == pytest.approx([1.2, 2.4, 4.8])


def test_errors_are_in_percent_of_their_number(plan):
    frame = spectra.measured(plan, [SAM])
    found = {name: set(frame[column].round(9)) for name, column in spectra.BOUNDS.items()}
    # Of `top` the residual is 1e-4, of its tenth 1e-3; of 3 the trace's interval is 2 to 4.
    assert found["lambda_max"] == {0.01}
    assert found["lambda_min"] == {1.0}
    assert found["trace"] == {round(100 / 3, 9)}
    assert found["average_case"] == {2.0}
    assert frame[spectra.BOUNDS["worst_case"]].isna().all()
    shown = spectra.bounds(spectra.over_seeds(plan, [SAM]), ["lambda_min", "worst_case", "trace"])
    assert shown == "λ min at most 1 %, trace at most 33 %"


def test_factors_are_averaged_as_logarithms(plan):
    frame = spectra.over_seeds(plan, [SAM]).set_index(["epoch", "quantity"])
    top = mean_interval(np.log([1.0, 2.0, 4.0]))
    line = frame.loc[(3, "lambda_max")]
    assert (line["mean"], line.low, line.high) == pytest.approx(
        tuple(np.exp([top.mean, top.low, top.high]))
    )
    assert frame.loc[(1, "lambda_max"), "mean"] == pytest.approx(3 * line["mean"])
    low = mean_interval([-0.1, -0.2, -0.4])
    line = frame.loc[(3, "lambda_min")]
    assert (line["mean"], line.low, line.n) == (pytest.approx(low.mean), pytest.approx(low.low), 3)
    assert (1, "pooled_max") not in frame.index
    # A factor that is not positive has no logarithm.
    values = pd.Series([1.0, -1.0, 2.0])
    assert np.isnan(spectra.averaged(values, spectra.QUANTITIES["trace"])[0])


def test_a_density_is_that_of_its_gaussians():
    nodes, weights = np.array([[0.0, 2.0], [1.0, 2.0]]), np.array([[0.75, 0.25], [0.5, 0.5]])
    grid = np.linspace(-3, 5, 2001)
    curve = spectra.smoothed(nodes, weights, grid, 0.2)
    step = grid[1] - grid[0]
    assert curve.sum() * step == pytest.approx(1, rel=1e-6)
    assert (curve * grid).sum() * step == pytest.approx((0.5 + 1.5) / 2, rel=1e-6)
    assert curve[np.abs(grid - 2).argmin()] == pytest.approx(
        (0.25 + 0.5) / 2 / (0.2 * np.sqrt(2 * np.pi)), rel=1e-4
    )


def test_the_table_has_every_quantity_beside_sgds(plan):
    frame = curvature_table.build(plan, "geometry_sam").set_index(["cell", "quantity"])
    # Of all that was measured: the records are from before these were.
    later = {"filtered_case", "batch_asymmetry", "scale_free"}
    assert {quantity for _, quantity in frame.index} == {*spectra.QUANTITIES} - later
    assert "batch_asymmetry" not in frame.index.get_level_values("quantity")
    line = frame.loc[(SAM, "lambda_max")]
    gap = paired_interval(*(pd.Series(np.log([1.0, 2.0, 4.0])) + np.log(f) for f in (1, 10)))
    assert line.versus_sgd == pytest.approx(np.exp(gap.mean)) == pytest.approx(0.1)
    line = frame.loc[(SAM, "lambda_min")]
    gap = paired_interval(pd.Series([-0.1, -0.2, -0.4]), pd.Series([-1.0, -2.0, -4.0]))
    found = line.versus_sgd, line.versus_low, line.versus_high
    assert found == pytest.approx((gap.mean, gap.low, gap.high))
    assert np.isnan(frame.loc[(SGD, "trace"), "versus_sgd"])


def test_the_command_writes_it_twice_the_same(plan, monkeypatch):
    monkeypatch.chdir(plan.root)
    (plan.root / "config.yaml").write_text("profile: tiny\npapers: [geometry_sam]\n")
    folder, written = plan.results / "curvature", []
    for _ in range(2):
        assert cli.main(["spectra", "geometry_sam"]) == 0
        written.append([(folder / f"geometry_sam.{kind}").read_bytes() for kind in ("csv", "md")])
    assert written[0] == written[1]
    page = written[0][1].decode()
    assert "| SAM | 0.1 | 2 [" in page
    assert "pooled" in page.lower()
    assert "stand-in" in page
    assert cli.main(["spectra", "other"]) == 2


def test_without_results_the_table_says_so(tmp_path):
    plan = study(tmp_path)
    frame = curvature_table.build(plan, "geometry_sam")
    assert "not run" in curvature_table.markdown(plan, "geometry_sam", frame)


def changed(plan, change) -> None:
    """Rewrite SAM's record by a function of it."""
    path = plan.run_dir(SAM) / "curvature.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "marked"),
    [
        ({}, {"trace"}),
        ({"converged": False}, {"trace", "variant"}),
        ({"lambda_min": {"value": -0.1, "error": 0.006}}, {"trace", "λ min"}),
        # No bound is known: JSON has no infinity.
        ({"leading_ratio": {"k": 2, "value": 4.0, "error": None}}, {"trace", "λ 1 / λ k"}),
    ],
)
def test_what_is_not_known_well_is_marked(tmp_path, change, marked):
    """In one run of three."""
    plan = study(tmp_path)
    record_all(plan)
    changed(plan, lambda record: record["runs"][0]["spectra"][-1].update(change))
    frame = curvature_table.build(plan, "geometry_sam")
    page = curvature_table.markdown(plan, "geometry_sam", frame)
    head, _, _, line = (row.split(" | ") for row in page.splitlines() if row.startswith("| "))
    assert {
        name.strip("| ") for name, cell in zip(head, line, strict=True) if "†" in cell
    } == marked
    assert "†: of one run at least the error may exceed 5 % of the number" in page
    lines = frame[frame.cell == SAM].set_index("quantity")
    assert set(lines.converged) == {change.get("converged", True)}
    exceeding = set(lines.index[lines.bound_percent > 5])
    assert len(exceeding) == len(marked - {"variant"})


def test_the_ends_of_mini_batches_are_read_where_they_are_recorded(tmp_path):
    plan = study(tmp_path)
    record_all(plan)
    assert "batch_asymmetry" not in set(results.metrics(plan, [SAM], ["batch_asymmetry"]).metric)
    assert "batch_asymmetry" not in set(spectra.over_seeds(plan, [SAM]).quantity)

    def spread(record) -> None:
        for run, median in zip(record["runs"], (10.0, 20.0, 40.0), strict=True):
            run["spectra"][-1]["pooled"]["asymmetry"] = {
                "median": median, "low_quartile": 5.0, "high_quartile": 50.0, "error": 0.1,
                "ratios": [5.0, median, 50.0], "errors": [0.1] * 3,
            }  # fmt: skip

    changed(plan, spread)
    found = results.metrics(plan, [SAM], ["batch_asymmetry"])
    assert found[found.selection == "last"].value.tolist() == [10.0, 20.0, 40.0]
    (line,) = spectra.over_seeds(plan, [SAM]).query("quantity == 'batch_asymmetry'").itertuples()
    assert (line.epoch, line.mean) == (3, pytest.approx(20.0))  # of logarithms
    assert line.bound_percent == pytest.approx(1.0)
    frame = curvature_table.build(plan, "geometry_sam").set_index(["cell", "quantity"])
    assert frame.loc[(SAM, "batch_asymmetry"), "mean"] == pytest.approx(20.0)
    assert np.isnan(frame.loc[(SGD, "batch_asymmetry"), "mean"])


def test_spectra_of_other_runs_are_not_shown(tmp_path, monkeypatch):
    """The runs are trained anew by a changed protocol, of a grid that is not measured yet."""
    plan = study(tmp_path)
    record_all(plan)
    plan = study(tmp_path, protocol={"epochs": 3, "augment": "none", "val_size": 100, "lr": 0.2})
    for cell in (SGD, SAM):
        record(plan, cell, [80.0, 81.0, 82.0])
    assert not results.metrics(plan, [SAM]).empty
    assert results.spectra(plan, [SGD, SAM]) == []
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("profile: tiny\npapers: [geometry_sam]\npartial: true\n")
    assert cli.main(["spectra", "geometry_sam"]) == 0
    assert "not run" in (plan.results / "curvature/geometry_sam.md").read_text()
    assert cli.main(["figure", "geometry_sam/lambda_max"]) == 0
    assert "not run" in (plan.results / "figures/geometry_sam/lambda_max.svg").read_text()


def test_spectra_of_other_settings_are_not_shown(tmp_path):
    plan = study(tmp_path)
    record_all(plan)
    used = stages.runs(plan, "curvature")[SAM][0].settings
    changed(plan, lambda record: record.update(settings=used))
    assert len(results.spectra(plan, [SAM])) == 3
    changed(plan, lambda record: record.update(settings={**used, "images": 7}))
    assert results.spectra(plan, [SAM]) == []
    changed(plan, lambda record: record.update(settings=[7]))
    with pytest.raises(InputError, match=r"curvature.json: settings"):
        results.spectra(plan, [SAM])


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [('"epoch": 1', '"epoch": "x"', "spectra"), ('"largest": [', '"larges": [', "spectra")],
)
def test_a_malformed_record_is_named(tmp_path, old, new, word):
    plan = study(tmp_path)
    record_all(plan)
    path = plan.run_dir(SAM) / "curvature.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=f"curvature.json: seed=0 {word}"):
        results.spectra(plan, [SAM])


def test_an_epoch_that_no_run_has_is_refused(tmp_path):
    plan = study(tmp_path, stages={"curvature": CURVATURE | {"epochs": [1, 3]}})
    with pytest.raises(InputError, match=r"curvature\.epochs: 3 is not allowed; allowed: 1 to 2"):
        stages.check(plan)
