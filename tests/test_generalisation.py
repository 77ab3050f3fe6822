"""What trained weights say of unseen data: m-sharpness against the gap, shifted test images."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import mutual_info_score
from torch import nn

from samscope import losses
from samscope.analysis import figures, prediction, results, verdicts
from samscope.analysis.stats import mean_interval
from samscope.errors import InputError
from samscope.measure.micro import m_sharpness, noised_loss
from samscope.plan.load import load_plan
from samscope.stages import STAGES, shifts
from samscope.stages.train import train_cell
from samscope.tasks.shifts import CONTRAST, NOISE, SHIFTS
from small_claims import claim
from small_study import RUNS, STUDY, edited, record_all, write_study
from stage_runs import asked, measure
from tiny_cell import tiny


class Weight(nn.Module):
    """One weight, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[3.0]], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w.expand(len(x), 1)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_m_sharpness_of_a_parabola(m):
    """Of a part of mean c the loss is (w - c)^2 + a constant: rho up, 2 rho |w - c| + rho^2."""
    y, rho = torch.tensor([[0.0], [1.0], [7.0], [5.0]], dtype=torch.float64), 0.25
    found = m_sharpness(Weight(), losses.loss("squared"), (y, y), m, rho)
    centres = y.view(-1, m).mean(1)
    assert found == pytest.approx(((3 - centres).abs() * 2 * rho + rho**2).mean().item())


def test_parts_are_whole():
    y = torch.zeros(4, 1)
    with pytest.raises(
        InputError, match="m: 3 is not allowed; allowed: a divisor of the 4 samples"
    ):
        m_sharpness(nn.Linear(1, 1), losses.loss("squared"), (y, y), 3, 0.1)
    with pytest.raises(InputError, match=r"rho: 0\.0 is not allowed"):
        m_sharpness(nn.Linear(1, 1), losses.loss("squared"), (y, y), 2, 0.0)


def test_the_loss_of_targets_that_are_wrong_by_chance_is_that_of_their_distribution():
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(5, 3, generator=random), torch.tensor([0, 2, 1, 1, 0])
    soft = torch.full((5, 3), 0.15).scatter(1, targets[:, None], 0.7)
    expected = nn.functional.cross_entropy(outputs, soft, reduction="sum")
    total = losses.loss("cross_entropy", reduction="sum")
    assert noised_loss(total, outputs, targets, 3, 0.3) == pytest.approx(expected.item())
    assert noised_loss(total, outputs, targets, 3, 0.0) == total(outputs, targets)


