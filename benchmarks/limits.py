"""What no implementation can beat: the operations of a model, the rate of a large product."""

from dataclasses import replace

import torch
from benchmarks import problem
from benchmarks.problem import Problem
from benchmarks.timing import Contestant
from torch.utils.flop_counter import FlopCounterMode

_KINDS = {"bf16": torch.bfloat16, "float32": torch.float32}


def flops(task: Problem) -> float:
    """Floating-point operations of forward and backward pass of one image.

    Those of convolutions and matrix products, a multiplication with its addition as two.
    """
    model = problem.network(task)
    images, _ = problem.batch(replace(task, batch=2), torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(model(images).sum(), list(model.parameters()))
    return counter.get_total_flops() / len(images)


def product(side: int, precision: str, device: torch.device) -> Contestant:
    """A product of two square matrices, 2 side^3 operations."""
    a, b = (torch.randn(side, side, device=device).to(_KINDS[precision]) for _ in range(2))
    return Contestant(lambda: a @ b, problem.repeatable)
