"""Learning rates by name. Plain numbers, no torch.

A schedule is a function ``(lr, t, total, warmup)`` of the peak ``lr``, the place ``t`` in the run
(from 0) and its length ``total``, both in the unit of its budget: epochs, within which the rate
stays, or steps.
"""

import math
from collections.abc import Callable
from functools import wraps

from samscope.digests import Registry

Schedule = Callable[..., float]


def _warming(shape: Callable[[float, float, int], float]) -> Schedule:
    """A schedule of this shape, times t / warmup for the first ``warmup`` units.

    As in openai/grok, training.py, whose 10 steps of warm-up begin at 0.
    """

    @wraps(shape)
    def schedule(lr: float, t: float, total: int, warmup: int = 0) -> float:
        rate = shape(lr, t, total)
        return rate * (t / warmup) if t < warmup else rate

    return schedule


@_warming
def constant(lr: float, t: float, total: int) -> float:
    """The peak, throughout."""
    return lr


@_warming
def cosine(lr: float, t: float, total: int) -> float:
    """``lr / 2 (1 + cos(pi t / total))``: torch's CosineAnnealingLR, to 0."""
    return lr / 2 * (1 + math.cos(math.pi * t / total))


@_warming
def step(lr: float, t: float, total: int) -> float:
    """A fifth at 30, 60 and 80 % of the run, each: davda54/sam, example/utility/step_lr.py.

    There the rate of an epoch is set after its first step; here, before.

    >>> [round(step(0.1, t, 10), 6) for t in (0, 3, 6, 8)]
    [0.1, 0.02, 0.004, 0.0008]
    """
    return lr * 0.2 ** sum(10 * t >= tenths * total for tenths in (3, 6, 8))


@_warming
def garipov(lr: float, t: float, total: int) -> float:
    """The peak to 50 % of the run, in a line to 1 % of it at 90 %, then that.

    timgaripov/dnn-mode-connectivity, train.py, which counts epochs from 1.

    >>> [round(garipov(1.0, t, 10), 4) for t in (0, 4, 6, 8, 9)]
    [1.0, 1.0, 0.505, 0.01, 0.01]
    """
    done = (t + 1) / total
    if done <= 0.5:
        return lr
    return (1.0 - (done - 0.5) / 0.4 * 0.99 if done <= 0.9 else 0.01) * lr


@_warming
def li(lr: float, t: float, total: int) -> float:
    """A tenth at 1/2, 3/4 and 11/12 of the run, each: epochs 150, 225 and 275 of 300.

    tomgoldstein/loss-landscape, cifar10/main.py.

    >>> [round(li(0.1, t, 300), 6) for t in (0, 149, 150, 225, 275)]
    [0.1, 0.1, 0.01, 0.001, 0.0001]
    """
    return lr * 0.1 ** sum(12 * t >= twelfths * total for twelfths in (6, 9, 11))


SCHEDULES: Registry[str, Schedule] = {
    "cosine": cosine,
    "step": step,
    "constant": constant,
    "garipov": garipov,
    "li": li,
}
