"""Where a surface lies, and its files: killed jobs that go on, settings, what is not finite."""

import copy
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from samscope.errors import InputError
from samscope.measure import surface
from samscope.measure.landscape import Plane, Segment, measure_surface, random_plane
from samscope.measure.surface import read_surface, shared_scale

GRID = [-1.0, -0.25, 0.0, 0.5]
silent = partial(measure_surface, report=lambda line: None)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network():
    """A network with batch normalisation, 60 inputs and their classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
        return model, torch.randn(60, 5), torch.randint(0, 3, (60,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_of_a_segment_are_the_two_solutions(dtype):
    random = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 1000, generator=random, dtype=dtype)
    end[:500] *= 1e-20
    segment = Segment(start, end)
    assert torch.equal(segment.at(0.0, 0.0).to(dtype), start)
    assert torch.equal(segment.at(1.0, 0.0).to(dtype), end)
    half = segment.at(0.5, 0.0)
    torch.testing.assert_close(half, (start.double() + end.double()) / 2, rtol=0, atol=1e-15)


def test_a_plane_is_computed_in_float64():
    origin, *directions = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    first, second = (direction.double() for direction in directions)
    expected = origin.double() + 0.1 * first + 0.3 * second
    assert torch.equal(Plane(origin, torch.stack(directions)).at(0.1, 0.3), expected)


def test_vectors_that_do_not_match_are_named(tmp_path):
    origin = torch.ones(7)
    for call, named in [
        (lambda: Plane(origin, origin), "Plane: directions: (7,)"),
        (lambda: Plane(origin, origin.expand(3, -1)), "Plane: directions: (3, 7)"),
        (lambda: Plane(origin, origin[None, 1:]), "Plane: vectors: [(7,), (6,)]"),
        (lambda: Segment(origin, origin * math.nan), "Segment: vectors: not finite"),
        (lambda: read_surface(tmp_path / "none.csv"), "none.json: file: missing or damaged"),
    ]:
        with pytest.raises(InputError) as error:
            call()
        assert named in str(error.value)
        assert "\n" not in str(error.value)


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(network, tmp_path):
    model, x, y = network
    plane, path, calls, lines, left = random_plane(model, 0), tmp_path / "deep/s.csv", [], [], []

    def noisy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(None)
        if len(calls) == stop:
            left.append(path.read_bytes())
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets) + torch.rand(())

    def run() -> int:
        calls.clear()
        lines.clear()
        columns = [-1.0, 0.0, 1e-5]
        measure_surface(
            model, noisy, x, y, plane, GRID, columns, "batch", path, {"seed": 0}, lines.append
        )
        return len(calls)

    stop = None
    assert run() == 12
    assert len(lines) == 4
    whole, settings = path.read_bytes(), path.with_suffix(".json").read_bytes()
    rows = whole.splitlines(keepends=True)
    assert rows[0] == b"a,b,loss,accuracy\n"
    assert len(rows) == 13
    for content, missing in [
        (b"".join(rows[:7]), 2),  # after two grid rows
        (b"".join(rows[:9]), 2),  # within the third
        (b"".join(rows[:9]) + rows[9][:-1], 2),  # without its line end
        (b"".join(rows[:4]) + rows[4][:-4], 3),
        (b"".join(rows[:7]) + b"0.0,-1.0,2.5,\x00\xff\n", 2),
        (b"".join(rows[:4]) + rows[3] + b"".join(rows[5:]), 3),  # a line of another point
        (whole[:-3], 1),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"s\.csv: grid rows: \d whole ones"):
            read_surface(path)
        assert run() == 1 + 3 * missing
        assert "goes on after row" in lines[0]
        assert path.read_bytes() == whole
    for content in (b"", rows[0], rows[0] + rows[1], b"loss\n" + b"".join(rows[1:])):
        path.write_bytes(content)
        assert run() == 12
        assert path.read_bytes() == whole
    path.unlink()
    stop = 8
    with pytest.raises(KeyboardInterrupt):
        run()
    assert left == [b"".join(rows[:7])]  # what also a SIGKILL leaves
    assert path.read_bytes() == left[0]
    stop = None
    assert run() == 7
    assert run() == 1  # nothing is missing: the first point is looked at
    assert path.read_bytes() == whole
    assert path.with_suffix(".json").read_bytes() == settings


def test_files_of_other_settings_are_named_and_not_used(network, tmp_path):
    model, x, y = network
    path, plane = tmp_path / "s.csv", random_plane(model, 0)
    base = dict(
        model=model,
        loss=F.cross_entropy,
        x=x,
        y=y,
        plane=plane,
        a=GRID,
        b=GRID,
        batchnorm="eval",
        about={"loss": "cross-entropy"},
    )
    other = copy.deepcopy(model)
    other[1].running_mean += 1
    smooth = partial(F.cross_entropy, label_smoothing=0.1)
    for change, named in [
        ({"about": {"loss": "other"}}, "of other settings (about)"),
        ({"b": [0.0, 1.0]}, "of other settings (b)"),
        ({"batchnorm": "batch"}, "of other settings (batchnorm)"),
        ({"x": x[:50], "y": y[:50]}, "of other settings (data_sha256, images)"),
        ({"plane": random_plane(model, 1)}, "of other settings (plane_sha256)"),
        ({"model": other}, "of other settings (buffers_sha256)"),
        ({"loss": smooth}, "its first point is another today"),
    ]:
        lines = []
        silent(**base, path=path)
        measure_surface(**{**base, **change}, path=path, report=lines.append)
        assert lines[0].startswith(f"{path}: {named}"), lines[0]
        assert len(lines) == 1 + len(GRID)
        alone = tmp_path / "alone.csv"
        alone.unlink(missing_ok=True)
        silent(**{**base, **change}, path=alone)
        assert path.read_bytes() == alone.read_bytes()
    path.with_suffix(".json").write_text("{")
    lines = []
    measure_surface(**base, path=path, report=lines.append)
    assert lines[0] == f"{path}: without its settings, measured anew"


def test_rows_never_lie_beside_the_settings_of_another_surface(network, tmp_path, monkeypatch):
    model, x, y = network
    path, write = tmp_path / "s.csv", surface.write

    def killed(at: Path, content: str) -> None:
        if at == path:
            raise KeyboardInterrupt
        write(at, content)

    base = (model, F.cross_entropy, x, y, random_plane(model, 0), GRID, GRID, "eval", path)
    silent(*base, {"seed": 0})
    monkeypatch.setattr(surface, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        silent(*base, {"seed": 1})
    assert '"seed": 1' in path.with_suffix(".json").read_text()
    assert not path.exists()


def test_what_is_not_finite_is_empty_and_left_out_of_the_scale(tmp_path):
    model = nn.Linear(2, 1, bias=False)
    plane = Plane(torch.tensor([3.0, 4.0]), torch.tensor([[3.0, 4.0]]))
    half = lambda outputs, targets: model.weight.square().sum() / 2  # noqa: E731
    x, y = torch.zeros(3, 2), torch.zeros(3, 1)
    path = tmp_path / "q.csv"
    found = silent(model, half, x, y, plane, [-1, 0, 1, 1e30], [0], "eval", path, {})
    assert found.loss[:3, 0].tolist() == [0.0, 12.5, 50.0]
    assert math.isnan(found.loss[3, 0])
    assert path.read_text().splitlines()[3:] == ["1.0,0.0,50.0,", "1e+30,0.0,,"]
    assert shared_scale(found.loss, np.array([[-2.0, math.inf]])) == (-2.0, 50.0)
    with pytest.raises(InputError, match="shared_scale: values: none finite"):
        shared_scale(np.array([math.nan]))


def test_surfaces_are_read_without_torch():
    code = "import sys, samscope.measure.surface; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
