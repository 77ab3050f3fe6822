"""One update: the passes of a mini-batch, over parameters that live in one vector.

On a GPU a step is a CUDA graph: recorded once, replayed with one call, so that hundreds of small
kernels wait for no Python. Learning rate, rho, mix and the rest are tensors that the graph reads:
every run of a model by methods of one form, whatever their numbers, uses the same one.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from samscope import losses, models
from samscope.errors import InputError
from samscope.models.shaking import true_gradient
from samscope.observe.observer import Observer
from samscope.optim.ascent import ascend, global_norm, matrices
from samscope.optim.method import Method
from samscope.optim.rescale import norm_table
from samscope.optim.rules import RULES
from samscope.optim.settings import Settings, at_rate, refill, settings
from samscope.optim.update import descend, descend_block, descend_plain, new_slots, penalise
from samscope.seeding import allow_tf32, derive, stream
from samscope.spec import Cell
from samscope.tasks.samples import SCORES, Splits
from samscope.train import ire
from samscope.train.columns import columns
from samscope.train.compiled import compile_alike
from samscope.train.flat import copy_all, flatten, views
from samscope.train.pure import Pure
from samscope.train.recorded import Recorded, record

Inputs = tuple[Tensor, ...]
"""What a model is called with: one tensor [N, ...] for each of its arguments."""


class Learner:
    """A model and the step that moves it; it serves one run after the other.

    Args:
        model: moved to the device. Its parameters become views into ``w``.
        batch_size: samples of a whole batch, the one size whose passes are compiled.
        precision: name in `samscope.spec.PRECISIONS`.
        compiled: whether passes and update go through torch.compile.
        device: to train on.

    Raises:
        InputError: for tf32 on a CPU, which has none.

    Attributes:
        model: on a GPU its convolutions' weights are stored channels last, as the fastest kernels
            want them. Not on a CPU, though it would save an eighth of the quick profile's pass:
            there torch sums a channel that lies scattered in plain float32, and ResNet-18's batch
            statistics lose two digits.
        w: all parameters, float32, in the order of ``model.parameters()``.
        slots: what the run keeps from step to step, by name: its rule, see
            `samscope.optim.update.new_slots`, and where its steps are longer, `samscope.train.ire`.
        ascends: whether the run's steps have a second pass.
        observer: what is gathered of the gradients of such steps.
        columns: of what a step leaves, see `samscope.train.columns`.
    """

    def __init__(
        self,
        model: nn.Module,
        batch_size: int,
        precision: str,
        compiled: bool,
        device: torch.device,
    ) -> None:
        if precision == "tf32" and device.type != "cuda":
            raise InputError("cell", "precision", precision, "float32 or bf16 on a CPU")
        self.model = model.to(device)
        self.batch_size, self.precision, self.device = batch_size, precision, device
        self._parameters = list(self.model.parameters())
        self._buffers = list(self.model.buffers())
        self._running = [buffer.clone() for buffer in self._buffers]
        self.w = flatten(self._parameters)
        self._start = torch.zeros_like(self.w)
        self.observer = Observer(self.model, device, compile_alike if compiled else None)
        self._g, self._h = self.observer.g, self.observer.h
        self._g_views, self._h_views = (views(v, self._parameters) for v in (self._g, self._h))
        self._loss: Callable = compile_alike(self._eager_loss) if compiled else self._eager_loss
        self._whole = compile_alike(descend_block) if compiled else None
        self._norm_table = compile_alike(norm_table) if compiled else norm_table
        # Compiled and recorded code reads its settings where they are.
        self._as_tensors = compiled or device.type == "cuda"
        self._layers, self._drawn = 0, (0, 0)
        self._kept_slots: dict[str, dict[str, Tensor]] = {}
        self._kept_settings: dict[tuple, Settings] = {}
        self._graphs: dict[tuple, Recorded] = {}

    def begin(self, cell: Cell, state: dict[str, Tensor]) -> None:
        """Start a run of a cell from the weights and running statistics of a state dict."""
        allow_tf32(self.precision == "tf32")
        self.model.load_state_dict(state)
        self.observer.begin()
        task, method = cell.task, cell.method
        scores = task.kind.scores
        self._criterion = _criterion(task.loss, task.smoothing)
        self._scores = [SCORES[name] for name in scores]
        self.ascends, self._norms = method.mix.needs_ascent, method.mix.norms
        self.columns = columns(scores, method)
        self._together = models.MODELS[cell.model].together
        self._begin(method)
        self._frozen_norm = cell.pretraining.frozen_norm
        self._form = (method.form, task.loss, task.smoothing, scores, self._frozen_norm)

    def _begin(self, method: Method) -> None:
        """Take a method: its rule with slots of zeros, its ascent, and its numbers."""
        self._rule, self._ascent = RULES[method.optimizer], method.ascent
        self._ire = method.enhancement
        if method.optimizer not in self._kept_slots:
            self._kept_slots[method.optimizer] = new_slots(self._rule, self.w)
        own = self._kept_slots[method.optimizer]
        self.slots = own | ire.new_slots(self._ire.ire_kappa, self.w)
        for slot in self.slots.values():
            slot.zero_()
        self._settings = settings(method, self.w if self._as_tensors else None)
        if self._as_tensors:
            kept = self._kept_settings.setdefault(method.form, self._settings)
            refill(kept, self._settings)
            self._settings = kept

    @cached_property
    def _matrices(self) -> Tensor:
        """Which elements belong to parameters of two dimensions or more: bool [P]."""
        return matrices(self._parameters)

    @cached_property
    def _noise(self) -> Tensor:
        """Of a random direction [P]."""
        return torch.zeros_like(self.w)

    def train(self) -> None:
        """Put the model into training mode; frozen batch normalisation stays as in evaluation."""
        self.model.train()
        for layer in self.model.modules() if self._frozen_norm else ():
            if isinstance(layer, _BatchNorm):
                layer.eval()

    def set_learning_rate(self, lr: float) -> None:
        """Of the steps to come."""
        self._settings = at_rate(self._settings, lr)

    def draw(self, seed: int, step: int) -> None:
        """Take the random numbers of a step (from 0) from the seed: dropout, a random direction."""
        self._drawn = seed, step
        self._layers = derive(seed, "layers", step)
        self._seed_layers()
        if self._ascent.direction == "random":
            random = stream(seed, "direction", step)
            self._noise.copy_(torch.randn(len(self.w), generator=random))

    def _seed_layers(self, part: int = 0) -> None:
        """Let random layers begin with the step's first number, parts of a batch with others."""
        torch.default_generator.manual_seed(self._layers ^ part)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(self._layers ^ part)

    def step(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Move the model by one step on one mini-batch.

        The first pass updates the running statistics of batch normalisation; those at w + e, on the
        same samples, leave them. Nothing here waits for the device, but where the curvature is
        estimated for longer steps.

        Returns:
            The values of ``columns``, float64; overwritten by the next step.
        """
        if not self._ire.ire_kappa:
            return self._own_step(inputs, targets)
        if self._drawn[1] % self._ire.ire_every == 0:
            self._estimate(inputs)
        before = self.w.clone()
        row = self._own_step(inputs, targets)
        ire.lengthen(self.w, before, self.slots[ire.MASK], self._ire.ire_kappa)
        return row

    def _own_step(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """The step of the optimizer, recorded where it can be."""
        # A recorded step cannot begin its numbers anew between its passes.
        fresh = self._ascent.randomness == "fresh" and not self._ascent.pure
        recorded = self.device.type == "cuda" and fresh
        row = (self._replay if recorded else self._step)(inputs, targets)
        if self.ascends:
            self.observer.advance()
        return row

    def _estimate(self, inputs: Inputs) -> None:
        """Find where steps are longer; the step to come is as if this had not been."""
        copy_all(self._running, self._buffers)
        with true_gradient(), self.autocast():
            outputs = self.model(*inputs)
        outputs = outputs.float() if self.precision == "bf16" else outputs
        random = stream(self._drawn[0], "ire", self._drawn[1])
        found = ire.fisher_gradient(outputs, self._parameters, random)
        copy_all(self._buffers, self._running)
        # Magnitudes have the order of their squares, which may underflow.
        self.slots[ire.MASK].copy_(ire.smallest(found, self._ire.ire_share))
        self._seed_layers()

    def _replay(self, inputs: Inputs, targets: Tensor) -> Tensor:
        batch = [*inputs, targets]
        key = (self._form, *(tensor.shape for tensor in batch))
        if key not in self._graphs:
            observed = self.observer.accumulators()
            state = [self.w, *self.slots.values(), *self._buffers, *observed]
            self._graphs[key] = record(self._step, inputs, targets, state)
        graph, static, row = self._graphs[key]
        for tensor, value in zip(static, batch, strict=True):
            tensor.copy_(value)
        graph.replay()
        return row

    def autocast(self) -> torch.autocast:
        """The context of a forward pass in the run's precision."""
        low = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low, cache_enabled=False)

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the model: its ``weights`` and its ``buffers``, each as one vector.

        Buffers go together as float64, which holds float32 statistics and counters exactly.
        """
        buffers = [buffer.double().reshape(-1) for buffer in self._buffers]
        empty = self.w.new_empty(0, dtype=torch.float64)
        return {"weights": self.w.clone(), "buffers": torch.cat([empty, *buffers])}

    def restore(self, copy: dict[str, Tensor]) -> None:
        """Put a copy made by `snapshot` back into the model."""
        self.w.copy_(copy["weights"])
        values = copy["buffers"].split([buffer.numel() for buffer in self._buffers])
        for buffer, value in zip(self._buffers, values, strict=True):
            buffer.copy_(value.view_as(buffer))

    def _step(self, inputs: Inputs, targets: Tensor) -> Tensor:
        if not self.ascends:
            first = self._gradient(inputs, targets, self._g, self._g_views)
            norm = global_norm([self._g])
            descend_plain(self.w, self._g, self.slots, self._rule, self._settings)
            return torch.stack([*first, norm, *[torch.zeros_like(norm)] * 8]).double()
        passes = self._pure_passes if self._ascent.pure else self._passes
        first, norm, more = passes(inputs, targets)
        perturbed_norm = global_norm([self._h])
        table = self._settings.mix
        if self._norms and isinstance(table, Tensor):
            table.copy_(self._norm_table(self._g, self._h, self._norms))
        vectors = (self.w, self._start, self._g, self._h)
        counts = descend(*vectors, self.slots, self._rule, self._settings, self._whole)
        row = torch.stack([*first, norm, perturbed_norm]).double()
        self.observer.record()
        return torch.cat([row, counts.double(), *more])

    def _passes(self, inputs: Inputs, targets: Tensor) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Write g and h; returns the loss and the scores, ||g||, and what else is recorded."""
        with true_gradient():
            first = self._gradient(inputs, targets, self._g, self._g_views)

        def perturbed() -> Tensor:
            if self._ascent.randomness == "same":
                self._seed_layers()
            self._gradient(inputs, targets, self._h, self._h_views)
            return self._h

        copy_all(self._running, self._buffers)
        with true_gradient():
            norm = ascend(
                *(self.w, self._start, self._g, self._settings.rho, self._ascent, perturbed),
                matrices=self._matrices if self._ascent.adaptive else None,
                noise=self._noise if self._ascent.direction == "random" else None,
            )
        perturbed()
        copy_all(self._buffers, self._running)
        return first, norm, []

    def _pure_passes(
        self, inputs: Inputs, targets: Tensor
    ) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """`_passes` of an ascent of parts, or of second order."""
        found = Pure(
            model=self.model,
            value=self._eager_loss,
            ascent=self._ascent,
            rho=self._settings.rho,
            penalty=self._settings.penalty,
            seed=self._seed_layers if self._ascent.randomness == "same" else None,
            matrices=self._matrices if self._ascent.adaptive else None,
        ).passes(self.w, (*inputs, targets), self._together)
        values = (self.w, found.g, found.h, *found.buffers.values())
        copy_all([self._start, self._g, self._h, *self._buffers], values)
        return found.first, global_norm([self._g]), [c.double().view(1) for c in found.cosine]

    def _gradient(
        self, inputs: Inputs, targets: Tensor, into: Tensor, parts: list[Tensor]
    ) -> list[Tensor]:
        """Write the gradient into a vector, by its parts; returns the loss and the scores."""
        whole = len(targets) == self.batch_size
        loss, *scores = (self._loss if whole else self._eager_loss)(inputs, targets)
        copy_all(parts, torch.autograd.grad(loss, self._parameters))
        penalise(into, self.w, self._settings)
        return [loss.detach(), *scores]

    def _eager_loss(
        self, inputs: Sequence[Tensor], targets: Tensor, model: Callable | None = None
    ) -> list[Tensor]:
        with self.autocast():
            outputs = (model or self.model)(*inputs)
        outputs = outputs.float() if self.precision == "bf16" else outputs
        scores = [score(outputs.detach(), targets).float() for score in self._scores]
        return [self._criterion(outputs, targets), *scores]


def make_learner(
    cell: Cell, seed: int, splits: Splits, state: dict[str, Tensor] | None = None
) -> Learner:
    """A learner about to take the first step of a run.

    Args:
        cell: of the run.
        seed: of the run.
        splits: its samples.
        state: the weights and running statistics that it begins with; None: those of the seed.
    """
    numerics = (cell.numerics.precision, cell.numerics.compiled)
    learner = _learner(cell.model, splits.sizes, cell.budget.batch_size, *numerics, splits.device)
    if state is None:
        nudge = cell.numerics.nudge
        state = models.build(cell.model, *splits.sizes, seed=seed, nudge=nudge).state_dict()
    learner.begin(cell, state)
    return learner


@lru_cache(maxsize=1)
def _learner(model: str, sizes: tuple[int, ...], *settings: Any) -> Learner:
    """The learner of all runs alike: what was compiled and recorded for one serves the next."""
    return Learner(models.build(model, *sizes), *settings)


@cache
def _criterion(name: str, smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The same object each time: compiled code is made for one."""
    return losses.loss(name, smoothing)
