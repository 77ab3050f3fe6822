"""Networks that start from smaller ones: what they are, need, inherit; their table, a figure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from samscope import models, stages
from samscope.analysis import claims, figures
from samscope.analysis.figures.widths import parameters
from samscope.errors import InputError
from samscope.plan.load import load_plan
from samscope.spec import Cell
from samscope.stages import trained
from samscope.stages.bench import Bench
from samscope.stages.stage import complete
from samscope.store import records
from samscope.train.engine import make_learner
from tiny_cell import tiny

ROOT = Path(__file__).parents[1]
WIDE = {
    "variant": "sgd", "batch_size": 100, "steps": 3, "report_every": 3, "loss": "squared",
    "val_size": 0, "label_noise": 0.0, "weight_decay": 0.0, "lr": 0.01,
}  # fmt: skip


def cell(model="hidden8_8", **changes) -> Cell:
    return tiny(model=model, **WIDE, **changes)


def plan_of(profile: str):
    return load_plan({"profile": profile, "papers": ["hse2024"], "tables": ["NETWORK"]}, ROOT)


def test_up_to_the_threshold_a_network_needs_the_next_smaller_one():
    chain = [cell("hidden26_8", start="smaller")]
    while needs := chain[-1].needs(3):
        ((below, seed),) = needs
        assert seed == 3
        chain.append(below)
    assert [c.model for c in chain] == [f"hidden{n}_8" for n in (26, 24, 20, 16, 12, 8, 4)]
    assert chain[-1] == cell("hidden4_8")
    assert len({c.digest(0) for c in chain}) == 7
    assert cell("hidden28_8", start="smaller") == cell("hidden28_8")


def test_what_has_no_smaller_one_is_told_in_a_line():
    with pytest.raises(InputError) as error:
        tiny(start="smaller")
    assert str(error.value) == "cell cnn3: start: smaller is not allowed; allowed: seed"
    with pytest.raises(InputError, match="start: larger is not allowed; allowed: seed, smaller"):
        cell(start="larger")


def test_a_larger_network_computes_what_the_smaller_did_where_the_rest_is_nothing():
    small, large = (models.build(f"hidden{n}_8", 10, 1, seed=n) for n in (8, 12))
    state = {name: torch.zeros_like(value) for name, value in large.state_dict().items()}
    models.grow(state, small.state_dict())
    large.load_state_dict(state)
    images = torch.randn(5, 1, 8, 8)
    assert torch.allclose(large(images), small(images), atol=1e-6)
    drawn = models.build("hidden12_8", 10, 1, seed=0).near.weight
    assert drawn.std().item() == pytest.approx(0.1, rel=0.05)


def test_a_run_starts_from_the_last_weights_of_the_smaller(tmp_path, data_dir):
    below, above = cell("hidden4_8"), cell("hidden8_8", start="smaller")
    first = stages.Run(tmp_path / "a" / "seed=0", below, 0)
    second = stages.Run(tmp_path / "b" / "seed=0", above, 0, needs=(first,))
    bench, stage, silent = Bench(data_dir), stages.STAGES["train"], lambda line: None
    complete(stage, [first], bench, silent)
    held = load_file(first.folder / records.WEIGHTS)
    complete(stage, [second], bench, silent)
    splits = bench.splits(above.task)
    begun = make_learner(above, 0, splits, trained.started(second, splits)).model.state_dict()
    drawn = models.build("hidden8_8", *splits.sizes, seed=0).state_dict()
    assert torch.equal(begun["near.weight"][:4], held["near.weight"])
    assert torch.equal(begun["near.weight"][4:], drawn["near.weight"][4:])
    assert torch.equal(begun["out.weight"][:, :4], held["out.weight"])
    assert torch.equal(begun["out.bias"], held["out.bias"])
    # Three steps in float64, from there: whole batches, so that no order matters.
    w = {name: value.double().numpy().copy() for name, value in begun.items()}
    facts = splits.facts
    x = (splits.train.inputs[0].double() / facts["scale"] - facts["mean"]) / facts["std"]
    x, y = x.flatten(1).numpy(), np.eye(10)[splits.train.targets.numpy()]
    motion = dict.fromkeys(w, 0.0)
    for _ in range(3):
        z = x @ w["near.weight"].T + w["near.bias"]
        a = np.maximum(z, 0)
        error = 2 * (a @ w["out.weight"].T + w["out.bias"] - y) / len(x)
        back = (error @ w["out.weight"]) * (z > 0)
        g = {"near.weight": back.T @ x, "near.bias": back.sum(0),
             "out.weight": error.T @ a, "out.bias": error.sum(0)}  # fmt: skip
        for name in w:
            motion[name] = above.method.momentum * motion[name] + g[name]
            lr = 0.005 * (1 + np.cos(np.pi * _ / 3))  # the tiny cell's cosine
            w[name] -= lr * motion[name]
    found = load_file(second.folder / records.WEIGHTS)
    for name, value in w.items():
        assert found[name].numpy() == pytest.approx(value, abs=1e-5)
    # Without the weights it starts from, it is not made, and says why.
    records.drop_weights(first.folder)
    other = stages.Run(tmp_path / "c" / "seed=0", above, 0, needs=(first,))
    assert [path.name for path in stage.lacking(other)] == [records.WEIGHTS]
    with pytest.raises(InputError, match="weights: gone is not allowed"):
        complete(stage, [other], bench, silent)
    with pytest.raises(InputError, match=r"cell: .* is not allowed; allowed: one that needs no"):
        complete(stage, [stages.Run(tmp_path / "d" / "seed=0", above, 0)], bench, silent)


def test_belkins_widths_have_belkins_parameters_and_one_table():
    plan = plan_of("paper")
    of = {p.cell.model: parameters(p.cell) * 40_000 for p in plan.cells.values()}
    assert of["hidden50_28"] == pytest.approx(39_760)
    assert of["hidden53_28"] == pytest.approx(795 * 53 + 10)
    assert all(
        (models.MODELS[name].smaller == "") == (of[name] > 40_000 or name == "hidden8_28")
        for name in of
    )
    chain = [p for p in plan.cells.values() if p.cell.start == "smaller"]
    assert len(chain) == 12
    ours = plan_of("decide")
    assert {len(p.seeds) for p in ours.cells.values()} == {5}
    assert {p.cell.task.label_noise for p in ours.cells.values()} == {0.1}
    assert all(
        (models.MODELS[p.cell.model].smaller == "")
        == (parameters(p.cell) > 1 or p.cell.model == "hidden4_8")
        for p in ours.cells.values()
    )


def test_a_network_for_other_images_stops_the_plan(project):
    project.edit(
        "workflow/papers/hse2024/scale/decide.yaml",
        "like: quick",
        "like: quick\nmodels:\n  hidden8_28: {model: hidden8_28}",
    )
    with pytest.raises(InputError) as error:
        load_plan(
            {"profile": "decide", "papers": ["hse2024"], "tables": ["NETWORK"]}, project.folder
        )
    assert "model: hidden8_28 is not allowed; allowed: one for the images of digits" in str(
        error.value
    )


def test_the_figure_says_that_quick_has_none_and_all_claims_are_of_planned_cells():
    drawn = figures.draw(plan_of("quick"), "hse2024", "widths")
    assert drawn.caption == "Not planned: of the profile decide: its chains take minutes."
    plan = plan_of("decide")
    known = {claim.id for claim in claims.read(plan.papers["hse2024"]) if claim.runs == "NETWORK"}
    assert len(known) == 6
