import functools
import io
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from samscope import InputError, stages
from samscope.analysis import canvas, figures, selection
from samscope.analysis.stats import mean_interval, paired_interval
from samscope.plan.load import load_plan
from small_study import (
    CURVATURE,
    LANDSCAPE,
    RUNS,
    STUDY,
    edited,
    record_all,
    study,
    write_study,
)

CLAIM = {
    "id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r", "kind": "share",
    "region": 1, "variant": "sam", "rhos": [0.1], "when": "first_epoch", "at_least": 30,
    "at_most": 50,
}  # fmt: skip
POINTS = {k: CLAIM[k] for k in ("quote", "location", "test", "reported", "rhos")} | {
    "id": "C2", "kind": "greater", "metric": "test_acc_percent", "a": "sam", "b": "sgd",
    "direction": "a_above_b",
}  # fmt: skip


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    plan = study(tmp_path_factory.mktemp("study"), [CLAIM, POINTS])
    record_all(plan)
    return plan


def written(plan, name: str) -> pd.DataFrame:
    """The numbers of a figure as its CSV has them."""
    return pd.read_csv(io.StringIO(draw(plan, name).data.to_csv(index=False)))


@functools.cache
def draw(plan, name: str) -> canvas.Drawn:
    """A figure, drawn once for all tests that look at it."""
    return figures.draw(plan, STUDY, name)


def test_accuracy_holds_measured_and_reported(plan):
    frame = written(plan, "accuracy_vs_rho").set_index(["variant", "rho"])
    sam = frame.loc[("sam", 0.1)]
    expected = mean_interval([80.0, 82.0, 84.0])
    assert (sam["mean"], sam.reported, sam.n) == (82.0, 78.84, 3)
    assert (sam.low, sam.high) == pytest.approx((expected.low, expected.high))
    assert frame.loc[("sgd", 0.1), "mean"] == frame.loc[("sgd", 0.2), "mean"] == 71.0
    # The excluded number is left out, the open cell has none, rho 0.4 is thinned.
    assert pd.isna(frame.loc[("ckpt1", 0.1), "reported"])
    assert pd.isna(frame.loc[("ckpt1", 0.2), "reported"])
    assert frame.loc[("ckpt1", 0.2), "mean"] == 77.0
    assert (frame.loc[("ckpt1", 0.4), "n"], frame.loc[("ckpt1", 0.4), "reported"]) == (0, 79.58)


