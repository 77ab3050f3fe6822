"""A network of graphs, trained and then measured by both stages."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import tiny_molecules
from exact import flat
from samscope import models, numerics, tasks
from samscope.analysis import landscapes
from samscope.config.typed import read
from samscope.errors import InputError
from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import spectrum
from samscope.measure.landscape import random_plane
from samscope.measure.objective import MeanLoss
from samscope.measure.surface import read_surface
from samscope.seeding import stream
from samscope.stages import landscape
from samscope.stages.train import train_cell
from samscope.store import records
from stage_runs import asked, measure
from test_gcn import cell

CURVATURE = {
    "images": 40, "top_n": 2, "products": 40, "trace_products": 8, "rho": 0.05, "epochs": [],
    "pooled": {"batches": 3, "images": 16, "backend": "lanczos"},
}  # fmt: skip
LANDSCAPE = {"images": 40, "points": 3, "reach": 0.5}
CONVEXITY = {"convexity_points": 3, "convexity_images": 20}
CELLS = cell(), cell(variant="sam", rho=0.05, adaptive="davda54")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of Adam and one of SAM, trained; and the folder of the data."""
    folder, found = tmp_path_factory.mktemp("graphs"), []
    tiny_molecules.write(folder, tiny_molecules.random_texts(90))
    for spec in CELLS:
        train_cell(spec, [0], folder / spec.method.variant, folder, lambda line: None)
        found.append(asked(spec, 0, folder / spec.method.variant))
    return *found, folder


def ready(run, folder):
    """The model of a run, and its sample."""
    splits = tasks.load(run.spec.task, folder)
    model = models.build("gcn", *splits.sizes).eval()
    model.load_state_dict(load_file(run.folder / records.WEIGHTS))
    return model, splits.train


def loss(outputs, y):
    """The report's: the divergence from a target smoothed by a tenth."""
    smooth = torch.full((len(y), 2), 0.1).scatter(1, y[:, None], 0.9)
    return F.kl_div(outputs.log_softmax(1), smooth, reduction="batchmean")


@pytest.fixture(scope="module")
def curved(runs):
    _, sam, folder = runs
    run = asked(sam.spec, 0, sam.folder.parent, CURVATURE)
    measure("curvature", [run], folder)
    (found,) = json.loads((sam.folder.parent / "curvature.json").read_text())["runs"]
    return found["spectra"][-1]


def test_its_curvature_is_that_of_its_loss(runs, curved):
    _, sam, folder = runs
    model, train = ready(sam, folder)
    x, y = tuple(t[:40] for t in train.inputs), train.targets[:40]
    with torch.no_grad():
        assert curved["loss"] == pytest.approx(loss(model(*x), y).item(), rel=1e-5)
    # The largest eigenvalue, and a product along its vector by differences of gradients.
    mean_loss = MeanLoss(model, loss, (x, y), dtype=torch.float64)
    vector = spectrum(Hessian(mean_loss), 1, 1e-6, 60, eigenvectors=True).largest.vectors[0]
    w, step = flat(model).double(), 1e-7
    up, down = (mean_loss.gradient(w + s * vector)[1] for s in (step, -step))
    bend = float((up - down) @ vector) / (2 * step)
    assert curved["largest"][0] == pytest.approx(bend, rel=1e-3)
    assert curved["worst_case"]["value"] > 0
    assert sum(curved["noise"]["shares"]) < 100.0  # where no gradient comes is no region


def test_its_mini_batches_are_of_an_epoch_that_training_never_saw(runs, curved):
    _, sam, folder = runs
    model, train = ready(sam, folder)
    order = torch.randperm(63, generator=stream(0, "order", CELLS[1].budget.epochs))
    spread = curved["pooled"]["asymmetry"]
    for index, chosen in enumerate(order[:48].split(16)):
        batch = train[chosen]
        hessian = Hessian(MeanLoss(model, loss, (batch.inputs, batch.targets)))
        exact = spectrum(hessian, 1, 1e-5, 80, seed=7, ends=1e-4)
        assert spread["largest"][index] == pytest.approx(exact.ends[0].value, rel=1e-4)
        assert spread["ratios"][index] == pytest.approx(exact.asymmetry().value, rel=1e-2)
    assert sorted(spread["ratios"])[1] == pytest.approx(spread["median"])


