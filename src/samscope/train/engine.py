"""A run: epochs of updates, validation after each, test at the best epoch and at the last.

The best epoch is the first of highest validation accuracy. The learning rate follows a cosine to
zero, stepped once an epoch. States are kept along the way, so that a killed run goes on from the
last and ends bit for bit where an uninterrupted one does.
"""

import math
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from samscope.data import Dataset
from samscope.observe.ratios import magnitude_ranks
from samscope.optim.mixes import REGIONS
from samscope.spec import Cell
from samscope.store import records
from samscope.store import state as states
from samscope.store.records import Outcome
from samscope.train.feed import Batches, Feed
from samscope.train.step import COLUMNS, Learner, make_learner

STATE_SHARE = 0.03
"""Most of the time that keeping states may take; shorter epochs than that allows share a state."""

MARGIN = 1.2
"""How many of the longest epoch so far, the first aside, the next may take."""

RANKED = 40
"""Epochs of a run whose magnitudes are ranked: every fifth of 200, as in the geometry-SAM study."""


def train(
    cell: Cell,
    seed: int,
    data: Dataset,
    folder: Path,
    report: Callable[[str], None],
    deadline: float = math.inf,
    snapshots: Collection[int] = (),
) -> Outcome | None:
    """Train one run, going on from the state in ``folder`` if there is one.

    Args:
        cell: the setting.
        seed: of the run.
        data: the cell's data set, on the device to train on.
        folder: of the run, where states are kept.
        report: called with one line about each state that is used or passed over.
        deadline: by ``time.perf_counter``. An epoch that would probably end later is not begun: the
            run's state is kept and None returned.
        snapshots: epochs, before the last, after which the weights go to a file of their own, see
            `samscope.store.records.weights_at`.
    """
    clock = time.perf_counter
    begin = saved = clock()
    feed = Feed(cell, seed, data)
    learner = make_learner(cell, seed, data)
    best = learner.snapshot()
    learner.observer.begin(cell.epochs, feed.steps)
    history: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    started, seconds, cost, spans = _now(), 0.0, 0.0, []
    kept = states.load(folder, cell.digest(seed), report)
    if kept is not None:
        history, ratios = kept.history, kept.ratios
        started, seconds = kept.started, kept.seconds
        best = _resume(learner, kept.tensors, len(history) * feed.steps)
        report(f"{folder}: goes on after epoch {len(history)} of {cell.epochs}")
    for name, epoch in records.snapshots(folder).items():
        if epoch not in snapshots or epoch > len(history):
            (folder / name).unlink()  # of another training
    while len(history) < cell.epochs and not _diverged(learner, history):
        now = clock()
        # The first epoch also compiles and records, which says little of the next.
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
        history.append(_epoch(cell, learner, feed, len(history)))
        if learner.ascends:
            ratios += learner.observer.end_epoch(seed, len(history), feed.steps)
        if best_epoch(history) == len(history):
            best = learner.snapshot()
        if len(history) in snapshots and len(history) < cell.epochs:
            records.write(folder / records.weights_at(len(history)), _weights(learner))
        spans.append(clock() - now)
    weights, persistence = _weights(learner), learner.observer.persistence.rows(seed)
    metrics = _metrics(learner, feed, history, best)
    spent = seconds + clock() - begin
    return Outcome(metrics, history, ratios, persistence, weights, spent, started)


def learning_rate(cell: Cell, epoch: int) -> float:
    """Of an epoch (from 0): ``lr / 2 (1 + cos(pi epoch / epochs))``, torch's CosineAnnealingLR."""
    return cell.lr / 2 * (1 + math.cos(math.pi * epoch / cell.epochs))


