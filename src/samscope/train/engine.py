"""A run: updates, validation after each row of its history, test at the best row and at the last.

A row is an epoch, or as many steps as the budget says. The best is the first of highest validation
score, or of lowest validation loss where the task has no score; without validation samples it is
the last, and every row is tested. States are kept along the way, so that a killed run goes on from
the last and ends bit for bit where an uninterrupted one does.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from samscope import losses
from samscope.errors import InputError
from samscope.observe.ratios import magnitude_ranks
from samscope.optim.schedules import SCHEDULES
from samscope.spec import Cell
from samscope.store import content, records
from samscope.store import state as states
from samscope.store.records import Outcome
from samscope.tasks import Task
from samscope.tasks.samples import SCORES, Splits
from samscope.train import learned
from samscope.train.columns import means
from samscope.train.feed import Batches, Feed
from samscope.train.step import Learner, make_learner

STATE_SHARE = 0.03
"""Most of the time that keeping states may take; shorter rows than that allows share a state."""

MARGIN = 1.2
"""How many of the longest row so far, the first aside, the next may take."""

RANKED = 40
"""Rows of a history whose magnitudes are ranked: every fifth of 200 epochs, as in the geometry-SAM
study."""


def train(
    cell: Cell,
    seed: int,
    splits: Splits,
    folder: Path,
    report: Callable[[str], None],
    deadline: float = math.inf,
    snapshots: Collection[int] = (),
    start: dict[str, Tensor] | None = None,
) -> Outcome | None:
    """Train one run, going on from the state in ``folder`` if there is one.

    Args:
        cell: the setting.
        seed: of the run.
        splits: the cell's samples, on the device to train on.
        folder: of the run, where states are kept.
        report: called with one line about each state that is used or passed over.
        deadline: by ``time.perf_counter``. A row that would probably end later is not begun: the
            run's state is kept and None returned.
        snapshots: epochs (or steps, as the budget counts), before the last, after which the weights
            go to a file of their own, see `samscope.store.records.weights_at`.
        start: weights and running statistics to begin with; None: those of the seed.

    Raises:
        InputError: for a snapshot that is not at the end of a row.
    """
    clock, budget = time.perf_counter, cell.budget
    begin = saved = clock()
    for at in snapshots:
        if at not in budget.ends:
            allowed = f"{budget.ends_told}, at which a row of the history ends"
            raise InputError(cell.id, "snapshots", at, allowed)
    feed = Feed(cell, seed, splits)
    learner = make_learner(cell, seed, splits, start)
    best = learner.snapshot()
    learner.observer.begin(*feed.even)
    history: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    spans: list[float] = []
    started, seconds, cost = _now(), 0.0, 0.0
    fits = partial(_check, cell, seed, _kinds(_tensors(learner, best)))
    kept = states.load(folder, cell.digest(seed), report, fits)
    if kept is not None:
        history, ratios = kept.history, kept.ratios
        started, seconds = kept.started, kept.seconds
        best = _resume(learner, kept.tensors, feed.start(len(history)))
        done = f"{budget.unit} {_done(cell, history)} of {budget.length}"
        report(f"{folder}: goes on after {done}")
    for name, at in records.snapshots(folder).items():
        if at not in snapshots or at > _done(cell, history):
            (folder / name).unlink()  # of another training
    while len(history) < budget.rows and not _diverged(learner, history):
        now = clock()
        # The first row also compiles and records, which says little of the next.
        longest = max(spans[1:] or spans, default=0.0)
        out_of_time = now + MARGIN * longest + cost > deadline
        if len(history) and (out_of_time or (now - saved) * STATE_SHARE >= cost):
            tensors, spent = _tensors(learner, best), seconds + now - begin
            kept = states.State(tensors, history, ratios, spent, started)
            states.save(folder, cell.digest(seed), kept)
            saved = clock()
            cost = saved - now
        if out_of_time:
            return None
        history.append(_row(cell, learner, feed, len(history)))
        at = _done(cell, history)
        if learner.ascends:
            steps = feed.start(len(history)) - feed.start(len(history) - 1)
            ratios += learner.observer.end_row({"seed": seed, budget.unit: at}, steps)
        if best_row(history, cell.task) == len(history):
            best = learner.snapshot()
        if at in snapshots and at < budget.length:
            records.write(folder / records.weights_at(at), _weights(learner))
        spans.append(clock() - now)
    weights, persistence = _weights(learner), learner.observer.persistence.rows(seed)
    metrics = _metrics(cell, learner, feed, history, best)
    spent = seconds + clock() - begin
    return Outcome(metrics, history, ratios, persistence, weights, spent, started)


def learning_rate(cell: Cell, at: int) -> float:
    """Of an epoch, or of a step where the budget is in steps, from 0."""
    method = cell.method
    return SCHEDULES[method.schedule](method.lr, at, cell.budget.length, method.warmup)


def evaluate(
    model: nn.Module, batches: Batches, task: Task, context: AbstractContextManager | None = None
) -> dict[str, float]:
    """The mean ``loss`` and scores over samples, in evaluation mode; NaN without any.

    Args:
        model: left in evaluation mode.
        batches: inputs and targets.
        task: whose loss and scores.
        context: of the forward passes, for another precision than the model's.
    """
    model.eval()
    scores = task.kind.scores
    total = losses.loss(task.loss, task.smoothing, "sum")
    found: list[list[Tensor]] = []
    count = 0
    with torch.inference_mode(), context or nullcontext():
        for inputs, targets in batches:
            outputs = model(*inputs).float()
            # Of a sample's tokens, which the loss takes one by one, the mean.
            tokens = outputs[..., 0].numel() // len(targets)
            loss = total(outputs, targets) / tokens
            found.append([loss, *(SCORES[name](outputs, targets) for name in scores)])
            count += len(targets)
    columns = list(zip(*found, strict=True)) if found else [()] * (1 + len(scores))
    sums = [torch.stack(c).double().sum().item() if c else math.nan for c in columns]
    return {name: s / max(count, 1) for name, s in zip(("loss", *scores), sums, strict=True)}


def best_row(history: Sequence[dict[str, Any]], task: Task) -> int:
    """The first row (from 1) of highest validation score, or lowest loss of a task without scores.

    The last, without validation.
    """
    scores = task.kind.scores
    name, sign = (f"val_{scores[0]}", 1) if scores else ("val_loss", -1)
    values = [-math.inf if math.isnan(row[name]) else sign * row[name] for row in history]
    if all(math.isnan(row[name]) for row in history):
        return len(history)
    return values.index(max(values)) + 1


def _done(cell: Cell, history: Sequence[dict[str, Any]]) -> int:
    """Where a history ends: the epoch, or step, of its last row."""
    return cell.budget.ends[len(history) - 1] if history else 0


def _row(cell: Cell, learner: Learner, feed: Feed, number: int) -> dict[str, Any]:
    """Train for a row of the history (from 0), validate, and return the row."""
    budget = cell.budget
    learner.train()
    steps, samples, ranks = [], 0, {}
    ranked = learner.ascends and (number + 1) % max(1, budget.rows // RANKED) == 0
    for step, (inputs, targets) in enumerate(feed.training(number), feed.start(number)):
        lr = learning_rate(cell, step if budget.steps else number)
        learner.set_learning_rate(lr)
        learner.draw(feed.seed, step)
        # A recorded step overwrites its result.
        steps.append(learner.step(inputs, targets).clone())
        samples += len(targets)
        if ranked and len(steps) == feed.last_whole(number):
            ranks = magnitude_ranks(learner.observer.g, learner.observer.h)
    measured = {"val": feed.validation(number)}
    if not cell.task.val_size:
        # What such a study shows of a training; it chooses nothing here.
        measured["test"] = feed.test()
    found = {
        f"{split}_{name}": value
        for split, batches in measured.items()
        for name, value in evaluate(learner.model, batches, cell.task, learner.autocast()).items()
    }
    return {
        "seed": feed.seed,
        budget.unit: budget.ends[number],
        "lr": lr,
        **means(learner.columns, torch.stack(steps), samples, learner.ascends),
        **found,
        **ranks,
    }


def _diverged(learner: Learner, history: list[dict[str, Any]]) -> bool:
    """Whether training is beyond recovery: the loss or a parameter is not finite."""
    finite = not history or math.isfinite(history[-1]["train_loss"])
    return not (finite and bool(torch.isfinite(learner.w).all()))


def _metrics(
    cell: Cell,
    learner: Learner,
    feed: Feed,
    history: list[dict[str, Any]],
    best: dict[str, Tensor],
) -> dict[str, Any]:
    """The run's numbers at its best row and at its last; leaves the model at the best."""
    chosen, unit = best_row(history, cell.task), cell.budget.unit
    diverged = _diverged(learner, history)
    rows = {"best_val": history[chosen - 1], "last": history[-1]}
    names = ("loss", *cell.task.kind.scores)
    columns = [f"{split}_{name}" for split in ("train", "val") for name in names]
    highest = {}
    if cell.task.val_size:
        tested = {"last": evaluate(learner.model, feed.test(), cell.task, learner.autocast())}
        tested["best_val"] = tested["last"]
        if chosen < len(history):
            learner.restore(best)
            found = evaluate(learner.model, feed.test(), cell.task, learner.autocast())
            tested["best_val"] = found
    else:
        tested = {at: {name: row[f"test_{name}"] for name in names} for at, row in rows.items()}
        for name in cell.task.kind.scores:
            most = max(row[f"test_{name}"] for row in history)
            highest[f"highest_test_{name}"] = dict.fromkeys(rows, most)
    return {
        **{f"test_{name}": {at: found[name] for at, found in tested.items()} for name in names},
        **{column: {at: row[column] for at, row in rows.items()} for column in columns},
        **highest,
        **learned.steps(history, cell),
        f"best_{unit}": rows["best_val"][unit],
        f"{unit}s": rows["last"][unit],
        "diverged": diverged,
    }