@pytest.mark.usefixtures("curved")
def test_the_provenance_tells_which_processor_measured(runs):
    _, sam, _ = runs
    source = json.loads((sam.folder / "provenance.json").read_text())
    assert source["curvature"]["fingerprint"] == numerics.fingerprint()


@pytest.fixture(scope="module")
def surfaces(runs):
    """Those of SAM's run, compared with Adam's; by kind."""
    adam, sam, folder = runs
    lines, settings = [], LANDSCAPE | CONVEXITY
    run = asked(sam.spec, 0, sam.folder.parent, settings, adam)
    measure("landscape", [run], folder, lines.append)
    assert lines[-1].endswith("convexity")
    found = {k: read_surface(p) for k, p in landscape.available(sam.folder).items()}
    sums = json.loads((sam.folder / "landscape.json").read_text())["sha256"]
    assert len(sums) == 2 * len(found)
    return found


def test_its_surfaces_hold_the_solution(runs, surfaces):
    adam, sam, folder = runs
    # No weights were kept on the way, so there is no trajectory.
    assert surfaces.keys() == {"line", "random", "eigen", "between", "convexity"}
    exact = []
    for run in (adam, sam):
        model, train = ready(run, folder)
        with torch.no_grad():
            outputs = model(*(t[:40] for t in train.inputs))
        exact.append(loss(outputs, train.targets[:40]).item())
    for kind in ("line", "random", "eigen"):
        found = surfaces[kind]
        at = list(found.a).index(0.0), list(found.b).index(0.0)
        assert found.loss[at] == pytest.approx(exact[1], rel=1e-5), kind
    line = surfaces["between"]
    ends = [line.loss[list(line.a).index(end), 0] for end in (0.0, 1.0)]
    assert ends == pytest.approx(exact, rel=1e-5)


def test_its_convexity_is_of_the_first_samples_on_the_random_plane(runs, surfaces):
    _, sam, folder = runs
    model, train = ready(sam, folder)
    found, plane = surfaces["convexity"], random_plane(model, 0)
    assert found.settings["images"] == 20
    assert found.settings["plane_sha256"] == surfaces["random"].settings["plane_sha256"]
    part = tuple(t[:20] for t in train.inputs), train.targets[:20]
    mean_loss = MeanLoss(model, loss, part)
    for row, column in ((0, 0), (1, 1), (2, 1)):
        hessian = Hessian(mean_loss, plane.at(found.a[row], found.b[column]))
        exact = spectrum(hessian, 1, 1e-3, 100, seed=5, ends=1e-3).concavity().value
        assert found.values["ratio"][row, column] == pytest.approx(exact, rel=0.02)


def test_a_table_of_it_has_its_own_columns(surfaces):
    frame = landscapes.tidy("convexity", {"c": surfaces["convexity"]})
    assert list(frame) == list(landscapes.tidy("convexity", {}))
    assert list(frame)[:6] == ["cell", "kind", "a", "b", "ratio", "error"]
    assert frame.ratio[5] == surfaces["convexity"].values["ratio"][1, 2]
    assert list(landscapes.tidy("random", {}))[4:] == ["loss", "accuracy"]


def test_convexity_is_measured_where_it_is_asked_for_alone():
    where = {"where": {}, "seed": 0, **LANDSCAPE}
    settings = read(landscape.Settings, where, "scale.yaml")
    assert settings.used() == LANDSCAPE  # as records of before have it
    settings = read(landscape.Settings, where | CONVEXITY, "scale.yaml")
    assert settings.used() == LANDSCAPE | CONVEXITY
    refused = ("points", 2, "0, or from 3"), ("images", 0, "from 1"), ("images", 41, "40 at most")
    for name, value, allowed in refused:
        with pytest.raises(InputError, match=f"convexity_{name}: {value} .*{allowed}"):
            read(landscape.Settings, where | {f"convexity_{name}": value}, "scale.yaml")
