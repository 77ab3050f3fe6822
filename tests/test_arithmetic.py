"""Equations, their split and their right sides; the grokking study's transformer; its budget."""

import csv
import math
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samscope import data, losses, models, tasks
from samscope.data import equations
from samscope.errors import InputError
from samscope.spec import Budget, Cell
from samscope.stages.train import train_cell
from samscope.train import engine, learned
from samscope.train.feed import Feed

CELL = {
    "model": "decoder", "task": "arithmetic", "data": "division_97", "augment": "none",
    "label_noise": 0.0, "train_size": None, "val_size": 0, "split_seed": 0, "train_percent": 50.0,
    "variant": "sgd", "optimizer": "adamw", "lr": 1e-3, "momentum": 0.9, "beta2": 0.98,
    "weight_decay": 1.0, "schedule": "constant", "warmup": 10, "batch_size": 512,
    "drop_last": False, "steps": 1000, "report_per_decade": 20, "threads": 1,
    "precision": "float32", "compiled": False,
}  # fmt: skip
SMALL = CELL | {"model": "perceptron", "data": "division_23", "train_percent": 70.0, "lr": 1e-2}


def cell(**changes):
    return Cell.from_dict(CELL | changes)


def small(**changes):
    return Cell.from_dict(SMALL | changes)


def table(operation, modulus):
    """Of each a and b: c, as numbers."""
    rows = equations.equations({"operation": operation, "modulus": modulus, "tokens": 50}, "here")
    return {(a - 3, b - 3): c - 3 for _, a, _, b, _, c, _ in rows.astype(int).tolist()}


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        # of a = 3 and b = 4, mod 7, by hand
        ("addition", 0), ("subtraction", 6), ("multiplication", 5), ("division", 6),
        ("square_plus", 6), ("cube_plus", 3), ("quad1", 4), ("quad2", 2), ("quad3", 5),
        ("cube1", 4), ("cube2", 2), ("divide_or_subtract", 6), ("add_or_multiply", 5),
        ("add_or_subtract", 6),
    ],
)  # fmt: skip
def test_operations_are_those_worked_out_by_hand(operation, found):
    assert table(operation, 7)[3, 4] == found


def test_a_whole_table_of_division():
    assert table("division", 5) == {
        (0, 1): 0, (1, 1): 1, (2, 1): 2, (3, 1): 3, (4, 1): 4,
        (0, 2): 0, (1, 2): 3, (2, 2): 1, (3, 2): 4, (4, 2): 2,
        (0, 3): 0, (1, 3): 2, (2, 3): 4, (3, 3): 1, (4, 3): 3,
        (0, 4): 0, (1, 4): 4, (2, 4): 3, (3, 4): 2, (4, 4): 1,
    }  # fmt: skip


def test_what_depends_on_parity_does():
    assert (table("divide_or_subtract", 7)[3, 5], table("divide_or_subtract", 7)[3, 4]) == (2, 6)
    assert (table("add_or_multiply", 7)[2, 6], table("add_or_subtract", 7)[2, 6]) == (1, 1)


def test_permutations_follow_each_other():
    p, q = (1, 0, 2, 3, 4), (0, 2, 1, 3, 4)  # swap the first two; swap the next two
    elements = sorted(permutations(range(5)))
    place = {element: at for at, element in enumerate(elements)}

    def found(operation):
        facts = {"operation": operation, "modulus": 0, "tokens": 239}
        rows = equations.equations(facts, "here")
        assert rows.shape == (120 * 120, 7)
        return elements[int(rows[place[p] * 120 + place[q], 5]) - 119]

    assert found("s5") == (2, 0, 1, 3, 4)
    assert found("s5_conjugate") == (2, 1, 0, 3, 4)
    assert found("s5_aba") == (2, 1, 0, 3, 4)


def test_the_sources_equations_and_vocabulary(tmp_path):
    rows = data.read("division_97", tmp_path)["tokens"]
    assert rows.shape == (97 * 96, 7)
    assert set(rows[:, [0, 6]].ravel()) == {0}
    assert set(rows[:, 4]) == {1}
    signs = ["+", "-", "*", "/", "**2+", "**3+", "+*", "+-", "s5", "s5conj", "s5aba", "sort"]
    signs += ["reverse", "copy", "x**2+y**2_mod_97", "x**2+y**2+x*y_mod_97", "x**3+x*y_mod_97"]
    signs += ["x**2+y**2+x*y+x_mod_97", "x**3+x*y**2+y_mod_97"]
    signs += ["(x._value//y)if(y._value%2==1)else(x-y)_mod_97"]
    assert len(signs) == 20
    assert set(rows[:, 2]) == {2 + sorted(signs).index("/")}
    a, b, c = rows[:, [1, 3, 5]].astype(int).T - 22
    assert ((c * b - a) % 97 == 0).all()
    assert sorted(zip(a, b, strict=True)) == [(x, y) for x in range(97) for y in range(1, 97)]
    assert len(equations._SIGNS) == 20


