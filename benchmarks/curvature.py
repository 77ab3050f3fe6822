"""Measures curvature against its peers: ``python -m benchmarks.curvature``, in a few minutes.

Written to ``results/<machine>/curvature.json`` and ``curvature.md``. Peers that are not installed
are named as such; peers.txt says how to install them apart from the project's environment.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from benchmarks import problem, timing
from benchmarks.peers import PEERS, Batches, Peer, installed
from benchmarks.problem import Problem
from benchmarks.timing import Contestant, Findings, Goal, Table, interleave, ratio, spread
from safetensors.torch import load
from torch import nn

from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import spectrum
from samscope.measure.landscape import measure_surface, random_plane
from samscope.measure.objective import MeanLoss
from samscope.measure.trace import xtrace
from samscope.tasks.images import prepare
from samscope.tasks.noise import training_targets
from samscope.train import engine

K, ERROR, TRACE_ERROR = 5, 1e-4, 0.015
"""Eigenvalues wanted, their largest relative error, and that of a trace, over seeds."""

PRODUCTS = (20, 40, 80, 160, 320, 640)
"""Tried for a trace, over three times the seeds."""


@dataclass(frozen=True)
class Size:
    """How much is measured: the network, the images of the loss, rounds, seeds, grid points."""

    task: Problem
    images: int
    trained: bool
    rounds: int
    seeds: int
    points: int
    reference: int
    note: str


SIZES = {
    "gpu": Size(
        Problem("resnet18", 256, 5120, "float32"), 5120, False, 3, 2, 5, 200,
        "Initial weights, random images.",
    ),
    "cpu": Size(
        Problem("cnn3", 60, 600, "float32"), 150, True, 5, 5, 15, 2500,
        "The quick profile's network, trained by SGD, and 150 of its images; one thread.",
    ),
    "tiny": Size(
        Problem("cnn3", 20, 60, "float32"), 30, True, 2, 2, 3, 100, "A test of the program.",
    ),
}  # fmt: skip

_Run = Callable[[Size, nn.Module, Batches, dict[str, Peer]], Findings]


def products(size: Size, model: nn.Module, batches: Batches, peers: dict[str, Peer]) -> Findings:
    """A product with the Hessian, in gradients."""
    mean_loss = MeanLoss(model, F.cross_entropy, batches)
    v = torch.randn(mean_loss.size, generator=torch.Generator().manual_seed(0)).to(
        mean_loss.weights
    )
    exact = peers["samscope"].product(v)
    work = {name: Contestant(lambda p=peer: p.product(v)) for name, peer in peers.items()}
    work["a gradient"] = Contestant(lambda: mean_loss.gradient(mean_loss.weights))
    times = interleave(work, size.rounds, mean_loss.device)
    rows = []
    for name in ("a gradient", *PEERS):
        row = {"": name}
        if name in times:
            row["ms"] = spread(times[name].seconds, 1e3)
            row["in gradients"] = ratio(times[name], times["a gradient"])
        if name in peers:
            off = torch.linalg.vector_norm(peers[name].product(v).to(exact) - exact)
            row["difference to samscope's"] = float(off / torch.linalg.vector_norm(exact))
        rows.append(row if len(row) > 1 else {**row, "ms": "not installed"})
    ours = ratio(times["samscope"], times["a gradient"])["median"]
    kept = len(mean_loss.chunks) == 1
    title = f"A Hessian-vector product, {size.task.model}, {size.images} images"
    goals = [
        Goal("gradients that a product costs, one resident batch", 2.5, ours if kept else None)
    ]
    return Findings([Table(title, rows, size.note)], goals)


def top(size: Size, model: nn.Module, batches: Batches, peers: dict[str, Peer]) -> Findings:
    """The five largest eigenvalues to a relative error, by the least effort that gets there."""
    hessian = Hessian(MeanLoss(model, F.cross_entropy, batches, dtype=torch.float64))
    exact = spectrum(hessian, K, 1e-9, 300).largest.values
    efforts = {name: _least(peer, exact, size.seeds) for name, peer in peers.items()}
    reached = {name: found for name, found in efforts.items() if found is not None}
    work = {
        name: Contestant(lambda n=name, e=found[0]: peers[n].top(K, e, 0), count=1)
        for name, found in reached.items()
    }
    times = interleave(work, size.rounds, hessian.device)
    rows = []
    for name in PEERS:
        if name in reached:
            _, count, error = reached[name]
            rows.append(
                {"": name, "products": count, "largest error": error, **_timed(name, times)}
            )
        else:
            rows.append({"": name, "products": _absent(name, peers)})
    title = f"Top {K} eigenvalues to {ERROR:g}, worst of {size.seeds} seeds, {size.task.model}"
    goals: list[Goal] = []
    if "PyHessian" in reached and "samscope" in reached:
        fewer = reached["PyHessian"][1] / reached["samscope"][1]
        faster = ratio(times["PyHessian"], times["samscope"])["median"]
        goals.append(
            Goal("times fewer products than PyHessian, top 5", 3, fewer, True, "PyHessian")
        )
        goals.append(Goal("times faster than PyHessian, top 5", 3, faster, True, "PyHessian"))
    others = [n for n in times if n not in ("samscope", "PyHessian") and "samscope" in times]
    best = min((ratio(times[n], times["samscope"])["median"] for n in others), default=None)
    goals.append(Goal("times the best other library's time, top 5", 1, best, True, "the others"))
    return Findings([Table(title, rows, size.note)], goals)


def trace(size: Size, model: nn.Module, batches: Batches, peers: dict[str, Peer]) -> Findings:
    """The trace to a root mean square error over seeds, by the fewest products that get there."""
    hessian = Hessian(MeanLoss(model, F.cross_entropy, batches))
    exact = xtrace(hessian, min(size.reference, hessian.size // 2 * 2), seed=99)
    needed, errors = {}, {}
    for name, peer in peers.items():
        for count in PRODUCTS:
            off = [peer.trace(count, seed) / exact.value - 1 for seed in range(3 * size.seeds)]
            errors[name] = math.sqrt(statistics.fmean(x * x for x in off))
            if errors[name] <= TRACE_ERROR:
                needed[name] = count
                break
    work = {
        name: Contestant(lambda n=name, m=count: peers[n].trace(m, 0), count=1)
        for name, count in needed.items()
    }
    times = interleave(work, size.rounds, hessian.device)
    rows = []
    for name in PEERS:
        if name in needed:
            found = {"products": needed[name], "error, %": 100 * errors[name]}
            rows.append({"": name, **found, **_timed(name, times)})
        else:
            rows.append({"": name, "products": _absent(name, peers)})
    half = 100 * (exact.high - exact.value) / abs(exact.value)
    title = f"Trace to {100 * TRACE_ERROR:g} %, rms of {3 * size.seeds} seeds, {size.task.model}"
    note = f"Against XTrace with {exact.products} products, good to {half:.2g} %. {size.note}"
    return Findings([Table(title, rows, note)])


def whole(size: Size, model: nn.Module, batches: Batches, peers: dict[str, Peer]) -> Findings:
    """What the pipeline takes of a solution: top five with bounds and the density, one run."""
    mean_loss = MeanLoss(model, F.cross_entropy, batches)
    begin = time.perf_counter()
    found = spectrum(Hessian(mean_loss), K, 1e-3, 100)
    if mean_loss.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    row = {"products": found.products, "converged": str(found.converged), "s": seconds}
    taken = seconds if size.task.model == "resnet18" else None
    goal = Goal("s for top 5 and density, ResNet-18, 5,120 images", 60, taken)
    title = f"Top {K} and density to 1e-3, {size.task.model}, {size.images} images"
    return Findings([Table(title, [row], size.note)], [goal])


def surface(size: Size, model: nn.Module, batches: Batches, peers: dict[str, Peer]) -> Findings:
    """Points of a loss surface a second, and what of it is the forward pass."""
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    plane = random_plane(model.eval(), 0)
    grid = [float(i) for i in range(-(size.points // 2), size.points // 2 + 1)]

    def points() -> None:
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder) / "surface.csv"
            measure_surface(model, F.cross_entropy, x, y, plane, grid, grid, "eval", where, {},
                            lambda line: None)  # fmt: skip

    def forward() -> None:
        with torch.no_grad():
            for inputs, targets in batches:
                F.cross_entropy(model(inputs), targets).item()

    work = {"points": Contestant(points, count=1), "forward": Contestant(forward)}
    times = interleave(work, size.rounds, x.device)
    count = len(grid) ** 2
    rows = [{
        "points a second": spread([count / s for s in times["points"].seconds]),
        "forward passes a point": ratio(times["points"], times["forward"], 1 / count),
    }]  # fmt: skip
    title = f"Loss surface, {count} points, {size.task.model}, {size.images} images"
    return Findings([Table(title, rows, size.note)])


SECTIONS: dict[str, _Run] = {
    "products": products,
    "top": top,
    "trace": trace,
    "whole": whole,
    "surface": surface,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns 1 where a section failed."""
    chosen = timing.options(__doc__, SECTIONS, SIZES, arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = SIZES[chosen.size or ("gpu" if device.type == "cuda" else "cpu")]
    problem.repeatable()
    model, batches = prepared(size, device)
    peers = installed(model, batches)
    path, failed = chosen.out / timing.slug(device) / "curvature.json", False
    document = json.loads(path.read_text()) if path.exists() else {"sections": {}}
    document["machine"] = timing.machine(device)
    for name in chosen.sections:
        begin = time.perf_counter()
        try:
            findings = SECTIONS[name](size, model, batches, peers)
        except Exception as error:
            failed, line = True, f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{name}: {line}", file=sys.stderr)
            findings = Findings([Table("Not measured", [{"error": line}])])
        seconds = time.perf_counter() - begin
        about = {**timing.stamp(chosen.commit), "seconds": seconds}
        document["sections"][name] = {**about, **asdict(findings)}
        print(f"{name}: {seconds:.1f} s", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
        path.with_suffix(".md").write_text(render(document))
    print(path.with_suffix(".md"))
    return int(failed)


def render(document: dict) -> str:
    """The page, as `benchmarks.timing.render` sets it, under its own name."""
    page = timing.render(document).split("\n", 1)[1]
    page = page.replace("`make bench`", "`python -m benchmarks.curvature`", 1)
    return f"# Curvature, measured\n{page}"


def prepared(size: Size, device: torch.device) -> tuple[nn.Module, Batches]:
    """The network at the weights in question, and the images of its loss in batches of 512."""
    model = problem.network(size.task)
    images = problem.data(size.task, 0, device)
    if size.trained:
        setting = problem.cell(size.task, "sgd", epochs=9)
        with tempfile.TemporaryDirectory() as folder:
            outcome = engine.train(setting, 0, images, Path(folder), lambda line: None)
        model.load_state_dict(load(outcome.weights))
    labels = training_targets(images, problem.cell(size.task).task.label_noise, 0)
    (x,), y = prepare(images, images.train[: size.images].inputs, None), labels[: size.images]
    return model.to(device).eval(), list(zip(x.split(512), y.split(512), strict=True))


def _least(peer: Peer, exact: Sequence[float], seeds: int) -> tuple[float, int, float] | None:
    """The least effort whose worst error over seeds is small enough, its products, the error."""
    for effort in peer.efforts:
        found = [peer.top(K, effort, seed) for seed in range(seeds)]
        errors = [
            abs(value / wanted - 1)
            for values, _ in found
            for value, wanted in zip(sorted(values, reverse=True), exact, strict=True)
        ]
        if max(errors) <= ERROR:
            return effort, round(statistics.fmean(count for _, count in found)), max(errors)
    return None


def _timed(name: str, times: dict[str, timing.Times]) -> dict[str, timing.Value]:
    """A contestant's seconds, and as a share of ours."""
    ours = {"of samscope's": ratio(times[name], times["samscope"])} if "samscope" in times else {}
    return {"s": spread(times[name].seconds), **ours}


def _absent(name: str, peers: dict[str, Peer]) -> str:
    return "does not get there" if name in peers else "not installed"


if __name__ == "__main__":
    sys.exit(main())
