"""Controls of the study's claims: matched losses, chosen settings, and their figure."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from samscope import InputError
from samscope.analysis import verdicts
from samscope.analysis.claims import matched
from samscope.analysis.figures import forest
from samscope.analysis.stats import mean_interval
from samscope.plan.load import load_plan
from small_claims import GREATER, claim
from small_study import HEADER, RUNS, STUDY, record, record_all, study, write_study

MATCHED = {
    "kind": "matched", "metric": "lambda_max", "a": "sam", "b": "sgd", "rhos": [0.1],
    "direction": "a_below_b",
}  # fmt: skip
LOSSES = {"sgd/base": [0.8, 0.1], "sam/rho=0.1": [0.9, 0.4]}


def spectra(plan, cell: str, top: list[float], losses: list[float]) -> None:
    """Spectra of three times ``top`` at first and of it at last, at these losses."""
    record(plan, f"{RUNS}/{cell}", [70.0] * len(top), top=top)
    path = plan.run_dir(f"{RUNS}/{cell}") / "curvature.json"
    held = json.loads(path.read_text())
    for run in held["runs"]:
        for at, loss in zip(run["spectra"], losses, strict=True):
            at |= {"loss": loss, "norm": 2.0}
    path.write_text(json.dumps(held))


def test_curvature_is_compared_at_the_loss_that_both_reach(tmp_path):
    """SGD ends lower; on its way from 3 t at 0.8 to t at 0.1 it is at 0.4 half an octave up."""
    plan = study(tmp_path, [claim(**MATCHED)])
    for cell, top in (("sgd/base", [10.0, 20.0, 40.0]), ("sam/rho=0.1", [8.0, 15.0, 33.0])):
        spectra(plan, cell, top, LOSSES[cell])
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    at = 3.0 ** (1 - np.log(0.8 / 0.4) / np.log(0.8 / 0.1))
    assert at == pytest.approx(3.0 ** (2 / 3))
    logs = mean_interval(np.log([0.8 / at, 0.75 / at, 0.825 / at]))
    assert (line.verdict, line.n) == ("supported", 3)
    assert [line.effect, line.ci_high] == pytest.approx(list(np.exp([logs.mean, logs.high])))


def test_a_loss_that_was_never_measured_is_no_comparison(tmp_path):
    plan = study(tmp_path, [claim(**MATCHED)])
    spectra(plan, "sgd/base", [10.0, 20.0], [0.3, 0.1])
    spectra(plan, "sam/rho=0.1", [8.0, 15.0], [0.9, 0.4])
    line = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    assert line.verdict == "not run"
    assert line.reason == "nothing was measured of both at one loss at rho 0.1"


def test_the_level_is_met_where_the_loss_passes_it_for_the_last_time():
    path = pd.DataFrame({"loss": [1.0, 0.2, 0.5, 0.1], "value": [8.0, 2.0, 4.0, 1.0]})
    assert matched._at(path, 0.1) == 1.0
    assert matched._at(path, 0.5) == pytest.approx(4.0)
    assert 1.0 < matched._at(path, 0.2) < 4.0
    assert np.isnan(matched._at(path, 2.0))
    assert np.isnan(matched._at(path.assign(loss=[1.0, 0.0, 0.5, 0.1]), 0.2))


def test_the_scale_free_eigenvalue_has_the_norm_of_the_weights(tmp_path):
    fields = GREATER | {"metric": "scale_free", "rhos": [0.1], "direction": "a_below_b"}
    plan = study(tmp_path, [claim(**fields)])
    spectra(plan, "sgd/base", [10.0, 20.0, 40.0], [0.8, 0.1])
    spectra(plan, "sam/rho=0.1", [1.0, 2.0, 5.0], [0.8, 0.1])
    found = verdicts.evaluate(plan, "geometry_sam").iloc[0]
    assert found.effect == pytest.approx(np.exp(np.log([0.1, 0.1, 0.125]).mean()))
    frame = verdicts.results.metrics(plan, [f"{RUNS}/sgd/base"], ["scale_free"])
    assert list(frame[frame.selection == "last"].value) == [40.0, 80.0, 160.0]


def of_one_table(root, table: str, claims: list, protocol: dict | None = None, keys=None):
    """The plan of the study with this table in place of its own."""
    scale = {"protocol": protocol} if protocol else {}
    folder = write_study(root, claims, stages={}, tables={}, **scale)
    for path in (folder / "reported").glob("*.csv"):
        path.unlink()
    (folder / "reported/P4.csv").write_text(table)
    about = yaml.safe_load((folder / "paper.yaml").read_text()) | {"figures": []}
    about["tables"] = {"P4": {"title": "Ours", "question": "Does it hold?"}}
    about["keys"] |= keys or {}
    (folder / "paper.yaml").write_text(yaml.safe_dump(about))
    return load_plan({"profile": "tiny", "papers": [STUDY]}, root)


def test_best_is_the_cell_that_validation_chooses(tmp_path):
    """Of SGD's learning rates the one with the best validation accuracy, not test accuracy."""
    table = (
        HEADER.replace("\n", ",tuning\n")
        + "RN18,CIFAR-100,SGD,sgd,,,test_acc_percent,,,,,as it is\n"
        + "RN18,CIFAR-100,SGD chosen,sgd,,,test_acc_percent,,,,,chosen\n"
        + "RN18,CIFAR-100,SAM,sam,0.1,,test_acc_percent,,,,,as it is\n"
    )
    fields = GREATER | {"rhos": [0.1]}
    others = {"C2": "sgd lr=best", "C3": "sgd lr=0.5"}
    claims = [claim(**fields), *(claim(**fields | {"id": k, "b": b}) for k, b in others.items())]
    keys = {"tuning": {"as it is": {}, "chosen": {"choose": {"lr": [0.1, 0.3, 0.5]}}}}
    plan = of_one_table(tmp_path, table, claims, keys=keys)
    runs = {
        "sgd/base": (70.0, 60.0),
        "sgd/lr=0.3": (75.0, 90.0),
        "sgd/lr=0.5": (79.0, 50.0),
        "sam/rho=0.1": (80.0, 60.0),
    }
    for cell, (accuracy, val) in runs.items():
        values = [accuracy, accuracy + 1.0, accuracy + 2.5]
        record(plan, f"{RUNS}/{cell}", values, val=[val] * 3)
    plain, best, own = verdicts.evaluate(plan, "geometry_sam").itertuples()
    assert (plain.effect, best.effect) == (10.0, 5.0)
    # No row has this rate alone: it is one of those to choose from.
    assert (own.verdict, own.reason) == ("not run", "not planned at rho 0.1")