def evaluate(
    model: nn.Module, batches: Batches, context: AbstractContextManager | None = None
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in percent, in evaluation mode; NaN without images.

    Args:
        model: left in evaluation mode.
        batches: images and their classes.
        context: of the forward passes, for another precision than the model's.
    """
    model.eval()
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    count = 0
    with torch.inference_mode(), context or nullcontext():
        for images, labels in batches:
            logits = model(images)
            losses.append(F.cross_entropy(logits.float(), labels, reduction="sum"))
            correct.append((logits.argmax(1) == labels).sum())
            count += len(labels)
    if not count:
        return math.nan, math.nan
    loss = torch.stack(losses).double().sum().item() / count
    return loss, 100.0 * torch.stack(correct).sum().item() / count


def best_epoch(history: list[dict[str, Any]]) -> int:
    """The first epoch (from 1) of highest validation accuracy; the last without validation."""
    accuracies = [row["val_acc_percent"] for row in history]
    if any(math.isnan(accuracy) for accuracy in accuracies):
        return len(history)
    return accuracies.index(max(accuracies)) + 1


def _epoch(cell: Cell, learner: Learner, feed: Feed, epoch: int) -> dict[str, Any]:
    """Train for an epoch (from 0), validate, and return the history's row."""
    lr = learning_rate(cell, epoch)
    learner.set_learning_rate(lr)
    learner.model.train()
    steps, images_seen, ranks = [], 0, {}
    ranked = learner.ascends and (epoch + 1) % max(1, cell.epochs // RANKED) == 0
    last_whole = max(1, len(feed.labels) // cell.batch_size)
    for images, labels in feed.training(epoch):
        # A recorded step overwrites its result.
        steps.append(learner.step(images, labels).clone())
        images_seen += len(labels)
        if ranked and len(steps) == last_whole:
            ranks = magnitude_ranks(learner.observer.g, learner.observer.h)
    val_loss, val_accuracy = evaluate(learner.model, feed.validation(epoch), learner.autocast())
    return {
        "seed": feed.seed,
        "epoch": epoch + 1,
        "lr": lr,
        **_means(torch.stack(steps), images_seen, learner.ascends),
        "val_loss": val_loss,
        "val_acc_percent": val_accuracy,
        **ranks,
    }


def _means(steps: Tensor, images: int, ascends: bool) -> dict[str, float]:
    """An epoch's steps, [steps, COLUMNS], by the names of the history's columns."""
    sums = dict(zip(COLUMNS, steps.sum(0).tolist(), strict=True))
    means = {
        "train_loss": sums["train_loss"] / len(steps),
        "train_acc_percent": 100.0 * sums["correct"] / images,
        "grad_norm": sums["grad_norm"] / len(steps),
    }
    if ascends:
        means["perturbed_grad_norm"] = sums["perturbed_grad_norm"] / len(steps)
        parameters = sum(sums[name] for name in REGIONS)
        means |= {name: 100.0 * sums[name] / parameters for name in REGIONS}
    return means


def _diverged(learner: Learner, history: list[dict[str, Any]]) -> bool:
    """Whether training is beyond recovery: the loss or a parameter is not finite."""
    finite = not history or math.isfinite(history[-1]["train_loss"])
    return not (finite and bool(torch.isfinite(learner.w).all()))


def _metrics(
    learner: Learner, feed: Feed, history: list[dict[str, Any]], best: dict[str, Tensor]
) -> dict[str, Any]:
    """The run's numbers at its best epoch and at its last; leaves the model at the best."""
    chosen = best_epoch(history)
    diverged = _diverged(learner, history)
    tested = {"last": evaluate(learner.model, feed.test(), learner.autocast())}
    tested["best_val"] = tested["last"]
    if chosen < len(history):
        learner.restore(best)
        tested["best_val"] = evaluate(learner.model, feed.test(), learner.autocast())
    rows = {"best_val": history[chosen - 1], "last": history[-1]}
    columns = ("train_loss", "train_acc_percent", "val_loss", "val_acc_percent")
    return {
        "test_loss": {at: loss for at, (loss, _) in tested.items()},
        "test_acc_percent": {at: accuracy for at, (_, accuracy) in tested.items()},
        **{column: {at: row[column] for at, row in rows.items()} for column in columns},
        "best_epoch": chosen,
        "epochs": len(history),
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
    observed = {f"observed.{k}": v for k, v in observed.items()}
    return {**tensors, "momentum": learner.momentum, **observed}


def _resume(learner: Learner, tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Put the learner where `_tensors` found it, after ``step``; returns the best snapshot."""
    part = lambda at: {k: tensors[f"{at}.{k}"].to(learner.device) for k in ("weights", "buffers")}  # noqa: E731
    learner.restore(part("last"))
    learner.momentum.copy_(tensors["momentum"])
    if learner.ascends:
        start = "observed."
        observed = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        learner.observer.restore(observed, step)
    return part("best")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
