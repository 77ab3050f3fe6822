"""The benchmark of curvature: every library finds the same Hessian; the program runs."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import curvature, peers, timing

from exact import trained


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", peers.PEERS)
def test_every_library_is_asked_the_same(name):
    model, x, y, dense = trained()
    try:
        peer = peers.PEERS[name](model, nn.CrossEntropyLoss(), [(x, y)])
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    v = torch.randn(len(dense), generator=torch.Generator().manual_seed(0))
    exact = (dense @ v.double()).float()
    assert torch.linalg.vector_norm(peer.product(v) - exact) < 1e-4 * torch.linalg.vector_norm(
        exact
    )
    values, products = peer.top(5, peer.efforts[-1], 0)
    wanted = torch.linalg.eigvalsh(dense).flip(0)[:5].tolist()
    assert sorted(values, reverse=True) == pytest.approx(wanted, rel=1e-3)
    assert products >= 5
    assert peer.trace(200, 0) == pytest.approx(float(dense.trace()), rel=0.25)


def test_products_are_counted_as_they_are_made():
    model, x, y, _ = trained()
    ours = peers.samscope(model, nn.CrossEntropyLoss(), [(x, y)])
    assert [ours.top(2, effort, 0)[1] for effort in (10, 20)] == [10, 20]


def test_the_least_effort_is_the_first_that_reaches_the_error():
    exact = [5.0, 4.0, 3.0, 2.0, 1.0]
    off = {1: 1e-2, 2: 1e-4 * 1.1, 3: 1e-5}
    tried = []

    def top(k: int, effort: float, seed: int):
        tried.append(effort)
        return [value * (1 + off[effort] * (seed == 1)) for value in exact], 10 * effort

    peer = peers.Peer(lambda v: v, top, (1, 2, 3), lambda m, seed: 0.0)
    effort, products, error = curvature._least(peer, exact, 2)
    assert (effort, products, error) == (3, 30, pytest.approx(1e-5))
    assert tried == [1, 1, 2, 2, 3, 3]
    never = peers.Peer(lambda v: v, top, (1, 2), lambda m, seed: 0.0)
    assert curvature._least(never, exact, 2) is None


def test_the_program_writes_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "ROUND", 0.01)
    both = {"samscope": peers.samscope, "absent": _absent}
    for module in (curvature, peers):
        monkeypatch.setattr(module, "PEERS", both)
    monkeypatch.setattr(curvature, "PRODUCTS", (10, 40))
    monkeypatch.setattr(curvature, "TRACE_ERROR", 0.5)
    assert curvature.main(["--size", "tiny", "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    written = json.loads((folder / "curvature.json").read_text())
    assert list(written["sections"]) == list(curvature.SECTIONS)
    page = (folder / "curvature.md").read_text()
    assert page.startswith("# Curvature, measured\n")
    assert "not installed" in page
    assert all(section["tables"][0]["rows"] for section in written["sections"].values())


def _absent(model, loss, batches):
    raise ModuleNotFoundError("gone", name="gone")