def test_shifts_of_an_image():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1], image[0, 0, 0, 2] = 16.0, 8.0
    moved = SHIFTS["pixel"](image, 16.0, torch.Generator())[:, 0, 0]
    assert [tuple(at) for at in (moved == 16).nonzero()[:, 1:].tolist()] == [
        (2, 1), (0, 1), (1, 2), (1, 0)
    ]  # fmt: skip
    assert sorted(moved.sum((1, 2)).tolist()) == [16.0, 16.0, 24.0, 24.0]
    pale = SHIFTS["contrast"](image, 16.0, torch.Generator())[0]
    assert pale.mean() == pytest.approx(image.mean().item())
    assert pale.std() == pytest.approx(CONTRAST * image.std().item())
    grey = torch.full((1, 1, 100, 100), 8.0)
    first, again = (SHIFTS["noise"](grey, 16.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first.min(), first.max()) == (0.0, 16.0)
    # cut off 2.8 standard deviations from grey
    assert first.std() == pytest.approx(NOISE * 16, rel=0.02)


CELL = tiny(epochs=2, variant="sam", rho=0.1)
SETTINGS = {
    "shifts": {"shifts": ["noise", "pixel"], "epochs": [1]},
    "m_sharpness": {"images": 40, "rho": 0.1, "m": {"1": 1, "256": 20}, "epochs": []},
}


def test_trained_weights_are_measured_once(tmp_path):
    """Against the record of the training, and the runs that are missing weights stay made."""
    out, data = tmp_path / CELL.id, tmp_path / "data"
    train_cell(CELL, [0], out, data, lambda line: None, snapshots={0: (1,)})
    trained = json.loads((out / "metrics.json").read_text())["runs"][0]
    found = {}
    for name, settings in SETTINGS.items():
        run = asked(CELL, 0, out, settings)
        lines = []
        measure(name, [run], data, lines.append)
        measure(name, [run], data, lines.append)
        assert lines[1] == f"{run.name} {name} kept"
        (found[name],) = json.loads((out / f"{name}.json").read_text())["runs"]
    seen = found["shifts"]
    assert [at["epoch"] for at in seen["along"]] == [1, 2]
    for score in ("loss", "acc_percent"):
        expected = trained[f"test_{score}"]["last"]
        assert seen[f"clean_{score}"] == pytest.approx(expected, rel=1e-5)
    assert seen["along"][0]["clean_loss"] != seen["clean_loss"]
    assert seen["train_loss"] == pytest.approx(found["m_sharpness"]["train_loss"], rel=1e-5)
    assert 0 < found["m_sharpness"]["m_sharpness_256"] < found["m_sharpness"]["m_sharpness_1"]
    # a fifth of the targets is wrong, and the test's are taken to be
    assert found["m_sharpness"]["test_loss"] > seen["clean_loss"]
    run = asked(CELL, 0, out, SETTINGS["shifts"])
    (out / "seed=0/weights-1.safetensors").unlink()
    assert STAGES["shifts"].is_made(run)
    assert [path.name for path in STAGES["shifts"].lacking(run)] == ["weights-1.safetensors"]
    more = asked(CELL, 0, out, SETTINGS["shifts"] | {"shifts": ["contrast"]})
    assert not STAGES["shifts"].is_made(more)


def test_samples_that_are_no_images_are_not_shifted():
    assert not shifts.unfit(CELL)
    beats = CELL.but(task="beats", data="digit_signals", model="attention_small")
    assert shifts.unfit(beats) == "cells of the task images"


WHERE = {"model": "cnn3", "variant": ["sgd", "sam", "ckpt1"], "rho": [0.1, 0.2]}
STAGED = {
    "m_sharpness": {"where": WHERE, "seeds": 3, "images": 40, "rho": 0.1, "m": {1: 1, 256: 20}},
    "shifts": {"where": WHERE, "seeds": 3, "shifts": ["noise"], "epochs": [1]},
}
CELLS = ("sgd/base", "sam/rho=0.1", "sam/rho=0.2", "ckpt1/rho=0.1", "ckpt1/rho=0.2")


def study(root, claims=()):
    """The small study with these stages, trained and not measured."""
    figure = [{"draw": "predictive_power"}]
    folder = write_study(root, list(claims), stages=STAGED)
    edited(folder / "paper.yaml", figures=figure)
    plan = load_plan({"profile": "tiny", "papers": [STUDY]}, root)
    record_all(plan)
    return plan


def measured(plan, cell, stage, *runs):
    """The record of a cell: of each seed its numbers by epoch."""
    spec = plan.cells[f"{RUNS}/{cell}"].cell
    told = [{"seed": seed, "digest": spec.digest(seed), **along[-1], "along": along}
            for seed, along in enumerate(runs)]  # fmt: skip
    path = plan.run_dir(f"{RUNS}/{cell}") / f"{stage}.json"
    path.write_text(json.dumps({"cell": cell, "runs": told, "settings": {}}))


def sharp(plan):
    """Gaps and sharpness of all cells and seeds; [seeds, cells] of each."""
    random = np.random.default_rng(5)
    gap = random.normal(size=(3, 5))
    one, whole = gap + 0.4 * random.normal(size=(3, 5)), random.normal(size=(3, 5))
    for place, cell in enumerate(CELLS):
        numbers = [
            {"epoch": 3, "train_loss": 0.5, "test_loss": 0.5 + gap[seed, place],
             "m_sharpness_1": one[seed, place], "m_sharpness_256": whole[seed, place]}
            for seed in range(3)
        ]  # fmt: skip
        measured(plan, cell, "m_sharpness", *([n] for n in numbers))
    return gap, one, whole


def test_the_figure_has_rank_correlations_and_mutual_information_of_pairs(tmp_path):
    plan = study(tmp_path)
    gap, one, whole = sharp(plan)
    drawn = figures.draw(plan, STUDY, "predictive_power")
    found = drawn.data.set_index(["m", "quantity"])
    assert set(found.cells) == {5}
    pairs = np.triu_indices(5, 1)
    for m, values in ((1, one), (256, whole)):
        for name, statistic in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
            expected = mean_interval([statistic(a, b)[0] for a, b in zip(values, gap, strict=True)])
            at = found.loc[(m, name)]
            assert (at["mean"], at.n) == (pytest.approx(expected.mean), 3)
            assert at.low == pytest.approx(max(expected.low, -1.0))
        # Of both orders of each pair, by another's estimate of mutual information.
        signs = [np.sign(np.subtract.outer(row, row))[pairs] for row in (*values, *gap)]
        x, y = np.concatenate(signs[:3]), np.concatenate(signs[3:])
        bits = mutual_info_score(np.r_[x, -x], np.r_[y, -y]) / math.log(2)
        at = found.loc[(m, "information")]
        assert at["mean"] == pytest.approx(bits)
        assert at.low <= at["mean"] <= at.high
        assert 0 < at.chance < at.chance_high < 1
    assert found.loc[(256, "information"), "here"] == 20
    assert "256 is 20 here" in drawn.caption


def test_chance_is_what_unrelated_measures_give():
    random = np.random.default_rng(0)
    draw = lambda: pd.DataFrame(random.normal(size=(10, 8)))  # noqa: E731
    target = draw()
    found = [prediction.power(draw(), target) for _ in range(20)]
    below = [one.information < one.chance_high for one in found]
    assert sum(below) >= 16
    assert sum(one.information for one in found) < 2 * sum(one.chance for one in found)
    assert prediction.power(target, target).information == 1


RELATION = {
    "kind": "relation", "x": "m_sharpness_1", "y": "last_gap_loss", "than": "m_sharpness_256",
    "variants": ["sgd", "sam", "ckpt1"], "rhos": [0.1, 0.2], "direction": "rises",
}  # fmt: skip


def test_one_metric_goes_with_another_more_than_a_third_does(tmp_path):
    plan = study(tmp_path, [claim(**RELATION)])
    gap, one, whole = sharp(plan)
    line = verdicts.evaluate(plan, STUDY).iloc[0]
    ranks = [[stats.spearmanr(a, b)[0] for a, b in zip(values, gap, strict=True)]
             for values in (one, whole)]  # fmt: skip
    expected = mean_interval(np.subtract(*ranks))
    assert (line.effect, line.unit, line.n) == (pytest.approx(expected.mean), "correlation", 3)
    assert line.ci_high == pytest.approx(min(expected.high, 2.0))


MATCHED = {
    "kind": "matched", "metric": "noise_drop", "a": "sam", "b": "sgd", "rhos": [0.1],
    "direction": "a_below_b",
}  # fmt: skip


def test_what_is_lost_on_shifted_images_is_compared_at_one_training_loss(tmp_path):
    """SGD ends at 0.1, SAM at 0.4, which SGD passes two thirds of the way down from 0.8."""
    plan = study(tmp_path, [claim(**MATCHED)])
    at = lambda epoch, loss, clean, noisy: {  # noqa: E731
        "epoch": epoch, "train_loss": loss, "clean_acc_percent": clean, "noise_acc_percent": noisy,
    }  # fmt: skip
    measured(
        plan,
        "sgd/base",
        "shifts",
        *([at(1, 0.8, 60.0, 51.0), at(3, 0.1, 80.0, 65.0 - seed)] for seed in range(3)),
    )
    measured(
        plan,
        "sam/rho=0.1",
        "shifts",
        *([at(1, 0.9, 50.0, 45.0), at(3, 0.4, 70.0, 62.0)] for _ in range(3)),
    )
    line = verdicts.evaluate(plan, STUDY).iloc[0]
    part = math.log(0.8 / 0.4) / math.log(0.8 / 0.1)
    expected = mean_interval([8.0 - (9.0 + part * (6.0 + seed)) for seed in range(3)])
    assert (line.effect, line.unit) == (pytest.approx(expected.mean), "points")
    assert line.ci_high == pytest.approx(expected.high)
    frame = results.metrics(plan, [f"{RUNS}/sgd/base"], ["noise_drop", "noise_error_percent"])
    assert list(frame[frame.metric == "noise_drop"].value) == [15, 15, 16, 16, 17, 17]
