"""Double descent from the paper's folder: rows that name fits, claims of curves, the figure."""

import re
import sys
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

from samscope import data
from samscope.analysis import claims, figures, scope, verdicts
from samscope.analysis.claims import course, extremes
from samscope.config.claims import Margins
from samscope.errors import InputError
from samscope.metrics import METRICS
from samscope.plan.load import load_plan
from samscope.stages import STAGES, runs
from samscope.stages.bench import Bench
from samscope.stages.stage import complete

HSE = "workflow/papers/hse2024"
WIDTHS = {0.1: 3.0, 0.5: 1.0, 1.0: 9.0, 2.0: 0.5}


def plan_of(project, **config):
    return load_plan(
        {"profile": "quick", "papers": ["hse2024"], "tables": ["RFF", "RFF_CODE"], **config},
        project.folder,
    )


# Rows


def test_rows_name_fits_by_width_and_noise(project):
    plan = plan_of(project)
    fit = plan.specs["random_fourier-digits/noise=0.2/width=20"].cell
    assert (fit.count, fit.train_size, fit.scale, fit.label_noise) == (6000, 300, 0.5, 0.2)
    coded = [p.cell for id_, p in plan.specs.items() if "mean" in id_]
    assert {(fit.scale, fit.mean, fit.label_noise) for fit in coded} == {(2.5, 0.04, 0.0)}
    paper = plan_of(project, profile="paper")
    fit = paper.specs["random_fourier-mnist/noise=0/width=6"].cell
    assert (fit.count, fit.train_size, fit.scale) == (60000, 10000, 0.2)
    claims.check(plan_of(project, tables=[]))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("MNIST,0.2,20,", "MNIST,0.3,20,", "noise: 0.3 is not allowed; allowed: 0, 0.1, 0.2"),
        ("MNIST,0.2,20,", "MNIST,0.2,0,", "width: 0.0 is not allowed; allowed: 0.00666"),
        ("MNIST,0.2,20,", "MNIST,0.2,many,", "width: many is not allowed; allowed: a float"),
    ],
)
def test_a_row_that_names_no_fit_is_told_with_its_line(project, old, new, told):
    project.edit(f"{HSE}/reported/RFF.csv", old, new)
    with pytest.raises(InputError) as caught:
        plan_of(project)
    assert str(caught.value).startswith("hse2024/reported/RFF.csv line 15")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_run_is_named_once(project):
    plan = plan_of(project)
    (told,) = scope.thinned(plan, "hse2024", plan.papers["hse2024"].tables["RFF"].rows).values()
    assert told.startswith("Not run at width 0.05, 0.2, 0.95, 1.05, 1.3, 3, 10 % wrong: thinned")


# Claims


class Records:
    """Values by width, the same in three seeds but for a spread."""

    margins = Margins()

    def __init__(self, values: dict[float, float]) -> None:
        self.values = values

    def cell(self, variant: str, rho: None, leaves: dict[str, float]) -> str | None:
        width = leaves["width"]
        return str(float(width)) if width in self.values else None

    def of(self, cell: str | None, metric: str) -> pd.Series:
        if cell is None:
            return pd.Series(dtype=float)
        return self.values[float(cell)] * pd.Series({0: 1.0, 1: 1.1, 2: 0.9})

    def printed(self, metric: str, *sides: object) -> tuple[float, ...]:
        return ()


def claim(kind, **fields):
    about = dict.fromkeys(("id", "quote", "location", "test", "reported", "kind"), "a")
    return kind.Fields(**about, metric="fit_norm", leaf="width", **fields)


@pytest.mark.parametrize(
    ("a", "b", "direction", "effect", "claimed"),
    [
        ((1.0,), (0.1, 0.5, 2.0), "a_above_b", 3.0, True),
        ((2.0,), (0.1, 0.5), "a_below_b", 0.5, True),
        ((0.1, 1.0), (2.0, 0.5), "a_below_b", 6.0, False),
    ],
)
def test_extremes_are_compared(a, b, direction, effect, claimed):
    (part,) = extremes.compare(claim(extremes, a=a, b=b, direction=direction), Records(WIDTHS))
    assert (part.n, part.unit, part.claimed) == (3, "ratio", claimed)
    assert part.effect == pytest.approx(effect)


def test_extremes_need_all_of_their_values():
    wanted = claim(extremes, a=(1.0,), b=(0.1, 7.0), direction="a_above_b")
    (part,) = extremes.compare(wanted, Records(WIDTHS))
    assert (part.n, part.reason) == (0, "not planned")
    with pytest.raises(InputError, match=r"claim: b: 1\.0 is not allowed"):
        claim(extremes, a=(1.0,), b=(0.1, 1.0), direction="a_above_b")


