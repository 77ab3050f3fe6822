"""What everything after the second pass costs, against torch's SGD and against memory."""

from collections.abc import Sequence

import torch
from benchmarks import problem
from benchmarks.problem import Size
from benchmarks.timing import Contestant, Findings, Goal, Table, interleave, ratio, spread
from torch import Tensor, nn

from samscope import models
from samscope.optim import SAM
from samscope.optim.ascent import ascend
from samscope.optim.mixes import named_mix
from samscope.optim.rules import RULES
from samscope.optim.settings import Settings
from samscope.optim.update import descend, descend_block, descend_plain
from samscope.train.compiled import compile_alike

LR, RHO, MOMENTUM, DECAY = 1e-4, 1e-4, 0.9, 1e-3


def update(size: Size, device: torch.device) -> Findings:
    """The update of a network's parameters, in one vector and in its shapes."""
    shapes = [p.shape for p in models.build(size.update, 100, 3).parameters()]
    count = sum(shape.numel() for shape in shapes)
    w, start, g, h, buffer = (torch.randn(count, device=device) / 100 for _ in range(5))
    slots, sgd, mix = {"momentum": buffer}, RULES["sgd"], named_mix("ckpt12")
    numbers = (LR, RHO, MOMENTUM, DECAY)
    tensors = Settings(*(torch.tensor(x, device=device) for x in (*numbers, mix.table)))
    settings = tensors if device.type == "cuda" else Settings(*numbers, mix)
    theirs = "torch.optim.SGD(foreach=True)"
    contestants = {
        theirs: _torchs(_cut(w, shapes), _cut(g, shapes)),
        "SGD of the engine": Contestant(lambda: descend_plain(w, g, slots, sgd, settings)),
        "ascent of the engine": Contestant(lambda: ascend(w, start, g, settings.rho)),
        "ckpt12 of samscope.optim.SAM": _wrapped(*(_cut(x, shapes) for x in (w, g, h))),
        "ckpt12 of the engine, eager": Contestant(
            lambda: descend(w, start, g, h, slots, sgd, settings)
        ),
    }
    compiled = "ckpt12 of the engine, compiled"
    if size.compiled:
        fused, moved = compile_alike(descend_block), compile_alike(_traffic)
        whole = (w, start, g, h, slots, sgd, tensors, fused)
        contestants[compiled] = Contestant(lambda: descend(*whole))
        contestants["limit: its memory traffic alone, compiled"] = Contestant(
            lambda: moved(w, start, g, h, buffer)
        )
    # A training process has freed large tensors before. Only then does glibc keep the memory of
    # SGD's temporaries; without this the rival would pay for fresh pages in every step.
    torch.empty(31 * 2**18)
    times = interleave(contestants, 2 * size.rounds + 1, device)
    rows = [
        {
            "update": name,
            "ms": spread(taken.seconds, 1e3),
            "times torch's SGD": ratio(taken, times[theirs]),
        }
        for name, taken in times.items()
    ]
    title = f"The update of {count:,} parameters in the {len(shapes)} shapes of {size.update}"
    note = (
        "With masks, counts, weight decay and momentum. The limit reads four vectors and writes "
        "two. On a GPU launches are included."
    )
    reached = None
    if device.type == "cpu" and size.compiled:
        reached = ratio(times[compiled], times[theirs])["median"]
    goal = Goal("update over torch's foreach SGD, one CPU core", 1.6, reached, needs="a CPU")
    return Findings([Table(title, rows, note)], [goal])


def _traffic(w: Tensor, start: Tensor, g: Tensor, h: Tensor, buffer: Tensor) -> None:
    """Read and write what `descend_block` does."""
    total = start + g + h + buffer
    buffer.copy_(total)
    w.copy_(total)


def _torchs(values: Sequence[Tensor], gradients: Sequence[Tensor]) -> Contestant:
    parameters = _parameters(values)
    _give(parameters, gradients)
    sgd = torch.optim.SGD(parameters, lr=LR, momentum=MOMENTUM, weight_decay=DECAY, foreach=True)
    return Contestant(sgd.step, problem.repeatable)


def _wrapped(values: Sequence[Tensor], g: Sequence[Tensor], h: Sequence[Tensor]) -> Contestant:
    parameters = _parameters(values)
    settings = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY}
    sam = SAM(parameters, torch.optim.SGD, RHO, mix="ckpt12", counts=True, **settings)

    def prepare() -> None:
        problem.repeatable()
        _give(parameters, g)
        sam.first_step()
        _give(parameters, h)

    return Contestant(sam.second_step, prepare, count=1)


def _parameters(values: Sequence[Tensor]) -> list[nn.Parameter]:
    return [nn.Parameter(value.clone()) for value in values]


def _give(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()


def _cut(vector: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    parts = vector.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
