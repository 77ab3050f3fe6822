"""Curves: what they are, what they need, how they are made, kept, gone on with and refused."""

import itertools
import json
import math
import shutil

import pytest
import torch
from torch.nn.functional import cross_entropy

from samscope import models, stages
from samscope.errors import InputError
from samscope.measure import paths
from samscope.seeding import stream
from samscope.spec import Cell, Curve
from samscope.stages.bench import Bench
from samscope.stages.stage import complete
from samscope.stages.train import train_cell
from samscope.store import records
from samscope.train import bends
from samscope.train.feed import Feed
from samscope.train.flat import flatten
from stage_runs import asked
from tiny_cell import tiny

STAGE = stages.STAGES["curve"]
LEAVES = {"path": "bezier", "curve_epochs": 3, "curve_lr": 0.05, "curve_decay": 1e-3, "points": 5}
LINE = {"path": "line", "bends": 0, "curve_epochs": 0}


def curve(cell: Cell | None = None, **changes: object) -> Curve:
    cell = cell or tiny(variant="sam", epochs=3, label_noise=0.0)
    return Curve.from_dict(cell.to_dict() | LEAVES | changes)


SGD = tiny(variant="sgd", epochs=3, label_noise=0.0)


# What a curve is


def test_pairs_share_no_run_and_methods_have_one_seed():
    of_seeds = [end for seed in range(4) for end in curve().needs(seed)]
    assert [seed for _, seed in of_seeds] == list(range(8))
    assert {cell for cell, _ in of_seeds} == {curve().cell}
    start, end = curve(ends="methods").between(3)
    assert start == (SGD, 6)
    assert end == (curve().cell, 6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "cnn3-digits/bezier-sam-sam/rho=0.2"),
        ({"ends": "methods"}, "cnn3-digits/bezier-sgd-sam/rho=0.2"),
        (LINE, "cnn3-digits/line-sam-sam/rho=0.2"),
    ],
)
def test_an_id_says_what_is_between_what(changes, expected):
    assert curve(**changes).id == expected
    assert curve(SGD).id == "cnn3-digits/bezier-sgd-sgd/base"
    shown = Curve.from_dict(curve().to_dict(), shown=("bends", "path", "batch_size"))
    assert shown.id == "cnn3-digits/bezier-sam-sam/rho=0.2,batch_size=30,bends=1"
    assert [cell.id for cell, _ in shown.needs(0)] == ["cnn3-digits/sam/rho=0.2,batch_size=30"] * 2


def test_a_digest_follows_from_both_ends_and_all_leaves():
    changes = [{}, {"bends": 2}, {"path": "chain"}, {"points": 7}, {"curve_decay": 0.0}]
    changes += [{"ends": "methods"}, {"lr": 0.2}, {"curve_epochs": 4}, {"curve_lr": 0.1}]
    changes += [{"frame": 1}, {"frame": 2}]
    digests = [curve(**change).digest(seed) for change in changes for seed in (0, 1)]
    assert len(set(digests)) == len(digests)
    assert Curve.from_dict(curve().to_dict()).digest(0) == curve().digest(0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"path": "spline"}, "curve: path: spline is not allowed; allowed: bezier, chain, line"),
        ({"bends": 0}, "bezier: bends: 0 is not allowed; allowed: 1 to 100"),
        ({"path": "line"}, "line: bends: 1 is not allowed; allowed: 0 to 0"),
        ({"curve_epochs": 0}, "bezier: curve_epochs: 0 is not allowed; allowed: 1 to 1000000"),
        ({"frame": 3}, "curve: frame: 3 is not allowed; allowed: 0 to 2"),
        ({**LINE, "frame": 1}, "curve: frame: 1 is not allowed; allowed: 0 to 0"),
        ({"points": 1}, "curve: points: 1 is not allowed; allowed: 2 to 1000000"),
        ({"ends": "models"}, "curve: ends: models is not allowed; allowed: seeds, methods"),
        ({"plane": 2}, "curve with a plane: plane: 2 is not allowed; allowed: 0, or from 3"),
        (
            {"plane": 3, "bends": 2},
            "curve with a plane: bends: 2 is not allowed; allowed: 1 at most",
        ),
        (
            {**LINE, "plane": 3, "ends": "methods"},
            "line with a plane: ends: methods is not allowed; allowed: seeds",
        ),
    ],
)
def test_what_is_no_curve_is_told_in_a_line(changes, told):
    with pytest.raises(InputError) as error:
        curve(**changes)
    assert str(error.value) == told


def test_sgd_has_no_other_method():
    with pytest.raises(InputError, match="curve: ends methods of: sgd is not allowed"):
        curve(SGD, ends="methods")


# How it is made


