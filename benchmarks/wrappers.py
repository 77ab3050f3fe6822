"""What a step of SAM costs beside its two passes, in five shapes, against the SAMs of others."""

from collections.abc import Callable, Sequence
from importlib import import_module

import torch
from benchmarks import baseline, problem
from benchmarks.problem import Size
from benchmarks.timing import Contestant, Findings, Goal, Table, Times, interleave, ratio, spread
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode

from samscope import models
from samscope.optim import SAM

RHO = 1e-4
SETTINGS = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-3, "foreach": True}
OURS, COUNTED, MIXED = "samscope, sam", "samscope, sam with counts", "samscope, ckpt12 with counts"
THEIRS = "torch.optim.SGD(foreach=True)"


def wrappers(size: Size, device: torch.device) -> Findings:
    """Ascent, return and base optimizer on given gradients, parameters shaped in five ways.

    Peers: github.com/davda54/sam as `benchmarks.baseline` has it; pytorch_optimizer's SAM, with
    torch's list kernels, where it is installed.
    """
    torch.empty(31 * 2**18)  # as in `benchmarks.update`
    tables, plain, counted = [], [], []
    for name, shapes in _shapes(size).items():
        steps = _steps(shapes, device)
        times = interleave(
            {name: Contestant(step, problem.repeatable) for name, step in steps.items()},
            2 * size.rounds + 1,
            device,
        )
        peers = [times[name] for name in steps if name not in (OURS, COUNTED, MIXED, THEIRS)]
        fastest = [min(round_) for round_ in zip(*(peer.seconds for peer in peers), strict=True)]
        best = Times((), (), tuple(fastest))
        plain.append(ratio(times[OURS], best)["median"])
        counted += [ratio(times[x], best)["median"] for x in (COUNTED, MIXED)]
        rows = [
            {
                "step": name,
                "ms": spread(times[name].seconds, 1e3),
                "times torch's SGD": ratio(times[name], times[THEIRS]),
                "times the fastest peer": ratio(times[name], best),
                "calls": _calls(step),
            }
            for name, step in steps.items()
        ]
        count = sum(shape.numel() for shape in shapes)
        title = f"The optimizer's part of a step: {name}, {count:,} parameters in {len(shapes)}"
        tables.append(Table(title, rows, "Calls: operations that reach torch's dispatcher."))
    return Findings(
        tables,
        [
            Goal(
                "plain SAM over the fastest peer, worst of five shapes", 1.0, max(plain), needs=""
            ),
            Goal("SAM with counts over the fastest peer, likewise", 2.0, max(counted), needs=""),
        ],
    )


def _shapes(size: Size) -> dict[str, list[torch.Size]]:
    network = models.build(size.update, 100, 3)
    perceptron = nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10))
    return {
        size.update: [p.shape for p in network.parameters()],
        "a CNN of three layers": [p.shape for p in models.build("cnn3", 10, 1).parameters()],
        "a perceptron": [p.shape for p in perceptron.parameters()],
        "one large tensor": [torch.Size([1_000_000])],
        "many small tensors": [torch.Size([64])] * 500,
    }


def _steps(shapes: Sequence[torch.Size], device: torch.device) -> dict[str, Callable[[], None]]:
    """A whole step of each, gradients given."""

    def parameters() -> list[nn.Parameter]:
        return [nn.Parameter(torch.randn(shape, device=device) / 100) for shape in shapes]

    def two(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> Callable[[], None]:
        parts = parameters()
        g, h = ([torch.randn_like(p) / 100 for p in parts] for _ in range(2))
        sam = make(parts)

        def step() -> None:
            _give(parts, g)
            sam.first_step()
            _give(parts, h)
            sam.second_step()

        return step

    parts = parameters()
    sgd, given = SGD(parts, **SETTINGS), [torch.randn_like(p) / 100 for p in parts]

    def plain() -> None:
        _give(parts, given)
        sgd.step()

    steps = {
        THEIRS: plain,
        OURS: two(lambda parts: SAM(parts, SGD, RHO, **SETTINGS)),
        COUNTED: two(lambda parts: SAM(parts, SGD, RHO, counts=True, **SETTINGS)),
        MIXED: two(lambda parts: SAM(parts, SGD, RHO, mix="ckpt12", counts=True, **SETTINGS)),
        "davda54": two(lambda parts: baseline.SAM(parts, SGD, RHO, **SETTINGS)),
    }
    try:
        peer = import_module("pytorch_optimizer").SAM
    except ModuleNotFoundError:
        return steps
    return steps | {"pytorch_optimizer": two(lambda parts: peer(parts, SGD, RHO, **SETTINGS))}


def _give(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


class _Counted(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **(kwargs or {}))


def _calls(step: Callable[[], None]) -> int:
    with _Counted() as counted:
        step()
    return counted.calls
