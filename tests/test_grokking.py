"""Grokking in the seminar's folder: what is planned, its figure, and a claim of so much or more."""

import json
import re
import shutil
from pathlib import Path

import pytest

from samscope import InputError, stages
from samscope.analysis import claims, figures, verdicts
from samscope.analysis.claims import level
from samscope.analysis.claims.at_least import Fields
from samscope.config.paper import read_paper
from samscope.config.typed import read
from samscope.plan.load import load_plan
from samscope.store.records import columns

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "workflow" / "papers" / "hse2024"
ABOUT = {"id": "C1", "quote": "q", "location": "l", "test": "t", "reported": "r"}
GROWN = {"train_percent": 75.0, "weight_decay": 1.0}


def planned(profile, root=ROOT):
    return load_plan({"profile": profile, "papers": ["hse2024"], "tables": ["GROK"]}, root)


@pytest.fixture
def plan(tmp_path):
    """The quick profile below another root, without records."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    return planned("quick", tmp_path)


def cell_of(plan, **leaves):
    (found,) = [
        cell for cell, p in plan.cells.items() if leaves.items() <= p.cell.to_dict().items()
    ]
    return found


def record(plan, cell, delays):
    """A record of each seed: 95 % of the training set at step 10, 90 % of the rest later."""
    spec, folder = plan.cells[cell].cell, plan.run_dir(cell)
    folder.mkdir(parents=True)
    names, runs = columns(spec), []
    lines = [",".join(names)]
    for seed, delay in enumerate(delays):
        at = {"best_val": 90.0, "last": 90.0}
        numbers = {f"{part}_{name}": at for part in ("test", "train") for name in SCORES}
        numbers |= {f"val_{name}": {"best_val": None, "last": None} for name in SCORES}
        learned = {"train_95_step": 10, "held_out_50_step": 20, "held_out_90_step": 10 * delay}
        about = {"seed": seed, "digest": spec.digest(seed), "diverged": False}
        ends = {"best_step": 1000, "steps": 1000, "delay": delay}
        runs.append(about | ends | numbers | learned)
        for step in (1, 10, 1000):
            row = {"seed": seed, "step": step, "train_acc_percent": 96 if step > 1 else 1,
                   "test_acc_percent": 95 if step > 10 else seed}  # fmt: skip
            lines.append(",".join(str(row.get(name, 0.5)) for name in names))
    (folder / "history.csv").write_text("\n".join([*lines, ""]))
    (folder / "metrics.json").write_text(
        json.dumps({"cell": cell, "spec": spec.to_dict(), "runs": runs})
    )


SCORES = ("loss", "acc_percent")


def test_the_sources_protocol_is_planned():
    plan = planned("paper")
    cells = [p.cell for p in plan.cells.values()]
    assert {c.model for c in cells} == {"decoder"}
    assert {(c.task.data, c.budget.batch_size, c.method.beta2) for c in cells} == {
        ("division_97", 512, 0.98)
    }
    methods = [c.method for c in cells]
    assert {(m.optimizer, m.lr, m.schedule, m.warmup) for m in methods} == {
        ("adamw", 1e-3, "constant", 10)
    }
    assert {(c.method.weight_decay, c.budget.steps) for c in cells} == {(0.0, 10**6), (1.0, 10**5)}
    assert {c.task.train_percent for c in cells} == {30.0, 50.0, 70.0}


def test_on_a_cpu_the_model_and_the_data_are_the_sources_and_steps_alone_are_fewer():
    theirs = [p.cell.but(steps=6000, shown=()) for p in planned("paper").cells.values()]
    cells = [p.cell for p in planned("cpu").cells.values()]
    assert len(cells) == 3
    assert all(cell in theirs for cell in cells)
    assert {cell.task.train_percent for cell in cells} == {50.0}


def test_what_is_printed_is_what_was_read_off():
    rows = [row for row in planned("paper").papers["hse2024"].rows if row.reported.printed]
    assert {row.metric: row.reported.value for row in rows} == {
        "train_95_step": 600, "held_out_50_step": 210_000, "held_out_90_step": 360_000,
        "delay": 600, "test_acc_percent": 99,
    }  # fmt: skip
    assert {row.spec.method.weight_decay for row in rows} == {0.0}
    assert read_paper(FOLDER).commit == "471aaa4"


def test_its_figure_has_a_panel_for_each_weight_decay_that_is_run(plan):
    record(plan, cell_of(plan, variant="sgd", **GROWN), [20, 30, 40])
    drawn = figures.draw(plan, "hse2024", "grokking")
    ours, printed = (drawn.data[drawn.data.source == s] for s in ("ours", "printed"))
    assert set(ours.group) == {"weight decay 1, 75 % of the data"}
    assert set(printed.group) == {"weight decay 0, 75 % of the data"}
    assert sorted(zip(printed.step, printed["mean"], strict=True)) == [
        (600, 95), (210_000, 50), (360_000, 90),
    ]  # fmt: skip
    held = ours[ours.part == "held out"].set_index("step")
    assert (held["mean"].loc[1], held["mean"].loc[1000], held.n.loc[10]) == (1.0, 95.0, 3)
    titles = [axes.get_title("left") for axes in drawn.figure.axes]
    assert titles == ["weight decay 1, 75 % of the data"]  # what is printed is of the other
    assert [axes.get_xscale() for axes in drawn.figure.axes] == ["log"]
    assert re.search("Not run: .*, weight decay 0", drawn.caption)


@pytest.mark.parametrize(
    ("delays", "expected"),
    [([20, 30, 25], "supported"), ([2, 3, 2], "contradicted"), ([2, 40, 11], "inconclusive")],
)
def test_a_delay_of_at_least_ten(plan, delays, expected):
    record(plan, cell_of(plan, variant="sgd", **GROWN), delays)
    found = verdicts.evaluate(plan, "hse2024", ["C2.5a", "C2.5b"]).set_index("id")
    assert found.verdict.to_dict() == {"C2.5a": expected, "C2.5b": "not run"}
    mean = (delays[0] * delays[1] * delays[2]) ** (1 / 3)
    assert found.effect["C2.5a"] == pytest.approx(mean)
    assert (found.unit["C2.5a"], found.n["C2.5a"]) == ("ratio", 3)


def test_a_bound_is_of_what_differs_by_factors():
    fields = ABOUT | {"kind": "at_least", "metric": "delay", "variant": "sgd", "rhos": [0.1]}
    assert read(Fields, fields | {"bound": 3}, "here").bound == 3
    for bad in ({"bound": 0}, {"bound": 3, "metric": "test_acc_percent"}):
        with pytest.raises(InputError, match="here"):
            read(Fields, fields | bad, "here")


def drifted(plan, cell, exponents, cosine):
    """A record of the drift of each seed: 3 moves from step 100 on, by a power of the steps."""
    spec, (first, *_) = plan.cells[cell].cell, stages.runs(plan, "drift")[cell]
    steps = [100, 110, 200, 1000]
    runs = [
        {"seed": seed, "digest": spec.digest(seed), "steps": steps, "exponent": power,
         "distances": [[(b - a) ** power for b in steps[i + 1:]] for i, a in enumerate(steps[:-1])],
         "cosine": cosine + 0.001 * seed}
        for seed, power in enumerate(exponents)
    ]  # fmt: skip
    held = {"cell": cell, "runs": runs, "settings": first.settings}
    (plan.run_dir(cell) / "drift.json").write_text(json.dumps(held))


@pytest.mark.parametrize(
    ("exponents", "cosine", "expected"),
    [
        ([0.5, 0.51, 0.49], 0.01, ("supported", "supported")),
        ([0.8, 0.9, 0.85], 0.7, ("contradicted", "contradicted")),
        ([0.5, 0.7, 0.56], 0.7, ("inconclusive", "contradicted")),
    ],
)
def test_a_walk_is_told_from_a_way(plan, exponents, cosine, expected):
    cell = cell_of(plan, variant="sgd", **GROWN)
    record(plan, cell, [20, 30, 25])
    drifted(plan, cell, exponents, cosine)
    asked = ["C2.6c", "C2.6d", "C2.6e"]
    found = verdicts.evaluate(plan, "hse2024", asked).set_index("id")
    assert tuple(found.verdict) == (*expected, "not run")
    assert found.effect["C2.6c"] == pytest.approx(sum(exponents) / 3)
    drawn = figures.draw(plan, "hse2024", "drift")
    own = drawn.data[(drawn.data.seed == 0) & (drawn.data["from"] == "first")]
    assert list(own.lag) == [10, 100, 900]
    assert list(own.distance) == [pytest.approx(lag ** exponents[0]) for lag in own.lag]
    assert {*drawn.data[drawn.data["from"] == "later"].start} == {110}
    assert f"AdamW, weight decay 1, 75 % of the data: exponent {sum(exponents) / 3:.2f}" in (
        drawn.caption
    )


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({}, "above: (missing)"),
        ({"above": 0.6, "below": 0.4}, "below: 0.4"),
        ({"above": 0.6, "metric": "delay"}, "metric: delay"),
    ],
)
def test_a_level_has_a_bound_that_something_can_be_within(bad, told):
    fields = {"kind": "level", "metric": "drift_cosine", "variant": "sgd", "rhos": [0.1]}
    with pytest.raises(InputError) as error:
        read(level.Fields, ABOUT | fields | bad, "here")
    assert told in str(error.value)


def test_every_claim_is_read():
    assert [c.id for c in claims.read(planned("quick").papers["hse2024"]) if c.runs == "grokking"]
