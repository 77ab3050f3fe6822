"""Figures of a paper with several models, adaptive SAM, and no validation samples."""

import io
import json
import math
import re

import pandas as pd
import pytest

from samscope.analysis import canvas, figures, selection
from samscope.analysis.stats import mean_interval
from samscope.analysis.view import View
from samscope.plan.load import load_plan
from samscope.plan.types import Plan
from small_study import CURVATURE, KEYS, LANDSCAPE, PROTOCOL, STUDY, edited, record, record_surfaces
from small_study import write_study as write

RN18, RN34 = "cnn3-digits", "cnn5-digits"
KINDS = ("sweeps", "loss_curves", "spectral_density", "contours", "surfaces", "convexity")
HEADER = "model,data,method,rho,column,metric,reported,uncertainty,excluded,note\n"
RUNS = [
    ("RN18,CIFAR-100,ADAM,,ADAM", (80.0, 0.5, 0.2)),
    ("RN18,CIFAR-100,ASAM,0.1,ASAM (run 1)", (81.0, 0.4, 0.3)),
    ("RN18,CIFAR-100,ASAM,0.1,ASAM (run 2)", (79.0, 0.45, 0.3)),
    ("RN18,CIFAR-100,ASAM,0.5,ASAM", (82.0, 0.3, 0.4)),
    ("RN18,CIFAR-100,SAM,0.1,SAM", (None, None, None)),
    ("RN34,CIFAR-100,SAM,0.01,SAM", (60.0, 0.6, 0.5)),
    ("RN34,CIFAR-100,SAM,0.1,SAM", (61.0, 0.6, 0.6)),
]
METRICS = ("test_acc_percent", "test_loss", "train_loss")
BASE = "RN34,CIFAR-100,ADAM,,ADAM,test_acc_percent,59.0,,,\n"
STORED = {"lambda_max": 100.0, "leading_ratio": 4.0, "lambda_min": -2.0}
METHODS = {
    "ADAM": {"variant": "sgd"},
    "SAM": {"variant": "sam"},
    "ASAM": {"variant": "sam", "adaptive": "davda54"},
}
CHOSEN = {"model": ["cnn3", "cnn5"], "variant": ["sgd", "sam"], "adaptive": ["", "davda54"]}
LOOK = {"told": "Triangles: as stored."}
LINES = {"planes": ["random"], "lines": [1, 3, 0.5]}


def study(root, **protocol: object) -> Plan:
    """Two models, the sweeps in table T1; the second's optimizer alone stands in S1."""
    stand_ins = {"model": {"resnet18": "cnn3", "resnet34": "cnn5"}, "data": {"cifar100": "digits"}}
    stages = {"curvature": CURVATURE | {"where": CHOSEN, "pooled": CURVATURE["pooled"]},
              "landscape": LANDSCAPE | {"where": CHOSEN}}  # fmt: skip
    own = {"epochs": 3, "augment": "none", "val_size": 0, "train_size": 900, **protocol}
    folder = write(root, stand_ins=stand_ins, stages=stages, protocol=own, tables={})
    lines = [
        f"{run},{metric},{'' if value is None else value},,,\n"
        for run, values in RUNS
        for metric, value in zip(METRICS, values, strict=True)
    ]
    (folder / "reported/T1.csv").write_text(HEADER + "".join(lines))
    (folder / "reported/S1.csv").write_text(HEADER + BASE)
    entries = [{"draw": kind, "tables": ["T1"]} for kind in KINDS]
    entries[2]["arguments"], entries[3]["arguments"] = LOOK, LINES
    models = {"RN18": "resnet18", "RN34": "resnet34"}
    keys = KEYS | {"model": models, "method": METHODS}
    protocol = PROTOCOL | {"optimizer": "adam", "val_size": 0}
    edited(folder / "paper.yaml", keys=keys, figures=entries, protocol=protocol)
    return load_plan({"profile": "tiny", "papers": [STUDY]}, root)