def test_differences_are_paired(plan):
    frame = written(plan, "paired_differences").set_index(["variant", "reference", "rho"])
    gap = frame.loc[("ckpt1", "sam", 0.1)]
    ckpt1, sam = pd.Series([75.0, 76.0, 80.0]), pd.Series([80.0, 82.0, 84.0])
    expected = paired_interval(ckpt1, sam)
    assert (gap["mean"], gap.low, gap.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert ("sam", "sam", 0.1) not in frame.index
    assert frame.loc[("sam", "sgd", 0.2), "mean"] == 11.0


def test_shares_are_means_over_seeds(plan):
    frame = written(plan, "region_shares")
    first = frame[(frame.rho == 0.1) & (frame.epoch == 1)].set_index("region")
    assert (first.loc[1, "mean"], first.loc[2, "mean"]) == (60.0, 40.0)
    # Equal in all seeds: no interval.
    assert (math.isnan(first.loc[1, "low"]), first.loc[1, "n"]) == (True, 3)


def test_lambda_max_is_averaged_as_logarithms(plan):
    frame = written(plan, "lambda_max")
    sgd = frame[frame.cell == f"{RUNS}/sgd/base"]
    assert list(sgd.lambda_max) == [10.0, 20.0, 40.0]
    assert sgd["mean"].iloc[0] == pytest.approx(20.0)
    assert sgd.low.iloc[0] * sgd.high.iloc[0] == pytest.approx(400.0)
    assert set(sgd.sample_loss) == {0.25}


def test_spectra_are_smoothed_on_one_grid(plan):
    frame = written(plan, "spectral_density")
    assert set(frame.epoch) == {1, 3}
    assert set(frame.cell) == {f"{RUNS}/sgd/base", f"{RUNS}/sam/rho=0.1"}
    (kernel,) = set(frame.kernel)
    # From -0.05 of 120 to 120, the largest of SGD's seeds at epoch 1.
    assert kernel == pytest.approx((120 + 6) / 120, rel=0.05)
    for _, curve in frame.groupby(["cell", "epoch"]):
        assert list(curve.eigenvalue) == list(frame.eigenvalue[: len(curve)])
        step = curve.eigenvalue.diff().iloc[-1]
        assert curve.density.sum() * step == pytest.approx(1, rel=1e-3)
    caption = draw(plan, "spectral_density").caption
    assert f"a Gaussian of standard deviation {kernel:g}" in caption


def test_curvature_over_training_has_every_cell_and_epoch(plan):
    frame = written(plan, "over_training").set_index(["variant", "epoch", "quantity"])
    expected = mean_interval([math.log(30.0), math.log(60.0), math.log(120.0)])
    line = frame.loc[("sgd", 1, "lambda_max")]
    found = line["mean"], line.low, line.high
    ends = expected.mean, expected.low, expected.high
    assert found == pytest.approx(tuple(map(math.exp, ends)))
    assert frame.loc[("sam", 3, "leading_ratio"), "mean"] == pytest.approx(4.0)


def test_agreement_of_regions_stands_beside_chance(plan):
    frame = written(plan, "noise_floor").set_index(["cell", "quantity", "at"])
    other = frame.loc[(f"{RUNS}/sgd/base", "another_batch", 0.1)]
    expected = mean_interval([60.0, 70.0, 90.0])
    ends = other["mean"], other.low, other.high
    assert ends == pytest.approx((expected.mean, expected.low, expected.high))
    assert (other.chance, other.n) == (45.0, 3)
    far = frame.loc[(f"{RUNS}/sam/rho=0.1", "prediction", 0.2)]
    assert (far["mean"], far.chance) == (70.0, 46.0)
    # One mini-batch alone has no other to compare with.
    assert pd.isna(frame.loc[(f"{RUNS}/sam/rho=0.1", "noise_shares_region1", 0.1), "mean"])
    caption = draw(plan, "noise_floor").caption
    assert "Under SAM 61.0 % of region 1 are among" in caption
    assert "chance, n1/N, is 60.0 %" in caption


def test_landscapes_hold_the_grids_of_the_plans_runs(plan, tmp_path):
    frame = written(plan, "contours").set_index(["cell", "kind", "a", "b"])
    assert frame.loc[(f"{RUNS}/sgd/base", "eigen", 1.0, -1.0), "loss"] == 8.5
    assert frame.loc[(f"{RUNS}/sam/rho=0.1", "random", 0.0, 0.0), "loss"] == 0.5
    assert set(written(plan, "lines").kind) == {"line", "between"}
    assert "SGD to SAM, rho 0.1" in draw(plan, "lines").svg().decode()
    # The start, the end and one epoch between are in a plane, whatever they are.
    assert "of the variance" not in draw(plan, "contours").caption
    # Surfaces of another training are not shown under this plan's names.
    other = study(tmp_path)
    record_all(other)
    path = other.run_dir(f"{RUNS}/sgd/base") / "seed=0/landscape-trajectory.json"
    path.write_text(re.sub(r"\[\s*0,\s*1,\s*3\s*\]", "[0, 1, 2, 3]", path.read_text()))
    told = "SGD: the trajectory's plane explains 100 % of the variance of epochs 0, 1, 2, 3"
    assert told in draw(other, "contours").caption
    path = path.with_name("landscape-random.json")
    path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))
    assert set(written(other, "surfaces").cell) == {f"{RUNS}/sam/rho=0.1"}


def test_rescaling_has_sam_at_condition_one(plan):
    frame = written(plan, "rescaling")
    assert list(frame.condition) == [0.5, 1.0, 2.0]
    assert list(frame["mean"]) == [80.0, 82.0, 79.0]
    assert list(frame.reported) == [78.98, 79.35, 78.78]


def test_what_is_not_planned_has_no_panel(tmp_path):
    thin = {"only": {"variant": ["sgd", "sam"], "rho": [0.1]}, "reason": "to save time"}
    none = {"only": {"variant": []}, "reason": "to save time"}
    plan = study(tmp_path, seeds=2, tables={"T1": thin, "S1": none})
    drawn = draw(plan, "accuracy_vs_rho")
    assert set(drawn.data.variant) <= {"sgd", "sam"}
    for name in ("rescaling", "share_accuracy"):
        drawn = draw(plan, name)
        assert drawn.caption.startswith("Not planned")
        assert b"planned" in drawn.svg()