def test_a_share_is_compared_in_points_at_a_time_of_training(tmp_path):
    share = {
        "kind": "settings", "metric": "region1", "variant": "sam", "a": {"rho": 0.1},
        "b": {"rho": 0.2}, "direction": "a_below_b",
    }  # fmt: skip
    late = claim(**share | {"id": "C2", "when": "last_epoch"})
    plan = study(tmp_path, [claim(**share), late])
    record(plan, f"{RUNS}/sam/rho=0.1", [80.0] * 3, shares=[[50.0, 53.0]] * 2 + [[50.0, 54.0]])
    record(plan, f"{RUNS}/sam/rho=0.2", [80.0] * 3, shares=[[60.0, 60.0]] * 3)
    mean, last = verdicts.evaluate(plan, "geometry_sam").itertuples()
    assert (mean.unit, mean.effect) == ("points", pytest.approx(-(8.5 + 8.5 + 8.0) / 3))
    assert last.effect == pytest.approx(-(7 + 7 + 6) / 3)


def test_a_forest_shows_claims_with_their_margin(tmp_path):
    margins = {"margins": {"points": 1}}
    plan = study(tmp_path, [claim(**GREATER | {"rhos": [0.1]} | margins),
                            claim(**GREATER | {"id": "C2", "rhos": [0.8]}),
                            claim(**GREATER | {"id": "C3", "rhos": [0.1]} | margins)])  # fmt: skip
    record_all(plan)
    view = verdicts.View(plan, plan.papers["geometry_sam"])
    drawn = forest.draw(view, {"plain": "C1", "far": "C2", "again": "C3"}, "points")
    assert list(drawn.data.row) == ["plain", "far", "again"]
    assert [text.get_text() for text in drawn.figure.axes[0].get_yticklabels()] == ["plain"]
    assert (drawn.data.effect[0], drawn.data.margin[0]) == (11.0, 1.0)
    told = "Plain: supported (C1). Again is the same here (C3). Not run: far (C2). "
    assert told in drawn.caption
    with pytest.raises(InputError, match="rows: C9 is not allowed; allowed: C1, C2, C3"):
        forest.draw(view, {"plain": "C9"}, "points")


def test_a_value_that_a_row_says_is_that_row_s(tmp_path):
    """Label noise 0 is the paper's protocol, in whose place the profile has another."""
    table = (
        HEADER.replace("\n", ",label_noise\n")
        + "RN18,CIFAR-100,SGD,sgd,,,test_acc_percent,,,,,\n"
        + "RN18,CIFAR-100,SAM,sam,0.1,,test_acc_percent,,,,,\n"
        + "RN18,CIFAR-100,SGD clean,sgd,,,test_acc_percent,,,,,0\n"
        + "RN18,CIFAR-100,SAM clean,sam,0.1,,test_acc_percent,,,,,0\n"
    )
    fields = GREATER | {"rhos": [0.1]}
    clean = {"id": "C2", "a": "sam label_noise=0", "b": "sgd label_noise=0"}
    noisy = {"epochs": 3, "augment": "none", "val_size": 100, "label_noise": 0.4}
    plan = of_one_table(tmp_path, table, [claim(**fields), claim(**fields | clean)], noisy)
    for cell, accuracy in (("sgd/base", 70.0), ("sam/rho=0.1", 80.0), ("sgd/label_noise=0", 90.0),
                           ("sam/rho=0.1,label_noise=0", 91.0)):  # fmt: skip
        record(plan, f"{RUNS}/{cell}", [accuracy, accuracy + 1.0, accuracy + 2.5])
    assert [line.effect for line in verdicts.evaluate(plan, STUDY).itertuples()] == [10.0, 1.0]


def test_among_some_that_are_not_run_nothing_is_best(tmp_path):
    table = (
        HEADER.replace("\n", ",tuning\n")
        + "RN18,CIFAR-100,SGD chosen,sgd,,,test_acc_percent,,,,,chosen\n"
        + "RN18,CIFAR-100,SAM,sam,0.1,,test_acc_percent,,,,,as it is\n"
    )
    keys = {"tuning": {"as it is": {}, "chosen": {"choose": {"lr": [0.1, 0.3]}}}}
    fields = GREATER | {"rhos": [0.1], "b": "sgd lr=best"}
    plan = of_one_table(tmp_path, table, [claim(**fields)], keys=keys)
    for cell in ("sgd/base", "sam/rho=0.1"):
        record(plan, f"{RUNS}/{cell}", [70.0, 71.0, 73.0])
    line = verdicts.evaluate(plan, STUDY).iloc[0]
    assert (line.verdict, line.reason) == ("not run", "no result yet at rho 0.1")
