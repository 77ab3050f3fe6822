"""One update: the two passes of a mini-batch, over parameters that live in one vector.

On a GPU a step is a CUDA graph: recorded once, replayed with one call, so that hundreds of small
kernels wait for no Python. Learning rate, rho, mix and the rest are tensors that the graph reads:
every run of a model, whatever its variant, uses the same one.
"""

import gc
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samscope import models
from samscope.data import Dataset
from samscope.errors import InputError
from samscope.observe.observer import Observer
from samscope.optim.ascent import global_norm
from samscope.optim.mixes import REGIONS, named_mix
from samscope.optim.rescale import norm_table
from samscope.optim.update import Settings, ascend, descend, descend_block, descend_plain
from samscope.seeding import allow_tf32
from samscope.spec import Cell

COLUMNS = ("train_loss", "correct", "grad_norm", "perturbed_grad_norm", *REGIONS)
"""What a step leaves: loss and right classifications of its first pass, the norms of g and h, the
parameters in each region; the last eight without an ascent are 0."""


class Learner:
    """A model and the step that moves it; it serves one run after the other.

    Args:
        model: moved to the device. Its parameters become views into ``w``.
        batch_size: images of a whole batch, the one size whose passes are compiled.
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
        momentum: of the SGD, in the layout of ``w``.
        ascends: whether the run's steps have a second pass.
        observer: what is gathered of the gradients of such steps.
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
        self.w = _flatten(self._parameters)
        self._start, self.momentum = torch.zeros_like(self.w), torch.zeros_like(self.w)
        self.observer = Observer(self.model, device, _compiled if compiled else None)
        self._g, self._h = self.observer.g, self.observer.h
        self._g_views, self._h_views = (_views(v, self._parameters) for v in (self._g, self._h))
        self._loss: Callable = _compiled(self._eager_loss) if compiled else self._eager_loss
        self._descend = _compiled(descend_block) if compiled else descend
        self._norm_table = _compiled(norm_table) if compiled else norm_table
        # Compiled and recorded code reads its settings where they are.
        self._as_tensors = compiled or device.type == "cuda"
        self._graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]] = {}
        self._settings: Settings | None = None
        self.ascends, self._norms = False, ""

    def begin(self, cell: Cell, state: dict[str, Tensor]) -> None:
        """Start a run of a cell from the weights and running statistics of a state dict."""
        allow_tf32(self.precision == "tf32")
        self.model.load_state_dict(state)
        self.momentum.zero_()
        self.observer.begin()
        mix = named_mix(cell.variant, cell.condition)
        self.ascends, self._norms = mix.needs_ascent, mix.norms
        numbers = (cell.lr, cell.rho or 0.0, cell.momentum, cell.weight_decay)
        if not self._as_tensors:
            self._settings = Settings(*numbers, torch.tensor(mix.table) if mix.norms else mix)
            return
        values = [torch.tensor(value, dtype=self.w.dtype) for value in (*numbers, mix.table)]
        if self._settings is None:
            self._settings = Settings(*(value.to(self.device) for value in values))
        else:
            for old, new in zip(vars(self._settings).values(), values, strict=True):
                old.copy_(new)

    def set_learning_rate(self, lr: float) -> None:
        """Of the steps to come."""
        if self._as_tensors:
            self._settings.lr.fill_(lr)
        else:
            self._settings = Settings(**{**vars(self._settings), "lr": lr})

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Move the model by one step on one mini-batch.

        The first pass updates the running statistics of batch normalisation; the second, at w + e
        on the same images, leaves them. Nothing here waits for the device.

        Args:
            images: float32 [N, C, H, W].
            labels: int64 [N].

        Returns:
            The values of `COLUMNS`, float64; overwritten by the next step.
        """
        row = (self._replay if self.device.type == "cuda" else self._step)(images, labels)
        if self.ascends:
            self.observer.advance()
        return row

    def _replay(self, images: Tensor, labels: Tensor) -> Tensor:
        key = (len(labels), self.ascends, self._norms)
        if key not in self._graphs:
            self._graphs[key] = self._record(images, labels)
        graph, static_images, static_labels, row = self._graphs[key]
        static_images.copy_(images)
        static_labels.copy_(labels)
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

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        loss, correct = self._gradient(images, labels, self._g_views)
        if not self.ascends:
            norm = global_norm([self._g])
            descend_plain(self.w, self._g, self.momentum, self._settings)
            return torch.stack([loss, correct, norm, *[torch.zeros_like(norm)] * 8]).double()
        norm = ascend(self.w, self._start, self._g, self._settings)
        _copy(self._running, self._buffers)
        self._gradient(images, labels, self._h_views)
        _copy(self._buffers, self._running)
        perturbed_norm = global_norm([self._h])
        if self._norms:
            self._settings.mix.copy_(self._norm_table(self._g, self._h, self._norms))
        counts = self._descend(self.w, self._start, self._g, self._h, self.momentum, self._settings)
        row = torch.stack([loss, correct, norm, perturbed_norm]).double()
        self.observer.record()
        return torch.cat([row, counts.double()])

    def _gradient(self, images: Tensor, labels: Tensor, into: list[Tensor]) -> tuple[Tensor, ...]:
        """Write the gradient; returns the loss and the number of right classifications."""
        whole = len(labels) == self.batch_size
        loss, correct = (self._loss if whole else self._eager_loss)(images, labels)
        _copy(into, torch.autograd.grad(loss, self._parameters))
        return loss.detach(), correct

    def _eager_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self.autocast():
            logits = self.model(images)
        logits = logits.float() if self.precision == "bf16" else logits
        return F.cross_entropy(logits, labels), (logits.argmax(1) == labels).sum().float()

    def _record(
        self, images: Tensor, labels: Tensor
    ) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]:
        """A graph of the step, with its inputs and its result; what a step adds to stays as is."""
        # A learner that is gone lives in a cycle, and its graphs must not be freed while one is
        # recorded.
        gc.collect()
        images, labels = images.clone(), labels.clone()
        state = [self.w, self.momentum, *self._buffers, *self.observer.accumulators()]
        before = [tensor.clone() for tensor in state]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            # Compiles, chooses algorithms and allocates workspaces: none of it can be recorded.
            for _ in range(3):
                self._step(images, labels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            row = self._step(images, labels)
        _copy(state, before)
        return graph, images, labels, row


def make_learner(cell: Cell, seed: int, data: Dataset) -> Learner:
    """A learner about to take the first step of a run."""
    shape = (data.num_classes, data.channels)
    settings = (cell.batch_size, cell.precision, cell.compiled, data.train_x.device)
    learner = _learner(cell.model, shape, settings)
    learner.begin(cell, models.build(cell.model, *shape, seed).state_dict())
    return learner


@lru_cache(maxsize=1)
def _learner(model: str, shape: tuple[int, int], settings: tuple) -> Learner:
    """The learner of all runs alike: what was compiled and recorded for one serves the next."""
    return Learner(models.build(model, *shape), *settings)


def _compiled(function: Callable) -> Callable:
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException

    # A code serves every model, batch size and precision of a process; torch's limit is 8.
    config.recompile_limit = 64
    # Deterministic: nothing is chosen by timing it, so that another process compiles the same.
    options = {"deterministic": True}
    compiled = torch.compile(function, fullgraph=True, dynamic=False, options=options)

    def call(*args: object) -> object:
        try:
            return compiled(*args)
        except TorchDynamoException as error:
            why = f"True, but {str(error).splitlines()[0]}"
            raise InputError("cell", "compiled", why, "false where torch cannot compile") from error

    return call


def _flatten(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters into one vector, in place: they become views of what is returned."""
    vector = parameters[0].detach().new_empty(sum(p.numel() for p in parameters))
    for parameter, view in zip(parameters, _views(vector, parameters), strict=True):
        view.copy_(parameter.detach())
        parameter.data = view
    return vector


def _views(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The vector cut into the shapes of parameters, on a GPU with the channels last."""
    views = []
    for part, p in zip(vector.split([p.numel() for p in parameters]), parameters, strict=True):
        if p.ndim == 4 and vector.is_cuda:
            out, into, height, width = p.shape
            views.append(part.view(out, height, width, into).permute(0, 3, 1, 2))
        else:
            views.append(part.view_as(p))
    return views


def _copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy tensors in few kernels, whatever their number: one call for each dtype."""
    for dtype in {tensor.dtype for tensor in into}:
        pairs = [pair for pair in zip(into, values, strict=True) if pair[0].dtype == dtype]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