def test_half_of_them_train_as_the_source_shuffles(tmp_path):
    splits = tasks.load(cell().task, tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [4656, 0, 4656]
    # openai/grok, data.py: the equations in order, as a list that RandomState(0) shuffles.
    listed = [(b * c % 97, b, c) for c in range(97) for b in range(1, 97)]
    np.random.RandomState(0).shuffle(listed)
    found = torch.cat([splits.train.inputs[0], splits.test.inputs[0]])[:, [1, 3, 5]] - 22
    assert found.tolist() == [list(row) for row in listed]
    assert splits.train.targets.tolist() == [[22 + c, 0] for _, _, c in listed[:4656]]
    assert CELL["batch_size"] == min(512, math.ceil(len(splits.train) / 2))


def test_the_transformer_has_the_sources_parameters():
    model = models.build("decoder", 239)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    assert sum(sizes.values()) == 455_424
    assert sum(sizes.values()) - sizes["embed.weight"] - sizes["out.weight"] == 394_240
    assert [name for name in sizes if "bias" in name] == [
        f"blocks.{i}.norm{n}.bias" for i in (0, 1) for n in (1, 2)
    ]


def test_the_transformer_is_torchs_of_the_same_weights():
    """Its layers are torch's TransformerEncoderLayer, post-norm, without biases, behind a mask."""
    model, x = models.build("decoder", 239, seed=3), torch.randint(239, (5, 6))
    places = np.arange(6)[:, None] / 10000 ** (2 * (np.arange(128) // 2) / 128)
    encoded = np.where(np.arange(128) % 2, np.cos(places), np.sin(places))
    h = model.embed(x) + torch.tensor(encoded, dtype=torch.float32)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(6)
    for block in model.blocks:
        layer = torch.nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True)
        state = {name: torch.zeros_like(p) for name, p in layer.state_dict().items()}
        own = block.attention
        state["self_attn.in_proj_weight"] = torch.cat([own.q.weight, own.k.weight, own.v.weight])
        state["self_attn.out_proj.weight"] = own.out.weight
        state |= {"linear1.weight": block.near[0].weight, "linear2.weight": block.near[2].weight}
        state |= {f"norm{n}.weight": torch.ones(128) for n in (1, 2)}
        layer.load_state_dict(state)
        h = layer(h, src_mask=mask)
    expected = h[:, -2:] @ model.out.weight.T
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_an_answer_sees_nothing_that_comes_after_it():
    model, x = models.build("decoder", 239), torch.randint(1, 239, (4, 6))
    before, other = model(x), x.clone()
    other[:, 5] = 0
    after = model(other)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])
    other[:, 3] = (other[:, 3] + 1) % 239
    assert not torch.allclose(model(other)[:, 0], before[:, 0])


def test_the_loss_is_of_the_right_side_alone(tmp_path):
    splits = tasks.load(cell().task, tmp_path)
    model, part = models.build("decoder", *splits.sizes), splits.train[:40]
    logits = model(*part.inputs)
    assert logits.shape == (40, 2, 239)
    found = losses.loss("cross_entropy")(logits, part.targets)
    answer, end = (F.cross_entropy(logits[:, i], part.targets[:, i]) for i in (0, 1))
    assert found.item() == pytest.approx(((answer + end) / 2).item(), rel=1e-5)
    assert (part.targets[:, 1] == 0).all()
    assert torch.equal(part.targets[:, 0], part.inputs[0][:, 5])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_percent": 0}, "train_percent: 0.0 is not allowed; allowed: more than 0"),
        ({"train_percent": 100}, "train_percent: 100.0 is not allowed; allowed: more than 0"),
        ({"train_percent": None}, "train_percent: None is not allowed"),
        ({"train_size": 100}, "train_size: 100 is not allowed; allowed: none; train_percent"),
        ({"val_size": 10}, "val_size: 10 is not allowed; allowed: 0; train_percent"),
        ({"steps": 0}, "epochs: 0 is not allowed; allowed: 1 to 1000000, or steps"),
        ({"report_every": 10}, "report_every: 10 is not allowed; allowed: 0, where report_per"),
        ({"report_per_decade": 0}, "report_every: 0 is not allowed; allowed: a divisor"),
        ({"data": "division_96"}, "data: division_96 is not allowed; allowed: digits, "),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_line(changes, words):
    with pytest.raises(InputError) as error:
        cell(**changes)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_sizes_by_percent_are_for_equations_alone():
    from tiny_cell import tiny

    with pytest.raises(InputError, match=r"train_percent: 50\.0 is not allowed; allowed: none"):
        tiny(train_percent=50.0)