def test_a_course_is_one_comparison_a_step():
    wanted = claim(course, values=(0.1, 0.5, 1.0), direction="falls")
    parts = course.compare(wanted, Records(WIDTHS))
    assert [part.at for part in parts] == ["width=0.1 to 0.5", "width=0.5 to 1"]
    assert [part.effect for part in parts] == pytest.approx([1 / 3, 9.0])
    assert [part.claimed for part in parts] == [True, False]


# Records


@pytest.fixture
def fitted(project, data_dir):
    """A plan of which the narrow fits are made, of two seeds."""
    plan = plan_of(project, seeds=3)
    for id_, of in runs(plan, "fit").items():
        if of[0].spec.width <= 2 and "noise=0/" in id_:
            of[0].folder.parent.mkdir(parents=True)
            complete(STAGES["fit"], of, Bench(data_dir), print)
    return plan


def test_a_killed_job_goes_on_to_the_same_bits(project, data_dir):
    asked = runs(plan_of(project, seeds=3), "fit")["random_fourier-digits/noise=0.2/width=0.5"]
    folder, lines = asked[0].folder.parent, []
    folder.mkdir(parents=True)
    complete(STAGES["fit"], asked, Bench(data_dir), lines.append)
    before = {path: path.read_bytes() for path in folder.rglob("fit.json")}
    assert len(before) == 4
    (asked[1].folder / "fit.json").unlink()
    (folder / "fit.json").unlink()
    complete(STAGES["fit"], asked, Bench(data_dir), lines.append)
    assert {path: path.read_bytes() for path in folder.rglob("fit.json")} == before
    assert [line.split()[2] for line in lines[3:]] == ["kept", lines[4].split()[2], "kept"]
    assert "kept" not in lines[4]


def test_the_workflow_plans_a_job_a_fit(project):
    project.write("config.yaml", {"profile": "quick", "papers": ["hse2024"], "tables": ["RFF"]})
    planned = project.planned_jobs("results/quick/tables/hse2024/RFF.csv")
    assert planned == {"dataset": 1, "fit": 22, "table": 1}


def test_the_figure_marks_the_threshold(fitted):
    drawn = figures.draw(fitted, "hse2024", "double_descent")
    loss = drawn.data[drawn.data.metric == "fit_loss"].set_index("features")
    (peak,) = loss.index[loss["mean"] == loss["mean"].max()]
    assert peak == 300
    axes = drawn.figure.axes
    assert len(axes) == 3
    for panel in axes:
        assert panel.get_xscale() == "log"
        assert [300, 300] in [list(line.get_xdata()) for line in panel.get_lines()]
    # Of a loss the geometric mean: at the threshold one seed has most of it.
    id_ = loss.loc[300, "cell"]
    held = [STAGES["fit"].read(run)["test_loss"] for run in runs(fitted, "fit")[id_]]
    assert loss.loc[300, "mean"] == pytest.approx(np.exp(np.mean(np.log(held))))
    assert "Lowest error with true labels: " in drawn.caption
    assert "Lowest error with 20 % wrong" not in drawn.caption
    assert re.search("Not run: .*20 % wrong labels", drawn.caption)
    assert all(stage == "fit" for stage in {METRICS[m].stage for m in drawn.data.metric})


def test_claims_are_decided_of_what_is_there(fitted):
    found = verdicts.evaluate(fitted, "hse2024").set_index("id")
    assert found.verdict["C2.7b"] == "not run"
    assert "0.3" in found["at"]["C2.7c"]
    assert found.verdict["C2.7c"] == "supported"
    assert found.n["C2.7c"] == 3


# Data


def test_mnist_is_what_torchvision_has(tmp_path, monkeypatch):
    def download(root, train, download):
        count = 4 if train else 2
        return SimpleNamespace(data=np.full((count, 28, 28), 9, np.uint8), targets=[3] * count)

    sets = ModuleType("torchvision.datasets")
    sets.MNIST = download
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=sets))
    arrays = data.read("mnist", tmp_path)
    assert arrays["x_train"].shape == (4, 28, 28, 1)
    assert arrays["y_test"].tolist() == [3, 3]

    def no_network(*args, **kwargs):
        raise URLError("no network here")

    sets.MNIST = no_network
    with pytest.raises(InputError, match=r"mnist\.npz: data set: absent.*no network") as caught:
        data.read("mnist", tmp_path / "other")
    assert "\n" not in str(caught.value)