def train(plan: Plan, cell: str, accuracy: list[float], losses: list[list[float]], **also) -> None:
    """A cell with a run for each accuracy; ``losses`` of its epochs, of training and of test."""
    record(plan, cell, accuracy, **also)
    path, columns = plan.run_dir(cell) / "history.csv", ("seed", "epoch", *HISTORY)
    lines = [",".join(columns)]
    for seed in range(len(accuracy)):
        for epoch, (ours, held) in enumerate(losses, 1):
            lines.append(f"{seed},{epoch},{ours + 0.1 * seed},{held + 0.3 * seed}")
    path.write_text("\n".join(lines) + "\n")
    path = plan.run_dir(cell) / "metrics.json"
    made = json.loads(path.read_text())
    for run, best in zip(made["runs"], accuracy, strict=True):
        run["highest_test_acc_percent"] = best + 5
    path.write_text(json.dumps(made))


HISTORY = ("train_loss", "test_loss")
ADAM, ADAPTIVE = f"{RN18}/sgd/base", f"{RN18}/sam/rho=0.1,adaptive=davda54"


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    plan = study(tmp_path_factory.mktemp("models"))
    train(plan, ADAM, [70.0, 71.0, 72.0], [[2, 1], [1, 1.5], [0.5, 1]], top=[10.0, 20.0, 40.0])
    train(plan, ADAPTIVE, [80.0, 82.0, 84.0], [[2, 1], [1, 1], [0.5, 0.5]], top=[1.0, 2.0, 4.0])
    train(plan, f"{RN18}/sam/rho=0.1", [75.0, 76.0, 77.0], [[2, 1], [1, 1], [0.5, 0.5]])
    train(plan, f"{RN34}/sam/rho=0.1", [50.0], [[3, 3], [2, 2], [1, 2]], top=[500.0])
    record_surfaces(plan, ADAM, 4.0)
    record_surfaces(plan, ADAPTIVE, 1.0)
    record_surfaces(plan, f"{RN34}/sam/rho=0.1", 100.0)
    return plan


def written(plan: Plan, name: str) -> pd.DataFrame:
    """The numbers of a figure as its CSV has them."""
    return pd.read_csv(io.StringIO(figures.draw(plan, STUDY, name).data.to_csv(index=False)))


def text(plan: Plan, name: str) -> str:
    return figures.draw(plan, STUDY, name).svg().decode()


def view(plan: Plan, **also: object) -> View:
    return View(plan, plan.papers[STUDY], **also)


def test_cells_are_of_the_model_that_the_paper_names(plan):
    both = selection.models(view(plan), selection.every(view(plan)))
    assert list(both) == ["RN18 CIFAR-100", "RN34 CIFAR-100"]
    assert both["RN34 CIFAR-100"][0] == f"{RN34}/sam/rho=0.01"
    one = view(plan, where={"model": "resnet34"})
    assert list(selection.models(one, selection.every(one))) == [""]
    assert selection.samples(one, selection.every(one)) == "images"


def test_a_cell_is_labelled_by_its_optimizer_and_its_form_of_sam(plan):
    labels = [selection.label(view(plan), cell) for cell in (ADAM, ADAPTIVE)]
    assert labels == ["Adam", "adaptive SAM, rho 0.1"]


def test_a_sweep_has_the_optimizer_alone_from_another_table(plan):
    frame = written(plan, "sweeps")
    base = frame[frame.rho.isna()].set_index(["model", "metric"])
    assert base.loc[("RN34 CIFAR-100", "test_acc_percent"), "reported"] == 59.0
    assert math.isnan(base.loc[("RN34 CIFAR-100", "gap_loss"), "reported"])
    assert f"{RN34}/sgd/base" in figures.inputs(plan, STUDY, "sweeps").cells


