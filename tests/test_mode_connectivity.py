"""Mode connectivity of the seminar: what is planned, and from its rows to numbers and a figure."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from samscope import models, stages
from samscope.analysis import claims, figures, verdicts
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.run.project import open_project
from samscope.run.queue import run_queue
from samscope.spec import Cell, Curve
from samscope.store import records

ROOT = Path(__file__).parents[1]
CONFIG = {"papers": ["hse2024"], "tables": ["CURVE", "METHODS", "GARIPOV"]}
LINE, SGD = "cnn3-digits/line-sgd-sam/rho=0.2,schedule=garipov", "cnn3-digits/sgd/schedule=garipov"
SAM = "cnn3-digits/sam/rho=0.2,schedule=garipov"
BENT = "cnn3-digits/bezier-sgd-sgd/schedule=garipov"


def plan_of(profile: str = "quick", **config: object):
    return load_plan({"profile": profile, **CONFIG, **config}, ROOT)


@pytest.mark.parametrize(
    ("profile", "pairs", "paths", "models"),
    [
        ("quick", 3, {"line", "bezier"}, {"cnn3"}),
        ("decide", 8, {"line", "bezier", "chain"}, {"cnn3"}),
        ("cpu", 5, {"line", "bezier", "chain"}, {"resnet8_w8"}),
        ("paper", 3, {"line", "bezier", "chain"}, {"preresnet164", "vgg16", "wrn28_10"}),
        ("short", 1, {"line", "bezier", "chain"}, {"preresnet164"}),
    ],
)
def test_what_profiles_make(profile, pairs, paths, models):
    specs = plan_of(profile).specs.values()
    curves = [p for p in specs if isinstance(p.cell, Curve)]
    assert {len(p.seeds) for p in curves} == {pairs}
    assert {p.cell.path for p in curves} == paths
    assert {p.cell.cell.model for p in curves} == models
    trained = [p for p in specs if isinstance(p.cell, Cell)]
    assert {p.seeds for p in trained} == {tuple(range(2 * pairs))}


def test_the_runs_that_a_path_needs_are_planned_with_it():
    plan = plan_of(tables=["METHODS"], seeds=2)
    assert plan.specs[SAM].seeds == plan.specs[SGD].seeds == (0, 2)
    asked = stages.runs(plan, "curve")[LINE]
    assert [[(n.spec.id, n.seed) for n in run.needs] for run in asked] == [
        [(SGD, seed), (SAM, seed)] for seed in (0, 2)
    ]
    assert plan.specs[SGD].tables == ("hse2024/METHODS",)


def test_frames_differ_in_nothing_but_when_the_path_is_taken():
    plan = load_plan({"profile": "paper", "papers": ["hse2024"], "tables": ["FRAMES"]}, ROOT)
    found = [p.cell.to_dict() for p in plan.specs.values() if isinstance(p.cell, Curve)]
    assert sorted(leaves.pop("frame") for leaves in found) == [0, 4, 50]
    assert found[0] == found[1] == found[2]
    assert (found[0]["curve_epochs"], found[0]["path"], found[0]["plane"]) == (500, "chain", 21)


def test_a_table_of_which_a_profile_runs_nothing_opens():
    config = {"profile": "cpu", "papers": ["hse2024"], "tables": ["FRAMES"]}
    assert not open_project({**config, "partial": True}, ROOT, writes=False).specs


def test_the_protocols_are_those_of_the_readme():
    curves = (p.cell for p in plan_of("paper").specs.values() if isinstance(p.cell, Curve))
    chains = (c for c in curves if c.path == "chain" and c.cell.method.variant == "sgd")
    said = {c.cell.model: c for c in chains if not c.plane}
    ends = {
        name: (c.cell.budget.epochs, c.cell.method.lr, c.cell.method.weight_decay)
        for name, c in said.items()
    }
    assert ends == {
        "vgg16": (200, 0.05, 5e-4), "preresnet164": (150, 0.1, 3e-4), "wrn28_10": (200, 0.1, 5e-4)
    }  # fmt: skip
    curves = {n: (c.curve_epochs, c.curve_lr, c.curve_decay, c.points) for n, c in said.items()}
    assert curves == {
        "vgg16": (600, 0.015, 5e-4, 61),
        "preresnet164": (200, 0.03, 3e-4, 61),
        "wrn28_10": (200, 0.03, 5e-4, 61),
    }


def test_the_printed_numbers_are_the_readmes():
    with (ROOT / "workflow/papers/hse2024/reported/GARIPOV.csv").open() as file:
        rows = list(csv.DictReader(file))
    of = {(r["network"], r["dataset"], r["curve"], r["metric"]): r["reported"] for r in rows}
    assert len(of) == 72
    assert of["VGG16", "CIFAR-100", "Chain", "max_objective"] == "1.05"
    assert of["PreResNet-164", "CIFAR-10", "Endpoints", "max_test_error_percent"] == "4.75"
    assert of["WRN-28-10", "CIFAR-10", "Chain", "max_test_error_percent"] == "4.29"


def test_networks_have_the_parameters_of_their_layers():
    import torchvision

    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    found = models.build("vgg16", 10, 3)
    assert count(found.features) == count(torchvision.models.vgg16(weights=None).features)
    assert count(found.classifier) == 2 * (512 * 512 + 512) + 512 * 10 + 10
    width, total, channels = 16, 3 * 9 * 16, 16
    for stage in range(3):
        w = width << stage
        for block in range(18):
            total += channels * w + 9 * w * w + 4 * w * w + 2 * (channels + w + w)
            total += 4 * w * channels if block == 0 else 0
            channels = 4 * w
    assert count(models.build("preresnet164", 10, 3)) == total + 2 * 256 + 256 * 10 + 10


# From rows to numbers


@pytest.fixture
def small(project):
    """The seminar's quick profile with two epochs on a hundred digits, and one pair."""
    path = "workflow/papers/hse2024/scale/quick.yaml"
    scale = yaml.safe_load((project.folder / path).read_text())
    for leaf, theirs, ours in (
        ("epochs", "150", 2),
        ("batch_size", "128", 50),
        ("curve_epochs", "200", 2),
        ("points", "61", 3),
    ):
        scale["stand_ins"][leaf][theirs] = ours
    scale["models"]["preresnet164"]["train_size"] = 100
    project.write(path, scale)
    project.config = {"profile": "quick", "seeds": 1, **CONFIG}
    project.write("config.yaml", project.config)
    return project


