"""The surfaces of a run: where they lie, what is kept, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch.nn.functional as F
from safetensors.torch import load_file

from samscope import models, tasks
from samscope.errors import InputError
from samscope.measure import landscape
from samscope.measure.surface import read_surface
from samscope.stages import Run
from samscope.stages import landscape as cell_landscape
from samscope.stages.landscape import KINDS
from samscope.stages.planes import grid_of
from samscope.stages.train import train_cell
from samscope.tasks.noise import training_targets
from stage_runs import asked, measure
from tiny_cell import tiny

SETTINGS = {"images": 40, "points": 5, "reach": 0.5}
SGD, SAM = tiny(epochs=3, variant="sgd"), tiny(epochs=3, variant="sam")


def of(run: Run, reference: Run | None, settings: dict) -> Run:
    return asked(run.spec, run.seed, run.folder.parent, settings, reference)


def measure_cell(run, reference, data_dir, settings, report=lambda line: None) -> None:
    measure("landscape", [of(run, reference, settings)], data_dir, report)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_dir):
    """A run of SGD and one of SAM, trained; and the folder of the data sets."""
    found = []
    for cell in (SGD, SAM):
        folder = tmp_path_factory.mktemp(cell.method.variant)
        train_cell(cell, [0], folder, data_dir, lambda line: None, snapshots={0: (1, 2)})
        found.append(asked(cell, 0, folder))
    return *found, data_dir


@pytest.fixture(scope="module")
def measured(runs):
    sgd, sam, data_dir = runs
    lines = []
    measure_cell(sgd, None, data_dir, SETTINGS, lines.append)
    measure_cell(sam, sgd, data_dir, SETTINGS, lines.append)
    return lines


def loss_of(run: Run, data_dir, batch_statistics: bool = False) -> float:
    """The loss of a run's last weights on the sample."""
    splits = tasks.load(run.spec.task, data_dir)
    model = models.build(run.spec.model, 10, 1).train(batch_statistics)
    model.load_state_dict(load_file(run.folder / "weights.safetensors"))
    labels = training_targets(splits, run.spec.task.label_noise, 0)[:40]
    facts, raw = splits.facts, splits.train.inputs[0][:40]
    images = (raw / facts["scale"] - facts["mean"]) / facts["std"]
    return float(F.cross_entropy(model(images), labels).detach())


def at(surface, a: float, b: float) -> float:
    return float(surface.loss[list(surface.a).index(a), list(surface.b).index(b)])


def test_every_surface_holds_the_solution(runs, measured):
    sgd, sam, data_dir = runs
    for run in (sgd, sam):
        found = cell_landscape.available(run.folder)
        assert set(found) == set(KINDS) - ({"between"} if run is sgd else set())
        exact = loss_of(run, data_dir)
        for kind in set(found) - {"between"}:
            assert at(read_surface(found[kind]), 0.0, 0.0) == pytest.approx(exact, rel=1e-5), kind
    between = read_surface(sam.folder / "landscape-between.csv")
    assert at(between, 0.0, 0.0) == pytest.approx(loss_of(sgd, data_dir, True), rel=1e-5)
    assert at(between, 1.0, 0.0) == pytest.approx(loss_of(sam, data_dir, True), rel=1e-5)
    record = json.loads((sam.folder.parent / "landscape.json").read_text())
    assert record["cell"] == SAM.id
    assert record["settings"] == {"images": 40, "points": 5, "reach": 0.5}
    assert [(r["seed"], r["digest"]) for r in record["runs"]] == [(0, SAM.digest(0))]


def test_the_curvature_of_the_eigenvector_plane_is_the_eigenvalue(runs, measured):
    """A parabola along each axis, as far as the third order lets it."""
    sgd, _, data_dir = runs
    near = {**SETTINGS, "reach": 0.02, "points": 3}
    measure_cell(sgd, None, data_dir, near)
    surface = read_surface(sgd.folder / "landscape-eigen.csv")
    step = surface.a[2]
    bend = [
        (line[0] - 2 * line[1] + line[2]) / step**2
        for line in (surface.loss[:, 1], surface.loss[1])
    ]
    assert bend == pytest.approx(surface.settings["about"]["eigenvalues"], rel=0.05)
    measure_cell(sgd, None, data_dir, SETTINGS, lambda line: None)


def test_the_trajectory_starts_at_the_initial_weights(runs, measured):
    _, sam, _ = runs
    about = read_surface(sam.folder / "landscape-trajectory.csv").settings["about"]
    assert about["epochs"] == [0, 1, 2, 3]
    assert about["coordinates"][-1] == [0.0, 0.0]
    start = models.build(SAM.model, 10, 1)
    end = load_file(sam.folder / "weights.safetensors")
    exact = math.sqrt(
        sum(float((p.detach() - end[n]).square().sum()) for n, p in start.named_parameters())
    )
    a, b = about["coordinates"][0]
    assert np.linalg.norm([a, b, about["distances"][0]]) == pytest.approx(exact, rel=1e-4)


def test_it_is_kept_and_goes_on_where_it_was(runs, measured, monkeypatch):
    sgd, sam, data_dir = runs
    before = {p.name: p.read_bytes() for p in sam.folder.glob("landscape*")}
    lines = []
    measure_cell(sam, sgd, data_dir.parent / "nowhere", SETTINGS, lines.append)
    assert lines == [f"{SAM.id}/seed=0 landscape kept"]
    # A job that died left no record and half a surface: only the missing rows are measured.
    (sam.folder / "landscape.json").unlink()
    path = sam.folder / "landscape-random.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:13]))
    points, means = [], landscape._means
    monkeypatch.setattr(landscape, "_means", lambda *args: points.append(1) or means(*args))
    measure_cell(sam, sgd, data_dir, SETTINGS, lines.append)
    assert {p.name: p.read_bytes() for p in sam.folder.glob("landscape*")} == before
    # Three rows of five, and of each surface its first point to see that it is the same.
    assert len(points) == 3 * 5 + len(KINDS)


def test_a_damaged_or_foreign_surface_is_measured_again(runs, measured):
    sgd, sam, data_dir = runs
    path = sam.folder / "landscape-line.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert not cell_landscape.is_made(of(sam, sgd, SETTINGS))
    measure_cell(sam, sgd, data_dir, SETTINGS, lambda line: None)
    assert path.read_bytes() == whole
    assert cell_landscape.is_made(of(sam, sgd, SETTINGS))
    assert not cell_landscape.is_made(of(sam, None, SETTINGS))
    assert not cell_landscape.is_made(of(sam, sgd, {**SETTINGS, "reach": 1.0}))


def test_without_weights_what_is_there_is_kept_and_no_more(runs, measured):
    sgd, sam, data_dir = runs
    weights = sam.folder / "weights.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    try:
        lines = []
        measure_cell(sam, sgd, data_dir, SETTINGS, lines.append)
        assert lines[0].endswith("landscape kept")
        with pytest.raises(InputError, match=r"weights\.safetensors: run: not measured before"):
            measure_cell(sam, sgd, data_dir, {**SETTINGS, "points": 7}, lines.append)
    finally:
        weights.write_bytes(content)
    with pytest.raises(InputError, match="101 is not allowed; allowed: 1 to 100"):
        measure_cell(sam, sgd, data_dir, {**SETTINGS, "images": 101}, lines.append)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.3, 1.7), (0.0, 2.0), (-0.001, 3)])
def test_the_weights_are_on_every_grid(low, high):
    for points in (3, 4, 15):
        grid = grid_of(low, high, points)
        assert 0.0 in grid
        assert grid == sorted(set(grid))
        assert len(grid) == points