def test_a_sweep_holds_measured_and_both_logged_runs(plan):
    frame = written(plan, "sweeps").set_index(["method", "rho", "metric"]).sort_index()
    found = frame.loc[("adaptive SAM", 0.1, "test_acc_percent")]
    expected = mean_interval([80.0, 82.0, 84.0])
    assert list(found.reported) == [81.0, 79.0]
    assert set(found["mean"]) == {82.0}
    assert list(found.low) == pytest.approx([expected.low] * 2)
    highest = frame.loc[("adaptive SAM", 0.1, "highest_test_acc_percent")]
    assert highest["mean"] == 87.0
    gap = frame.loc[("adaptive SAM", 0.1, "gap_loss")]
    assert list(gap.reported) == pytest.approx([0.1, 0.15])
    # Planned and not run; and run, with nothing printed.
    assert frame.loc[("adaptive SAM", 0.5, "test_acc_percent")].n.item() == 0
    assert math.isnan(frame.loc[("SAM", 0.1, "gap_loss")].reported.iloc[0])


def test_a_gap_below_zero_is_drawn_there(plan):
    low, high = canvas.ends(
        pd.DataFrame([{"mean": -1.0, "low": -2.0, "high": 0.5, "n": 3}]),
        within=(-math.inf, math.inf),
    )
    assert (low.item(), high.item()) == (-2.0, 0.5)
    assert canvas.ends(pd.DataFrame([{"mean": 1.0, "low": -2.0, "high": 3.0, "n": 3}]))[0][0] == 0


def test_curves_are_paired_by_seed(plan):
    frame = written(plan, "loss_curves").set_index(["cell", "quantity", "epoch"])
    gap = frame.loc[(ADAM, "gap", 2)]
    expected = mean_interval([0.5, 0.7, 0.9])
    found = gap["mean"], gap.low, gap.high
    assert found == pytest.approx((expected.mean, expected.low, expected.high))
    assert frame.loc[(ADAM, "held_out_loss", 3), "mean"] == pytest.approx(1.3)
    drawn = text(plan, "loss_curves")
    assert "Not run: RN18 CIFAR-100 adaptive SAM, rho 0.5; RN34 CIFAR-100 SAM, rho 0.01." in drawn
    assert "Gap: test less training loss" in drawn


def test_curves_are_of_validation_where_there_are_samples_for_it(tmp_path):
    plan = study(tmp_path, val_size=100)
    record(plan, ADAM, [70.0, 71.0, 72.0])
    frame = written(plan, "loss_curves")
    assert set(frame[frame.quantity == "held_out_loss"]["mean"]) == {1.0}
    assert "Gap: validation less training loss" in text(plan, "loss_curves")


def test_spectra_of_a_model_share_a_grid_and_no_two_models_do(plan):
    frame = written(plan, "spectral_density")
    ends = frame.groupby("cell").eigenvalue.max()
    assert ends[ADAM] == ends[ADAPTIVE]
    assert ends[f"{RN34}/sam/rho=0.1"] > 10 * ends[ADAM]


def test_one_eigenvalue_of_many_is_above_the_foot_of_its_panel(tmp_path):
    plan = study(tmp_path)
    record(plan, ADAM, [70.0], top=[10.0])
    path = plan.run_dir(ADAM) / "curvature.json"
    path.write_text(path.read_text().replace("0.06]", "1e-08]"))
    drawn = figures.draw(plan, STUDY, "spectral_density")
    last = drawn.data[drawn.data.epoch == 3]
    peak = last.density[(last.eigenvalue - 10).abs() < 0.05].max()
    assert peak < 1e-7 * last.density.max()
    assert drawn.figure.axes[0].get_ylim()[0] < peak


def stored(plan: Plan) -> None:
    """Eigenvalues printed for Adam, in the table that the figure shows."""
    path = plan.papers[STUDY].folder / "reported/T1.csv"
    lines = [f"RN18,CIFAR-100,ADAM,,stored,{k},{v},,,\n" for k, v in STORED.items()]
    path.write_text(path.read_text() + "".join(lines))


