"""Curvature over seeds: averages, shares, densities and the table, from records written by hand."""

import numpy as np
import pandas as pd
import pytest

from samscope import InputError, cli
from samscope.analysis import curvature_table, results, spectra
from samscope.analysis.stats import mean_interval, paired_interval
from small_study import RUNS, record_all, study

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


def test_near_zero_is_measured_by_sgds_scale(plan):
    """SAM's node at -0.05 of its largest is within 1 % of SGD's, which is ten times as large."""
    near = lambda cell: spectra.measured(plan, [cell]).near_zero.tolist()  # noqa: E731
    assert near(SAM) == pytest.approx([94.0] * 6)
    assert near(SGD) == pytest.approx([90.0] * 6)


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
    assert len(frame) == 2 * len(spectra.QUANTITIES)
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
    assert "| sam | 0.1 | 2 [" in page
    assert "pooled" in page.lower()
    assert "stand-in" in page
    assert cli.main(["spectra", "other"]) == 2


def test_without_results_the_table_says_so(tmp_path):
    plan = study(tmp_path)
    frame = curvature_table.build(plan, "geometry_sam")
    assert "not run" in curvature_table.markdown(plan, "geometry_sam", frame)


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
    with pytest.raises(InputError, match=f"curvature.json: seed 0 {word}"):
        results.curvature(plan, [SAM])


def test_an_epoch_that_no_run_has_is_refused(tmp_path):
    with pytest.raises(InputError, match="curvature epochs: 3 is not allowed; allowed: 1 to 2"):
        study(tmp_path, curvature={"epochs": [1, 3]})