def test_from_rows_to_numbers_verdicts_and_a_figure(small):
    """The jobs are as many as the workflow's; what they do is asked of the package."""
    small.config |= {"tables": ["CURVE"]}
    small.write("config.yaml", small.config)
    table = "results/quick/tables/hse2024/CURVE.csv"
    done = small.snakemake(table)
    assert done.returncode == 0, done.stdout
    assert "runs 10/10" in done.stdout.splitlines()[-1]  # four of them are ends
    with (small.folder / table).open() as file:
        rows = {(r["between"], r["column"], r["metric"]): r for r in csv.DictReader(file)}
    high = {
        path: float(rows["SGD and SGD", path, "max_train_loss"]["measured"])
        for path in ("Endpoints", "Straight line", "Bezier")
    }
    assert high["Endpoints"] <= high["Straight line"]
    assert rows["SGD and SGD", "Chain", "stretch"]["measured"] == ""
    plan = open_project(small.config, small.folder)
    drawn = figures.draw(plan, "hse2024", "mode_connectivity").data
    assert set(drawn.path) == {"line", "bezier"}
    assert set(drawn.ends) == {"SGD and SGD", "SAM and SAM"}
    top = drawn[(drawn.path == "line") & (drawn.quantity == "train_loss")]
    of_sgd = top[top.ends == "SGD and SGD"]["mean"].max()
    assert of_sgd == pytest.approx(high["Straight line"], rel=1e-3)
    verdicts.write(plan, "hse2024")
    told = (small.folder / "results/quick/claims/hse2024.csv").read_text()
    assert all(claim.id in told for claim in claims.read(plan.papers["hse2024"]))
    assert small.planned_jobs(table) == {}


def test_the_queue_makes_ends_first_and_lets_their_weights_go(small):
    small.edit("workflow/scales/quick.yaml", "mkl:", "keep_weights: false\nmkl:")
    assert small.run("samscope", "data", "digits").returncode == 0
    plan = load_plan({**small.config, "tables": ["METHODS"]}, small.folder)
    lines: list[str] = []
    made = run_queue(plan, lines.append, pack=small.folder / "some.tar.gz")
    assert [cell for cell, _ in made][:2] == [SGD, SAM] or [c for c, _ in made][:2] == [SAM, SGD]
    assert len(made) == len(plan.specs) == 4
    assert not list(small.folder.rglob("weights*"))
    assert run_queue(plan, lines.append) == []
    # Without the weights of its ends a path is not made, and nothing else is lost.
    held = {p: p.read_bytes() for p in small.folder.rglob("curve.json")}
    shutil.rmtree(plan.run_dir(LINE))
    lines.clear()
    assert run_queue(plan, lines.append) == []
    told = "weights.safetensors gone before the curve of"
    assert any(told in line and LINE in line for line in lines)
    assert records.read_run(plan.run_dir(SGD) / "seed=0", plan.specs[SGD].cell, 0)
    merged = small.run("samscope", "import", "some.tar.gz")
    assert "1 runs imported" in merged.stdout
    assert {p: p.read_bytes() for p in held} == held
    assert json.loads((plan.run_dir(LINE) / "curve.json").read_text())["runs"][0]["stretch"] >= 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Chain: {path: chain}", "Chain: {path: spline}", "path: spline is not allowed"),
        ("bends: 1\n", "bends: 0\n", "bends: 0 is not allowed; allowed: 1 to 100"),
        ("Bezier: {path: bezier}", "Bezier: {path: bezier, kind: 1}", "kind is not allowed"),
    ],
)
def test_a_paper_that_names_no_curve_is_told_in_a_line(small, old, new, told):
    small.edit("workflow/papers/hse2024/paper.yaml", old, new)
    with pytest.raises(InputError) as error:
        load_plan(small.config, small.folder)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
