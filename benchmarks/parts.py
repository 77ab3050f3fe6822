"""Where the time of a step goes."""

import copy
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace

import torch
from benchmarks import problem
from benchmarks.problem import Problem, Size
from benchmarks.timing import Contestant, Findings, Table, Value, interleave, spread
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from samscope.train.step import Learner

PROFILES, CALLS = 3, 5
"""Profiles of a piece of work, of which the medians count, and calls in each."""

Kernels = dict[str, tuple[float, int]]
"""Milliseconds and number of a call's kernels (on a CPU: operators), by what they do."""


def parts(size: Size, device: torch.device) -> Findings:
    """The two passes by kind of kernel, the update, the statistics, and the gaps on a GPU."""
    note = (
        "The update: ascent, norms, mix, counts, momentum, running statistics. The statistics: "
        "what the observer records of g and h. Each was measured alone, on a GPU as its kernels' "
        "durations by torch's profiler, on a CPU by the clock, the profiler only dividing the "
        "passes (compiled code counts as element-wise there). Gaps: the step's time without "
        "kernels. "
    )
    tables = []
    for task in size.problems:
        for compiled in size.engines:
            taught = problem.learner(task, compiled, device)
            title = f"Parts of a ckpt12 step, {task}, {task.precision}{', compiled' * compiled}"
            tables.append(Table(title, _parts(task, taught, size.rounds), note + size.note))
    return Findings(tables)


def _parts(task: Problem, taught: Learner, rounds: int) -> list[dict[str, Value]]:
    step = problem.steps(task, taught, "ckpt12")
    step.prepare()
    pieces = _pieces(taught, *problem.batch(task, taught.device))
    contestants = {name: Contestant(run) for name, run in pieces.items()}
    times = interleave({"step": step, **contestants}, rounds, taught.device)
    clocked = {name: 1e3 * median(taken.seconds) for name, taken in times.items()}
    on_gpu = taught.device.type == "cuda"
    rows, busy = [], 0.0
    for name, run in pieces.items():
        kernels = _profile(run, taught.device)
        profiled = sum(ms for ms, _ in kernels.values())
        scale = 1.0 if on_gpu else clocked[name] / profiled
        if name != "passes":
            kernels = {"": (profiled, sum(number for _, number in kernels.values()))}
        for kind, (ms, number) in kernels.items():
            rows.append({"part": f"{name}{kind}", "ms": scale * ms, "kernels": number})
            busy += scale * ms
    if on_gpu:
        gaps = clocked["step"] - busy
        rows.append({"part": "gaps", "ms": gaps if gaps > 0 else "below resolution"})
    for row in rows:
        if isinstance(row["ms"], float):
            row["% of the step"] = 100 * row["ms"] / clocked["step"]
    whole = {"part": "step", "ms": spread(times["step"].seconds, 1e3), "% of the step": 100}
    return [*rows, whole]


def _pieces(taught: Learner, images: Tensor, labels: Tensor) -> dict[str, Callable[[], object]]:
    """What a step consists of, each part to be called alone."""

    def passes() -> list[Tensor]:
        taught._gradient((images,), labels, taught._g, taught._g_views)
        return taught._gradient((images,), labels, taught._h, taught._h_views)

    # The same learner, without what is measured by itself.
    bare, found = copy.copy(taught), passes()
    bare._gradient = lambda *_: found
    bare.observer = SimpleNamespace(record=lambda: None)

    def statistics() -> None:
        taught.observer.record()
        taught.observer.advance()

    return {
        "passes": passes,
        "update": lambda: bare._step((images,), labels),
        "statistics": statistics,
    }


def _profile(run: Callable[[], object], device: torch.device) -> Kernels:
    several = [_kernels(run, device) for _ in range(PROFILES)]
    return {
        kind: tuple(median(kernels[kind][at] for kernels in several) for at in (0, 1))
        for kind in several[0]
    }


def _kernels(run: Callable[[], object], device: torch.device) -> Kernels:
    run()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiled:
        for _ in range(CALLS):
            run()
        if on_gpu:
            torch.cuda.synchronize()
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    sums = {kind: [0.0, 0] for kind in (_PRODUCTS, _ELEMENTS, _COPIES)}
    for event in profiled.events():
        # On a GPU a named region is an event beside those of its kernels.
        if event.device_type == wanted and not (on_gpu and event.is_user_annotation):
            us = event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total
            total = sums[_kind(event.name)]
            total[0] += us / 1e3 / CALLS
            total[1] += 1
    return {kind: (ms, round(number / CALLS)) for kind, (ms, number) in sums.items()}


_PRODUCTS = ": convolutions, products"
_ELEMENTS = ": normalisation, element-wise"
_COPIES = ": copies"


def _kind(name: str) -> str:
    """What a kernel or operator does, by its name."""
    name = name.lower()
    # Triton's names list everything that was fused, and cuDNN has a batch normalisation too.
    if not name.startswith("triton_") and "norm" not in name and "bn_" not in name:
        if any(word in name for word in ("copy", "memcpy", "memset", "tonhwc", "tonchw", "clone")):
            return _COPIES
        products = ("conv", "gemm", "xmma", "cutlass", "nvjet", "fprop", "dgrad", "wgrad", "splitk")
        if any(word in name for word in (*products, "aten::mm", "addmm", "linear", "mmbackward")):
            return _PRODUCTS
    return _ELEMENTS