def test_printed_eigenvalues_stand_beside_the_papers_own_runs_alone(tmp_path):
    stored(study(tmp_path))
    # digits stand in for CIFAR-100: another scale
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    record(plan, ADAM, [70.0], top=[10.0])
    assert "reported" not in written(plan, "spectral_density")
    assert LOOK["told"] not in figures.draw(plan, STUDY, "spectral_density").caption
    folder = plan.papers[STUDY].folder
    stages = {"curvature": CURVATURE | {"where": CHOSEN | {"model": ["resnet18"]}}}
    own = {"stand_ins": {}, "stages": stages, "protocol": {}}
    edited(folder / "scale/tiny.yaml", **own)
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, tmp_path)
    cell = "resnet18-cifar100/sgd/base"
    record(plan, cell, [70.0], top=[10.0])
    frame = written(plan, "spectral_density")
    told = frame[frame.reported.notna()].set_index("reported")
    assert dict(told.eigenvalue) == {"lambda_max": 100.0, "lambda_min": -2.0, "lambda_k": 25.0}
    assert set(told.cell) == {cell}
    assert frame.eigenvalue.max() > 100
    assert LOOK["told"] in figures.draw(plan, STUDY, "spectral_density").caption


def test_contours_of_the_planes_that_are_asked_for_tell_their_levels(plan):
    frame, drawn = written(plan, "contours"), figures.draw(plan, STUDY, "contours")
    assert set(frame.kind) == {"random"}
    # 0.5 to 8.5 of Adam and to 2.5 of adaptive SAM, on one scale and on their own
    told = "RN18 CIFAR-100, random directions, "
    assert f"{told}one scale 0.5 to 8.5; {told}own scale 0.5 to 8.5 and 0.5 to 2.5" in drawn.caption
    assert "RN34 CIFAR-100, random directions, one scale 0.5 to 200" in drawn.caption
    assert "1 to 3 in steps of 0.5" in drawn.caption


def test_a_row_a_model_of_surfaces(plan):
    frame, drawn = written(plan, "surfaces"), text(plan, "surfaces")
    assert frame.groupby("cell").loss.max().to_dict() == {
        ADAM: 8.5, ADAPTIVE: 2.5, f"{RN34}/sam/rho=0.1": 200.5,
    }  # fmt: skip
    assert "RN34 CIFAR-100: SAM," in drawn


def test_convexity_holds_the_ratio_and_both_eigenvalues(plan):
    frame = written(plan, "convexity").set_index(["cell", "a", "b"])
    assert frame.loc[(ADAM, 1.0, -1.0), "ratio"] == 0.5
    assert frame.loc[(ADAPTIVE, 1.0, -1.0), "ratio"] == 2.0
    assert list(frame.columns[1:]) == ["ratio", "error", "lambda_max", "lambda_min"]
    caption = figures.draw(plan, STUDY, "convexity").caption
    assert "each within 0.01 by" in caption
    assert "end at 1" in caption


@pytest.mark.parametrize("name", ["spectral_density", "contours", "surfaces", "convexity"])
def test_a_cell_that_is_not_run_has_no_panel_and_is_named(plan, name):
    drawn = figures.draw(plan, STUDY, name)
    assert re.search(r"Not run: .*RN34 CIFAR-100 SAM, rho 0\.01\. ", drawn.caption)
    assert b"rho 0.01" not in drawn.svg().partition(b"</metadata>")[2]


def test_a_model_of_which_nothing_is_run_has_no_panels(tmp_path):
    plan = study(tmp_path)
    record(plan, f"{RN34}/sam/rho=0.1", [50.0])
    drawn = figures.draw(plan, STUDY, "sweeps")
    # The one run tells no highest epoch.
    assert [axes.get_title(loc="left") for axes in drawn.figure.axes] == [
        "Test accuracy, %", "Test loss less training loss",
    ]  # fmt: skip
    assert "Not run: RN18 CIFAR-100. " in drawn.caption
    assert "rho without a filled point is not run" in drawn.caption