@pytest.mark.parametrize("name", figures.kinds())
def test_the_same_records_give_the_same_bytes(plan, name):
    first, second = draw(plan, name), figures.draw(plan, STUDY, name)
    assert first.svg() == second.svg()
    assert first.png() == second.png()
    assert b"<dc:date>" not in first.svg()


OF_OTHERS = (
    *("over_rho", "error_reduction", "orders", "bounds", "leads"),
    *("predictive_power", "drift", "mode_planes", "widths"),
    *("double_descent", "grokking", "mode_connectivity"),
)
"""Their tables are no study of variants: see the tests of their own."""


@pytest.mark.parametrize("name", [k for k in figures.kinds() if k not in OF_OTHERS])
def test_caption_says_what_was_trained_and_how_often(plan, name):
    caption = draw(plan, name).caption
    assert "cnn3 on digits, a stand-in for RN18 on CIFAR-100, 3 epochs (paper: 200)" in caption
    single = "landscape" in figures.kinds()[name].needs
    assert ("One run each, seed 0" if single else "over 3 seeds") in caption
    assert ("95 % t-interval" in caption) != single


@pytest.mark.parametrize("name", [k for k in figures.kinds() if k not in OF_OTHERS])
def test_what_is_not_run_is_said_in_the_figure(tmp_path, name):
    landscape = LANDSCAPE | {"convexity_points": 3}
    plan = study(tmp_path, [POINTS], stages={"curvature": CURVATURE, "landscape": landscape})
    drawn = draw(plan, name)
    assert (drawn.caption, len(drawn.figure.axes)) == (figures.NOT_RUN, 1)
    assert b">not run<" in drawn.svg()


@pytest.mark.parametrize("name", figures.kinds())
def test_a_view_of_nothing_still_draws(tmp_path, name):
    study(tmp_path)
    nothing = {"only": {"variant": []}, "reason": "to save time"}
    plan = study(tmp_path, [POINTS], tables={"T1": nothing, "S1": nothing}, stages={})
    assert b"planned" in draw(plan, name).svg()
    assert figures.inputs(plan, STUDY, name).cells == ()


def test_a_figure_declares_the_cells_it_reads(plan):
    reads = lambda name: figures.inputs(plan, STUDY, name)  # noqa: E731
    assert reads("region_shares").cells == (f"{RUNS}/sam/rho=0.1", f"{RUNS}/sam/rho=0.2")
    assert f"{RUNS}/sgd/base" in reads("accuracy_vs_rho").cells
    assert all("same" in cell or "sam/" in cell for cell in reads("rescaling").cells)
    assert (reads("accuracy_vs_rho").needs, reads("lambda_max").needs) == ((), ("curvature",))


def test_an_unknown_figure_is_named(plan):
    with pytest.raises(InputError, match="geometry_sam pie is not allowed; allowed: geometry_sam"):
        draw(plan, "pie")


PIE = """\"\"\"A pie.\"\"\"

from samscope.analysis import canvas, results
from samscope.analysis.canvas import Drawn
from samscope.analysis.view import View

TITLE = "A pie"


def draw(view: View, slices: int = 2) -> Drawn:
    \"\"\"Draw it.\"\"\"
    figure, ((axes,),) = canvas.panels((3, 2), 1, [(0.2, 1.5)], 0.5, 0)
    frame = results.metrics(view.plan, view.cells(variant="sam"))
    axes.pie([1] * slices)
    return Drawn(figure, frame, f"A pie of {slices} slices.")
"""
SCRIPT = """
import sys
from pathlib import Path
from samscope import InputError, digests
from samscope.analysis import figures
from samscope.plan.load import load_plan
from samscope.report.build import build

root = Path(sys.argv[1])
plan = load_plan({"profile": "tiny", "papers": ["geometry_sam"]}, root)
figures.check(plan)
print(figures.inputs(plan, "geometry_sam", "pie").cells[0])
print(len(digests.digest(*figures.code(plan, "geometry_sam", "pie"))))
figures.write(plan, "geometry_sam", "pie")
first = build(plan, plan.results / "report")
print("A pie of 3 slices." in first.with_name("geometry_sam.html").read_text())
"""


