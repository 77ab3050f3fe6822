"""Runs one after the other in a fresh process, and what an epoch spends beside training.

As a program it trains three short runs and prints their seconds as JSON.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks import problem
from benchmarks.problem import Problem, Size
from benchmarks.timing import Contestant, Findings, Goal, Table, interleave, ratio, spread

from samscope.observe.ratios import magnitude_ranks
from samscope.store import state
from samscope.train import engine
from samscope.train.feed import Feed

ROOT = Path(__file__).parents[1]
STEPS = 4
"""Of each of the runs, in two epochs."""
EPOCHS = 200
"""Of the run that is extrapolated."""


def runs(size: Size, device: torch.device) -> Findings:
    """Start of a process and its first three runs: what compilation costs, and that it costs once.

    Meant to come first: the compiled runs find nothing kept, and the sections after it find what
    these leave.
    """
    task = replace(size.problems[0], images=2 * size.problems[0].batch)
    rows = [_process(task, False, "eager")]
    if size.compiled:
        rows.append(_process(task, True, "compiled, nothing kept on disk"))
        rows.append(_process(task, True, "compiled, kept on disk"))
    title = f"Seconds of a process that trains three runs of {STEPS} steps, {task}"
    note = "Wall time. The start is Python, imports, the images and, on a GPU, CUDA. "
    return Findings([Table(title, rows, note + size.note)])


def _process(task: Problem, compiled: bool, name: str) -> dict[str, float | str]:
    arguments = (task.model, str(task.batch), task.precision, str(int(compiled)))
    paths = (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runs", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = json.loads(done.stdout.splitlines()[-1])
    start = time.perf_counter() - begin - sum(seconds)
    named = {f"run {number}": took for number, took in enumerate(seconds, 1)}
    return {"process": name, "start and end": start, **named}


def _train_three(model: str, batch: int, precision: str, compiled: bool) -> list[float]:
    """Seconds of three runs that differ by their seed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    problem.repeatable()
    task = Problem(model, batch, 2 * batch, precision)
    setting = problem.cell(task, compiled=compiled, epochs=2)
    images = problem.data(task, 0, device)
    seconds = []
    for seed in range(3):
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            engine.train(setting, seed, images, Path(folder), lambda line: None)
        seconds.append(time.perf_counter() - begin)
    return seconds


def upkeep(size: Size, device: torch.device) -> Findings:
    """Validation, states and the rest that an epoch has beside training, as shares of it."""
    task = replace(size.problems[0], images=size.epoch)
    taught = problem.learner(size.problems[0], size.compiled, device)
    setting = problem.cell(task, compiled=size.compiled)
    start = problem.network(task).state_dict()
    plain = Feed(setting, 0, problem.data(task, 0, device))
    whole = Feed(setting, 0, problem.data(task, size.validation, device))

    def prepare() -> None:
        problem.repeatable()
        taught.begin(setting, start)
        taught.observer.begin(setting.budget.rows, plain.steps)

    with tempfile.TemporaryDirectory() as folder:

        def save() -> None:
            tensors = engine._tensors(taught, taught.snapshot())
            state.save(Path(folder), "", state.State(tensors, [], [], 0.0, ""))

        def validate() -> None:
            engine.evaluate(taught.model, whole.validation(0), setting.task, taught.autocast())

        def count() -> None:
            taught.observer.end_row({"seed": 0, "epoch": 1}, plain.steps)

        contestants = {
            _TRAIN: Contestant(lambda: engine._row(setting, taught, plain, 1), prepare, count=1),
            "validation": Contestant(validate, prepare),
            "copy of the best": Contestant(taught.snapshot, prepare),
            "rows of the statistics": Contestant(count, prepare),
            _KEEP: Contestant(save, prepare, count=1),
        }
        apart = {_RANK: max(1, setting.budget.rows // engine.RANKED)}
        if apart[_RANK] > 1:  # else training ranks in every epoch
            ranks = lambda: magnitude_ranks(taught._g, taught._h)  # noqa: E731
            contestants[_RANK] = Contestant(ranks, prepare, count=1)
        times = interleave(contestants, size.rounds, device)
    share = {name: ratio(taken, times[_TRAIN], 100.0) for name, taken in times.items()}
    apart[_KEEP] = max(1, math.ceil(share[_KEEP]["median"] / (100 * engine.STATE_SHARE)))
    rows = [
        {
            "part": name,
            "ms": spread(taken.seconds, 1e3),
            "wall ms": spread(taken.wall, 1e3),
            "% of training": share[name],
            "epochs apart": apart.get(name, 1),
        }
        for name, taken in times.items()
    ]
    beside = sum(s["median"] / apart.get(name, 1) for name, s in share.items() if name != _TRAIN)
    run = statistics.median(times[_TRAIN].seconds) * EPOCHS * (1 + beside / 100)
    rows += [
        {"part": "all beside training", "% of training": beside},
        {"part": f"{EPOCHS} epochs, extrapolated", "ms": 1e3 * run},
    ]
    title = (
        f"An epoch of {size.epoch} images and {size.validation} to validate, SAM, {task}, "
        f"{task.precision}{', compiled' * size.compiled}"
    )
    on_gpu = task.model == "resnet18"
    goals = [
        Goal("% of training that the rest takes, resnet18 on a GPU", 3, beside if on_gpu else None),
        Goal("s of a 200-epoch SAM run, resnet18 on a GPU", 240, run if on_gpu else None),
    ]
    return Findings([Table(title, rows, size.note)], goals)


_TRAIN, _KEEP, _RANK = "training", "a state on disk", "ranks of the magnitudes"


if __name__ == "__main__":
    name, batch, precision, compiled = sys.argv[1:]
    print(json.dumps(_train_three(name, int(batch), precision, compiled == "1")))