@pytest.mark.parametrize(("modulus", "words"), [(96, "a prime, for division"), (98, "2 to 97")])
def test_a_modulus_that_does_not_divide_is_refused(modulus, words, tmp_path, monkeypatch):
    monkeypatch.setitem(data.SOURCES, "bad", data._equations("division", modulus))
    with pytest.raises(InputError, match=rf"bad: modulus: {modulus} is not allowed.*{words}"):
        data.prepare("bad", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_share_that_leaves_nothing_and_equations_of_another_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"train_percent: 0\.01 is not allowed; allowed: one that"):
        tasks.load(small(train_percent=0.01).task, tmp_path)
    rows = data.read("division_23", tmp_path)["tokens"]
    rows[7, 5] += 1
    (tmp_path / "division_23.json").unlink()
    np.savez(tmp_path / "division_23.npz", tokens=rows)
    with pytest.raises(InputError, match=r"tokens: .* as equation 8 is not allowed"):
        tasks.load(small().task, tmp_path)


# Budgets on a grid of logarithms


def test_the_grid_has_as_many_rows_in_each_tenfold():
    ends = Budget(512, False, steps=10**6, report_per_decade=10).ends
    assert ends[:12] == (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25)
    assert ends[-11:] == (
        *(100000, 125893, 158489, 199526, 251189, 316228, 398107, 501187, 630957, 794328, 10**6),
    )
    assert Budget(20, False, steps=1, report_per_decade=5).ends == (1,)
    assert list(Budget(20, False, steps=12, report_every=4).ends) == [4, 8, 12]
    assert list(Budget(20, False, epochs=3).ends) == [1, 2, 3]


def test_batches_of_the_grid_are_those_of_even_rows(tmp_path):
    splits = tasks.load(small().task, tmp_path)
    grid = small(steps=30, report_per_decade=7, batch_size=100)
    even = small(steps=30, report_every=1, report_per_decade=0, batch_size=100)
    feeds = [Feed(c, 0, splits) for c in (grid, even)]
    assert grid.budget.rows == 11
    found = [[y for row in range(c.budget.rows) for _, y in feed.training(row)]
             for c, feed in zip((grid, even), feeds, strict=True)]  # fmt: skip
    assert len(found[0]) == 30
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_run_on_the_grid_killed_within_a_row_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "STATE_SHARE", float("inf"))
    torch.set_num_threads(1)
    run, kept = small(steps=60, variant="sam", rho=0.05, report_per_decade=8), {0: (18,)}
    train_cell(run, [0], tmp_path / "whole", tmp_path, lambda line: None, snapshots=kept)
    step, steps = engine.Learner.step, []

    def dying(*args):
        steps.append(1)
        if len(steps) == 40:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(engine.Learner, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            train_cell(run, [0], tmp_path / "killed", tmp_path, lambda line: None, snapshots=kept)
    lines = []
    train_cell(run, [0], tmp_path / "killed", tmp_path, lines.append, snapshots=kept)
    assert "goes on after step 32 of 60" in lines[0]
    whole, killed = ({p.name: p.read_bytes() for p in (tmp_path / name / "seed=0").iterdir()
                      if p.name != "provenance.json"} for name in ("whole", "killed"))  # fmt: skip
    assert whole == killed
    assert "weights-18.safetensors" in whole
    history = list(csv.DictReader((tmp_path / "whole/seed=0/history.csv").open()))
    assert [int(row["step"]) for row in history] == list(run.budget.ends)
    with pytest.raises(InputError, match="snapshots: 19 is not allowed; allowed: 1, 2, 3, "):
        train_cell(run, [1], tmp_path / "no", tmp_path, print, snapshots={1: (19,)})


def test_when_a_run_has_learned():
    rows = [
        {"step": s, "train_acc_percent": t, "test_acc_percent": v}
        for s, t, v in ((1, 10.0, 1.0), (10, 95.0, 2.0), (100, 90.0, 50.0), (200, 100.0, 89.9))
    ]
    late = {"train_95_step": 10, "held_out_50_step": 100, "held_out_90_step": 1000, "delay": 100}
    assert learned.steps(rows, cell()) == late
    rows.append({"step": 300, "train_acc_percent": 100.0, "test_acc_percent": 90.0})
    assert learned.steps(rows, cell())["delay"] == 30
    from tiny_cell import tiny

    assert learned.steps([], tiny()) == {}
