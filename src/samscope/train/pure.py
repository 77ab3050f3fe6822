"""The passes of a step as pure functions of the weights: m-sharpness, and second order.

With L_B the loss of mini-batch B and e_B(w) its ascent, the gradient that a step goes along is, for

    m-sharpness     mean over the parts B_k of m samples of grad L_Bk at w + e_Bk(w)
    perturbations   the same at w + mean over k of e_Bk(w), one point for all parts
    second order    grad over w of L_B(w + e_B(w)) = h + (de/dw)^T h,   h = grad L_B at w + e

Foret et al. 2021 (arXiv:2010.01412): section 2 for the second order, 4.1 for m-sharpness. Small
parts go through the model together (torch.func.vmap), each with weights of its own. On one core
that is, for 60 samples with m = 1, 13 times (cnn3) and 5 times (resnet8_w8 at 32 x 32) as fast as
one by one; with m = 30 at 32 x 32 it would be 0.7 times as fast.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.func import grad as grad_of
from torch.nn.attention import SDPBackend, sdpa_kernel

from samscope.errors import InputError
from samscope.models.shaking import true_gradient
from samscope.optim.ascent import global_norm, perturbation
from samscope.optim.method import Ascent
from samscope.optim.settings import Number
from samscope.train.flat import views

Buffers = dict[str, Tensor]
Batch = tuple[Tensor, ...]
"""Inputs, one tensor for each argument of the model, and targets: the first axis is the sample."""

TOGETHER = 2**26
"""Most elements of the gradients of parts that go through the model together: 256 MB."""

ALONE = 2**15
"""Elements of the inputs of a part from which on it is work enough to go alone: 10 images of CIFAR.
Measured on a CPU; on a GPU nothing was."""


@dataclass(frozen=True)
class Passes:
    """What the passes of a step found.

    Attributes:
        g: gradient at w [P], of parts the mean: that of the whole batch, but for its statistics.
        h: what a step goes along [P], of parts the mean.
        first: loss and scores of the first pass; of parts the mean and the sums.
        buffers: of the model, after the first pass.
        cosine: of the gradients of first and of second order, where both are there.
    """

    g: Tensor
    h: Tensor
    first: list[Tensor]
    buffers: Buffers
    cosine: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Pure:
    """A model's loss, of weights that are given, and the ascent of its steps.

    Nothing is written to the model: a first pass returns its running statistics.

    Attributes:
        model: in training mode; its buffers are read.
        value: loss and scores of a batch, given what to call in place of the model.
        ascent: which.
        rho: its radius.
        penalty: weight decay that is part of the loss, see `samscope.optim.update.penalise`.
        seed: called with the place of a part before each of its passes; None: nothing is.
        matrices: see `samscope.optim.ascent.matrices`.
    """

    model: nn.Module
    value: Callable[[Sequence[Tensor], Tensor, Callable], list[Tensor]]
    ascent: Ascent
    rho: Number
    penalty: Number | None = None
    seed: Callable[[int], None] | None = None
    matrices: Tensor | None = None

    def passes(self, w: Tensor, batch: Batch, together: bool = True) -> Passes:
        """Those of a step from w [P], on a batch; ``together``: see `parts`."""
        if self.ascent.micro_batch:
            return self.parts(w, batch, together)
        return self.second_order(w, batch)

    def gradient(
        self, w: Tensor, buffers: Buffers, batch: Batch, part: int = 0
    ) -> tuple[Tensor, tuple[list[Tensor], Buffers]]:
        """The gradient at w [P]; loss and scores; and the buffers afterwards."""
        names, parameters = zip(*self.model.named_parameters(), strict=True)
        if self.seed is not None:
            self.seed(part)

        def loss_at(w: Tensor) -> tuple[Tensor, tuple[list[Tensor], Buffers]]:
            held = {name: buffer.clone() for name, buffer in buffers.items()}
            values = dict(zip(names, views(w, parameters), strict=True)) | held
            call = lambda *inputs: functional_call(self.model, values, inputs)  # noqa: E731
            # Fused attention has no second derivatives, and takes one batch at a time.
            with sdpa_kernel(SDPBackend.MATH):
                loss, *scores = self.value(batch[:-1], batch[-1], call)
            decay = 0.0 if self.penalty is None else self.penalty / 2 * w.square().sum()
            return loss + decay, ([loss.detach(), *scores], held)

        return grad_of(loss_at, has_aux=True)(w)

    def climbed(
        self, w: Tensor, buffers: Buffers, batch: Batch, part: int = 0
    ) -> tuple[Tensor, tuple[Tensor, list[Tensor], Buffers]]:
        """The point w + e(w); and g, loss and scores, and the buffers after the first pass."""
        with true_gradient():
            g, (first, after) = self.gradient(w, buffers, batch, part)
            on_the_way = lambda point: self.gradient(point, after, batch, part)[0]  # noqa: E731
            e = perturbation(w, g, self.rho, self.ascent, on_the_way, self.matrices)
        return w + e, (g, first, after)

    def second_order(self, w: Tensor, batch: Batch) -> Passes:
        """The passes of a step whose gradient goes through e, or may.

        Through every step of the ascent, and through T of an adaptive one. On top of the passes of
        first order it costs one backward pass through each pass of the ascent. A function of a
        model's own whose backward pass is marked ``once_differentiable`` counts as linear.

        Raises:
            InputError: for a model or a loss that can be differentiated once alone.
        """
        start = dict(self.model.named_buffers())
        try:
            up = partial(self.climbed, buffers=start, batch=batch)
            climb: Any = vjp(up, w, has_aux=True)
            point, back, (g, first, after) = climb
            h, _ = self.gradient(point, after, batch)
            with torch.no_grad():  # of what it finds, no more derivatives
                (whole,) = back(h)
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            if not any(word in why for word in ("derivative", "differentiate", "autograd")):
                raise
            allowed = f"dropped, for this model ({why})"
            raise InputError("cell", "second_order", self.ascent.second_order, allowed) from error
        cosine = (h @ whole) / (global_norm([h]) * global_norm([whole]))
        used = whole if self.ascent.second_order == "kept" else h
        return Passes(g, used, first, after, (cosine,))

    def parts(self, w: Tensor, batch: Batch, together: bool = True) -> Passes:
        """The passes of a step whose micro-batches climb on their own.

        Batch normalisation takes the statistics of each part in both passes, as each replica does
        in the official code (google-research/sam); running statistics are those of the replicas
        after their first passes, averaged: that code averages them before it evaluates, and as each
        is a running mean the average of the means is the running mean of the averages.

        Args:
            w: weights [P].
            batch: of a multiple of m samples.
            together: whether parts may go through the model together, see
                `samscope.models.Model`.
        """
        m, start = self.ascent.micro_batch, dict(self.model.named_buffers())
        count = len(batch[-1]) // m
        pieces = [tensor.unflatten(0, (count, m)) for tensor in batch]
        together = together and pieces[0][0].numel() < ALONE
        size = max(1, TOGETHER // len(w)) if together else 1

        def mean(function: Callable[..., list[Tensor]]) -> list[Tensor]:
            """Of what a function of the place of a part, its buffers and its samples finds."""
            sums: list[Tensor] = []
            for place in range(0, count, size):
                some = [piece[place : place + size] for piece in pieces]
                each = len(some[0])
                held = {k: buffer.expand(each, *buffer.shape) for k, buffer in start.items()}
                if each > 1:
                    stacks = vmap(partial(function, place), randomness="different")(held, *some)
                    found = [stack.sum(0) for stack in stacks]
                else:
                    found = function(place, start, *(piece[0] for piece in some))
                sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
            return [total / count for total in sums]

        def up(place: int, held: Buffers, *some: Tensor) -> list[Tensor]:
            point, (g, first, after) = self.climbed(w, held, some, place)
            return [g, point - w, *first, *(after[name] - held[name] for name in start)]

        def down(point: Tensor, place: int, held: Buffers, *some: Tensor) -> list[Tensor]:
            return [self.gradient(point, held, some, place)[0]]

        def both(place: int, held: Buffers, *some: Tensor) -> list[Tensor]:
            g, e, *more = up(place, held, *some)
            return [g, *down(w + e, place, held, *some), *more]

        if self.ascent.micro_average == "gradients":
            g, h, *more = mean(both)
        else:
            g, e, *more = mean(up)
            (h,) = mean(partial(down, w + e))
        scores = len(more) - len(start) - 1
        first = [more[0], *(score * count for score in more[1 : 1 + scores])]
        # Not the mean of what they became: that of equal numbers is another by a rounding.
        steps = zip(start.items(), more[1 + scores :], strict=True)
        return Passes(g, h, first, {name: b + step.to(b.dtype) for (name, b), step in steps})