@pytest.fixture(scope="module")
def ends(tmp_path_factory, data_dir):
    """Two trained runs of SGD; and the folder of the data sets."""
    folder = tmp_path_factory.mktemp("sgd")
    train_cell(SGD, [0, 1], folder, data_dir, lambda line: None)
    return tuple(asked(SGD, seed, folder) for seed in (0, 1)), data_dir


def run_of(ends, folder, **changes: object) -> stages.Run:
    return stages.Run(folder / "seed=0", curve(SGD, **changes), 0, needs=ends[0])


def made(ends, folder, **changes: object) -> dict:
    complete(STAGE, [run_of(ends, folder, **changes)], Bench(ends[1]), lambda line: None)
    return json.loads((folder / "curve.json").read_text())["runs"][0]


def test_a_record_has_the_ends_as_they_were_trained_and_the_path_between(ends, tmp_path):
    found = made(ends, tmp_path)
    assert found["path"]["t"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    for place, run in ((0, ends[0][0]), (-1, ends[0][1])):
        metrics = records.read_run(run.folder, run.spec, run.seed)
        # Running statistics lag a few steps behind the weights; those of the record do not.
        assert found["path"]["test_loss"][place] == pytest.approx(
            metrics["test_loss"]["last"], rel=0.5
        )
    losses = found["path"]["train_loss"]
    assert found["max_train_loss"] == max(losses)
    assert found["mean_train_loss"] == pytest.approx(sum(losses) / 5)
    assert found["min_train_loss"] <= found["along_train_loss"] <= found["max_train_loss"]
    assert found["stretch"] >= 1
    assert len(found["history"]) == 3
    line = made(ends, tmp_path / "line", **LINE)
    assert line["history"] == []
    assert line["stretch"] == pytest.approx(1.0)
    for name, values in line["path"].items():
        assert values[0] == found["path"][name][0]
        assert values[-1] == found["path"][name][-1]


def test_the_plane_of_a_path_has_its_ends_its_bend_and_its_loss(ends, tmp_path):
    found = made(ends, tmp_path, plane=8, curve_epochs=2)
    plane, path = found["plane"], found["path"]
    (first, last, bend), walked = plane["points"], plane["path"]
    assert first == pytest.approx([0, 0], abs=1e-5)
    assert walked[0] == pytest.approx(first, abs=1e-5)
    assert walked[-1] == pytest.approx(last, abs=1e-4)
    assert last == pytest.approx([found["distance"], 0], rel=1e-6)
    # Of a Bezier curve of one bend the middle is a quarter of the ends and half the bend.
    middle = [(a + b) / 4 + c / 2 for a, b, c in zip(first, last, bend, strict=True)]
    assert walked[2] == pytest.approx(middle, rel=1e-4, abs=1e-4)
    assert plane["x"][0] == pytest.approx(-0.2 * last[0])
    assert plane["y"][-1] == pytest.approx(1.2 * bend[1])
    # Of eight from -0.2 to 1.2 the second is 0 and the seventh 1: the ends themselves.
    assert plane["train_loss"][1][1] == pytest.approx(path["train_loss"][0], rel=1e-4)
    assert plane["objective"][1][6] == pytest.approx(path["objective"][-1], rel=1e-4)
    assert [len(row) for row in plane["train_loss"]] == [8] * 8
    assert found["bend"] == bend[1] / last[0] > 0
    without = made(ends, tmp_path / "without", curve_epochs=2)
    assert "plane" not in without
    assert without["path"] == path


def test_a_frame_is_the_path_as_it_was_after_an_epoch(ends, tmp_path):
    whole = made(ends, tmp_path / "whole", plane=3)
    frame = made(ends, tmp_path / "frame", plane=3, frame=2)
    assert frame["history"] == whole["history"][:2]
    assert 0 < frame["bend"] < whole["bend"]
    shorter = made(ends, tmp_path / "shorter", curve_epochs=2)
    # Not a shorter training, whose steps become small sooner.
    assert shorter["history"] != frame["history"]


def test_the_plane_of_a_line_needs_a_third_solution():
    line = curve(SGD, **LINE, plane=3)
    assert [seed for _, seed in line.needs(1)] == [2, 3, 4]
    assert line.digest(0) != curve(SGD, **LINE).digest(0)
    assert curve(SGD, plane=3).needs(0) == curve(SGD).needs(0)


def test_points_on_one_line_have_no_plane():
    point = torch.arange(4.0)
    with pytest.raises(InputError, match="path: plane: three points on one line"):
        paths.plane(point, 3 * point, 2 * point)


def test_training_lowers_the_loss_of_the_path(ends, tmp_path):
    line = made(ends, tmp_path / "line", **LINE, points=11)
    bent = made(ends, tmp_path / "bent", curve_epochs=60, points=11)
    assert bent["max_train_loss"] < 0.5 * line["max_train_loss"]
    assert bent["barrier_train_loss"] < 0.5 * line["barrier_train_loss"]


def test_an_epoch_is_sgd_through_phi_with_decay(ends, tmp_path):
    """torch's autograd through phi and its SGD, in float64, on the same batches and t."""
    spec = curve(SGD, curve_epochs=1, path="chain")
    bench = Bench(ends[1])
    longer = SGD.but(epochs=SGD.budget.epochs + 1)
    feed = Feed(longer, 0, bench.splits(SGD.task))
    built = [models.build("cnn3", 10, 1, seed=seed).double() for seed in (0, 1)]
    start, end = (flatten(list(model.parameters())) for model in built)
    feed._train = type(feed._train)(
        tuple(x.double() for x in feed._train.inputs), feed._train.targets
    )
    points = paths.straight(start.clone(), end.clone(), 1)
    bend = points[1].clone().requires_grad_()
    sgd = torch.optim.SGD([bend], lr=0.01 * 0.05, momentum=0.9)
    drawn = torch.rand(feed.steps, generator=stream(0, "curve", 0)).double().tolist()
    model = models.build("cnn3", 10, 1).double().train()
    sizes = [p.numel() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]
    for t, (inputs, targets) in zip(drawn, feed.training(SGD.budget.epochs), strict=True):
        phi = (
            (1 - 2 * t) * start + 2 * t * bend
            if t < 0.5
            else (2 - 2 * t) * bend + (2 * t - 1) * end
        )
        state = {
            name: part.view_as(p)
            for name, part, p in zip(names, phi.split(sizes), model.parameters(), strict=True)
        }
        outputs = torch.func.functional_call(model, state, inputs)
        loss = cross_entropy(outputs, targets) + 0.5 * 1e-3 * phi.square().sum()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    bends.train(spec, 0, built[1], end, points, feed, tmp_path, lambda line: None)
    assert torch.allclose(points[1], bend.detach(), rtol=1e-9, atol=1e-11)


def test_a_killed_job_ends_with_the_same_bits(ends, tmp_path, monkeypatch):
    whole = made(ends, tmp_path / "whole")
    monkeypatch.setattr(bends, "STATE_SECONDS", 0.0)
    run, lines = run_of(ends, tmp_path / "killed"), []
    run.folder.parent.mkdir()
    calls = itertools.count()

    def failing(*args: object) -> None:
        if next(calls) == 7:
            raise KeyboardInterrupt
        descend(*args)

    descend = paths.descend
    monkeypatch.setattr(paths, "descend", failing)
    with pytest.raises(KeyboardInterrupt):
        STAGE.make(run, Bench(ends[1]), lines.append, math.inf)
    assert not STAGE.is_made(run)
    monkeypatch.setattr(paths, "descend", descend)
    complete(STAGE, [run], Bench(ends[1]), lines.append)
    assert any("goes on after epoch 1 of 3" in line for line in lines)
    assert json.loads((tmp_path / "killed/curve.json").read_text())["runs"][0] == whole
    assert not list(run.folder.glob("state*"))


def test_a_job_without_time_stops_and_goes_on(ends, tmp_path):
    run = run_of(ends, tmp_path / "late")
    run.folder.parent.mkdir()
    assert not STAGE.make(run, Bench(ends[1]), lambda line: None, 0.0)
    assert not STAGE.is_made(run)
    assert STAGE.make(run, Bench(ends[1]), lambda line: None, math.inf)
    assert STAGE.read(run)["path"] == made(ends, tmp_path / "whole")["path"]


def test_an_end_without_weights_is_told_in_a_line_and_nothing_is_lost(ends, tmp_path):
    copies = []
    for run in ends[0]:
        folder = tmp_path / f"ends/seed={run.seed}"
        shutil.copytree(run.folder, folder)
        copies.append(asked(SGD, run.seed, folder.parent))
    run = run_of((tuple(copies), ends[1]), tmp_path / "curve")
    run.folder.parent.mkdir()
    gone = copies[1].folder / records.WEIGHTS
    gone.unlink()
    assert STAGE.lacking(run) == [gone]
    with pytest.raises(InputError, match="run: not measured before the weights went is not allow"):
        STAGE.make(run, Bench(ends[1]), lambda line: None, math.inf)
    assert records.read_run(copies[0].folder, SGD, 0)
    other = models.build("cnn5", 10, 1)
    from safetensors.torch import save_file

    save_file(other.state_dict(), gone)
    provenance = copies[1].folder / "provenance.json"
    held = json.loads(provenance.read_text())
    held["sha256"][records.WEIGHTS] = records._checksum(gone)
    provenance.write_text(json.dumps(held))
    with pytest.raises(InputError, match="cnn3: features"):
        STAGE.make(run, Bench(ends[1]), lambda line: None, math.inf)
