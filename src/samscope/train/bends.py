"""The bends of a path between two runs: trained at one t a mini-batch, by SGD with momentum.

    L(t) = loss(phi(t)) + decay/2 ||phi(t)||^2,   t ~ U(0, 1)

So timgaripov/dnn-mode-connectivity@f0bf253 has it (train.py, curves.py): each mini-batch at a t of
its own, the loss expected under the uniform t and not under the length of the path.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samscope import losses
from samscope.measure import paths
from samscope.optim.schedules import garipov
from samscope.seeding import derive, stream
from samscope.spec import Curve
from samscope.store import state as states
from samscope.train.feed import Feed
from samscope.train.flat import copy_all, views

STATE_SECONDS = 30.0
"""Between two states of a path that is trained for longer."""


def train(
    curve: Curve,
    seed: int,
    model: nn.Module,
    w: Tensor,
    points: Tensor,
    feed: Feed,
    folder: Path,
    report: Callable[[str], None],
    until: float = math.inf,
) -> list[dict[str, Any]] | None:
    """Train the bends of a path, in place, going on from a state in ``folder`` if there is one.

    Args:
        curve: the path, which is no line.
        seed: of the pair.
        model: whose parameters are views of ``w``, see `samscope.train.flat.flatten`.
        w: [P].
        points: of the path, [bends + 2, P]; its ends stay.
        feed: of batches that the first end has not seen: those of epochs after its last.
        folder: of the pair.
        report: called with one line about each state that is used or passed over.
        until: by ``time.perf_counter``. An epoch that would probably end later is not begun.

    Returns:
        The loss of each epoch, without decay; None where the time did not suffice.
    """
    path, n, digest = paths.PATHS[curve.path], curve.bends + 1, curve.digest(seed)
    motion = torch.zeros_like(points[1:-1])
    history: list[dict[str, Any]] = []
    last = curve.frame or curve.curve_epochs
    begin = saved = time.perf_counter()
    before, started, longest = 0.0, datetime.now(UTC).isoformat(timespec="seconds"), 0.0
    kept = states.load(folder, digest, report)
    if kept is not None:
        history, before, started = kept.history, kept.seconds, kept.started
        points[1:-1], motion = (kept.tensors[name].to(points) for name in ("bends", "motion"))
        report(f"{folder}: goes on after epoch {len(history)} of {last}")
    model.train()
    gradient = _gradient(curve, model, w)
    while len(history) < last:
        now, epoch = time.perf_counter(), len(history)
        late = now + longest > until
        if epoch and (late or now - saved > STATE_SECONDS):
            tensors = {"bends": points[1:-1].contiguous(), "motion": motion}
            held = states.State(tensors, history, [], before + now - begin, started)
            states.save(folder, digest, held)
            saved = now
        if late:
            return None
        lr = garipov(curve.curve_lr, epoch, curve.curve_epochs)
        drawn = torch.rand(feed.steps, generator=stream(seed, "curve", epoch)).double().tolist()
        found = []
        batches = feed.training(curve.cell.budget.epochs + epoch)
        for step, (t, (inputs, targets)) in enumerate(zip(drawn, batches, strict=True)):
            torch.manual_seed(derive(seed, "curve_layers", epoch * feed.steps + step))
            shares = path(t, n)
            loss, g = gradient(paths.at(points, shares), inputs, targets)
            paths.descend(points, motion, shares, g, lr, curve.cell.method.momentum)
            found.append(loss)
        history.append({"epoch": epoch + 1, "loss": torch.stack(found).double().mean().item()})
        longest = max(longest, time.perf_counter() - now)
    return history


def _gradient(
    curve: Curve, model: nn.Module, w: Tensor
) -> Callable[[Tensor, tuple[Tensor, ...], Tensor], tuple[Tensor, Tensor]]:
    """The loss of a batch at phi, and the gradient [P] of it with its decay."""
    parameters, g = list(model.parameters()), torch.empty_like(w)
    parts = views(g, parameters)
    criterion = losses.loss(curve.task.loss, curve.task.smoothing)

    def gradient(phi: Tensor, inputs: tuple[Tensor, ...], targets: Tensor) -> tuple[Tensor, Tensor]:
        w.copy_(phi)
        loss = criterion(model(*inputs), targets)
        copy_all(parts, torch.autograd.grad(loss, parameters))
        return loss.detach(), g.add_(w, alpha=curve.curve_decay)

    return gradient