def test_a_kind_is_one_file_and_one_entry(tmp_path):
    shutil.copytree(Path(figures.__file__).parents[2], tmp_path / "src/samscope")
    (tmp_path / "src/samscope/analysis/figures/pie.py").write_text(PIE)
    plan = study(tmp_path)
    record_all(plan)
    entry = {"draw": "pie", "arguments": {"slices": 3}, "tables": ["T1"]}
    edited(plan.papers[STUDY].folder / "paper.yaml", figures=[entry])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == [f"{RUNS}/sgd/base", "16", "True"], done.stderr
    frame = pd.read_csv(plan.results / "figures/geometry_sam/pie.csv")
    assert set(frame.cell) == {f"{RUNS}/sam/rho=0.1", f"{RUNS}/sam/rho=0.2"}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([{"draw": "pie"}], "figures draw: pie is not allowed; allowed: accuracy_vs_rho, bounds"),
        ([{"draw": "lines"}] * 2, "figures name: lines is not allowed"),
        ([{"draw": "lines", "arguments": {"rho": 1}}], "figures lines arguments: rho is not"),
        ([{"draw": "lines", "where": {"model": "no such"}}], "where.model: no such is not allowed"),
        ([{"draw": "lines", "where": {"model": ["resnet18"]}}], "where.model: ['resnet18'] is not"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused_in_one_line(tmp_path, entries, told):
    folder = write_study(tmp_path)
    edited(folder / "paper.yaml", figures=entries)
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    with pytest.raises(InputError) as error:
        figures.check(plan)
    assert str(error.value).startswith("geometry_sam/paper.yaml")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_kind_reads_what_it_says(plan):
    """Each says its title; what it takes beside a view has a default."""
    for kind in figures.kinds().values():
        assert kind.title
        assert kind.cells in selection.CELLS
        assert set(kind.needs) <= set(stages.STAGES)
    assert figures.kinds()["ratio_bins"].arguments == ("rho", "steps", "told")


IMPORTS = """
import sys
# The workflow reads the registry to plan, in every invocation.
import samscope.analysis.figures
print({"matplotlib", "pandas", "torch"} & set(sys.modules))
# Tables, figures, claims and the page are made without torch.
import samscope.report.build, samscope.analysis.figures.grokking
print({"torch"} & set(sys.modules))
"""


def test_no_library_is_loaded_that_is_not_needed():
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


def interval(values: list[float]) -> dict[str, float]:
    found = mean_interval(values)
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def test_of_two_seeds_both_are_drawn_and_of_more_the_interval_within_percentages():
    rows = [interval(v) for v in ([60.0, 90.0], [5.0, 5.0], [1.0, 50.0, 99.0], [40.0, 50.0, 60.0])]
    low, high = canvas.ends(pd.DataFrame(rows))
    assert list(low) == pytest.approx([60, 5, 0, rows[3]["low"]])
    assert list(high) == pytest.approx([90, 5, 100, rows[3]["high"]])
    logs = pd.DataFrame([interval([math.log(2.0), math.log(300.0)])])
    factors = logs.assign(**{k: logs[k].map(math.exp) for k in ("mean", "low", "high")})
    assert [end[0] for end in canvas.ends(factors, logs=True)] == pytest.approx([2, 300])
    assert "each seed" in canvas.means([2, 3])
    assert canvas.means([3, 0]) == "mean and 95 % t-interval over 3 seeds"


def test_a_collapse_does_not_squeeze_the_other_lines():
    """One line at 10 % among many at 70 to 82 % leaves the panel, with its value written there."""
    axes = canvas.Figure().subplots()
    others = [float(v) for v in range(70, 83)]
    floor = canvas.limits([axes], [*others, 10.0])
    assert 60 < floor < 70
    assert axes.get_ylim()[0] == floor
    canvas.below(axes, pd.Series([0.1, 0.8]), pd.Series([80.0, 10.0]), floor, "black")
    assert [text.get_text() for text in axes.texts] == ["10↓"]


def test_without_a_collapse_all_points_are_in_the_panel():
    axes = canvas.Figure().subplots()
    assert canvas.limits([axes], [70.0, 75.0, 82.0]) == float("-inf")
    assert axes.get_ylim()[0] < 70
    assert axes.get_ylim()[1] > 82