def _weights(learner: Learner) -> bytes:
    """Parameters and buffers as a safetensors file."""
    state = learner.model.state_dict()
    return to_bytes({name: value.cpu().contiguous().clone() for name, value in state.items()})


def _tensors(learner: Learner, best: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `_resume` needs, by name."""
    last = learner.snapshot()
    tensors = {f"last.{k}": v for k, v in last.items()} | {f"best.{k}": v for k, v in best.items()}
    observed = learner.observer.state() if learner.ascends else {}
    return {**tensors, **learner.slots, **{f"observed.{k}": v for k, v in observed.items()}}


def _kinds(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Shape and type of each."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _check(cell: Cell, seed: int, known: dict[str, Any], kept: states.State) -> None:
    """Refuse what is no state of a run, whose tensors are of the kinds ``known``.

    Raises:
        Wrong: naming what is of something else.
    """
    found = _kinds(kept.tensors)
    for name in sorted({*known, *found}):
        if known.get(name) != found.get(name):
            raise content.Wrong(f"its {name} is of something else")
    content.check_history(cell, seed, kept.history)
    names = [name for name in records.columns(cell) if name.startswith(("train_", "val_"))]
    whole = all(name in row for row in kept.history for name in ("lr", *names))
    if not kept.history or not whole or not isinstance(kept.ratios, list):
        raise content.Wrong("its history is cut")


def _resume(learner: Learner, tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Put the learner where `_tensors` found it, after ``step``; returns the best snapshot."""
    part = lambda at: {k: tensors[f"{at}.{k}"].to(learner.device) for k in ("weights", "buffers")}  # noqa: E731
    learner.restore(part("last"))
    for name, slot in learner.slots.items():
        slot.copy_(tensors[name])
    if learner.ascends:
        start = "observed."
        observed = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        learner.observer.restore(observed, step)
    return part("best")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
