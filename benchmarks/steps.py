"""What a step costs: against SGD's, against the machine's peak, by size."""

from dataclasses import replace

import torch
from benchmarks import problem
from benchmarks.limits import flops, product
from benchmarks.problem import Size
from benchmarks.timing import Findings, Goal, Table, interleave, ratio, spread

from samscope.observe.persistence import PERIOD
from samscope.train.step import Learner


def sam(size: Size, device: torch.device) -> Findings:
    """A step with its ascent and the statistics of the regions, against two plain ones."""
    rows, reached = [], None
    # The observer looks back often just after a reference, of which each period has one.
    count = PERIOD if device.type == "cuda" else 0
    for task in size.problems:
        for compiled in size.engines:
            taught = problem.learner(task, compiled, device)
            contestants = {
                variant: problem.steps(task, taught, variant, count=count)
                for variant in ("sgd", "sam", "ckpt12")
            }
            times = interleave(contestants, size.rounds, device)
            for variant, taken in times.items():
                rows.append(
                    {
                        "model": f"{task}, {task.precision}{', compiled' * compiled}",
                        "variant": variant,
                        "ms a step": spread(taken.seconds, 1e3),
                        "of two SGD steps": ratio(taken, times["sgd"], 0.5),
                    }
                )
            if task.model == "resnet18":
                reached = ratio(times["ckpt12"], times["sgd"], 0.5)["median"]
    goal = Goal("ckpt12 step over two SGD steps, resnet18 on a GPU", 1.03, reached)
    return Findings(
        [Table("A step with statistics against two SGD steps", rows, size.note)], [goal]
    )


def peak(size: Size, device: torch.device) -> Findings:
    """The counted operations of a SAM step over its time, as a share of a large product's rate."""
    kinds = list(dict.fromkeys(task.precision for task in size.peaks))
    contestants = {name: product(size.product, name, device) for name in kinds}
    tasks, free = {}, None
    for task in size.peaks:
        for compiled in size.engines:
            if compiled and device.type == "cpu" and task not in size.problems:
                continue  # a minute of compilation
            name = f"{task}, {task.precision}{', compiled' * compiled}"
            contestants[name] = problem.steps(task, problem.learner(task, compiled, device))
            tasks[name] = task
        if device.type == "cuda" and task is size.peaks[0]:
            taught = Learner(problem.network(task), task.batch, task.precision, False, device)
            free = f"{task}, {task.precision}, any algorithm, not repeatable"
            contestants[free] = problem.steps(task, taught, settings=problem.as_users_have_it)
            tasks[free] = task
    times = interleave(contestants, size.rounds, device)
    rate = {k: [2 * size.product**3 / s for s in times[k].seconds] for k in kinds}
    rows = [
        {
            "work": f"{size.product}³ product, {k}",
            "TFLOP/s": spread(rate[k], 1e-12),
            "% of the peak": 100,
        }
        for k in kinds
    ]
    best: dict[str, float] = {}
    for name, task in tasks.items():
        count = 2 * task.batch * flops(task)
        done = [count / seconds for seconds in times[name].seconds]
        share = spread([100 * x / y for x, y in zip(done, rate[task.precision], strict=True)])
        if name != free:  # the engine repeats itself to the bit
            best[task.model] = max(share["median"], best.get(task.model, 0))
        rows.append(
            {
                "work": f"SAM step, {name}",
                "TFLOP/s": spread(done, 1e-12),
                "% of the peak": share,
                "ms": spread(times[name].seconds, 1e3),
            }
        )
    note = "Operations of convolutions and products, counted by torch, two passes a step. "
    on_gpu = best if device.type == "cuda" else {}
    goals = [
        Goal(f"% of the bf16 peak, {name} on a GPU", limit, on_gpu.get(name), at_least=True)
        for name, limit in (("resnet18", 45), ("wrn28_10", 55))
    ]
    return Findings([Table("Share of the matrix peak", rows, note + size.note)], goals)


def growth(size: Size, device: torch.device) -> Findings:
    """A step's cost over batch size and over model size."""
    graph = ", CUDA graph" if device.type == "cuda" else ""
    tasks = {
        f"SAM step over batch size, {size.problems[0].model}": [
            replace(size.problems[0], batch=batch) for batch in size.batches
        ],
        "SAM step over model size": size.models,
    }
    tables = []
    for title, several in tasks.items():
        learners = {task: problem.learner(task, False, device) for task in several}
        contestants = {str(task): problem.steps(task, learners[task]) for task in several}
        times = interleave(contestants, size.rounds, device)
        rows = []
        for task in several:
            taken = times[str(task)]
            count = 2 * task.batch * flops(task)
            rows.append(
                {
                    "model": f"{task}, {task.precision}",
                    "parameters": len(learners[task].w),
                    "ms a step": spread(taken.seconds, 1e3),
                    "images/s": spread([task.batch / s for s in taken.seconds]),
                    "GFLOP/s": spread([count / s for s in taken.seconds], 1e-9),
                }
            )
        tables.append(Table(f"{title}, not compiled{graph}", rows, size.note))
    return Findings(tables)
