"""A step recorded as a CUDA graph."""

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samscope.train.flat import copy_all

Recorded = tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]
"""A graph, the batch that it reads, inputs and targets, and what it leaves."""


def record(
    step: Callable[[tuple[Tensor, ...], Tensor], Tensor],
    inputs: tuple[Tensor, ...],
    targets: Tensor,
    state: Sequence[Tensor],
) -> Recorded:
    """A graph of the step, with its batch and its result; the state that it moves stays as is."""
    # A learner that is gone lives in a cycle, and its graphs must not be freed while one is
    # recorded.
    gc.collect()
    static = [tensor.clone() for tensor in (*inputs, targets)]
    inputs, targets = tuple(static[:-1]), static[-1]
    before = [tensor.clone() for tensor in state]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.random.fork_rng([targets.device]), torch.cuda.stream(aside):
        # Compiles, chooses algorithms and allocates workspaces: none of it can be recorded.
        for _ in range(3):
            step(inputs, targets)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        row = step(inputs, targets)
    copy_all(state, before)
    return graph, static, row
