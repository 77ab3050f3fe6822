"""One update: the two passes of a mini-batch, over parameters that live in one vector."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samscope.optim import REGIONS, SAM, batchnorm_frozen, named_mix
from samscope.optim.perturbation import global_norm
from samscope.spec import Cell


@dataclass(frozen=True, eq=False)
class Learner:
    """A model and the optimizer that moves it.

    Attributes:
        model: its parameters are views into ``flat``, their gradients into ``flat.grad``, so that
            norms, region masks and the update are a few operations whatever the number of layers.
        flat: all parameters, in the order of ``model.parameters()``.
        optimizer: SAM over ``[flat]``, or SGD itself where the mix needs no ascent.
        sgd: the SGD that takes the step, which holds learning rate and momentum.
        second_pass: context of the second pass, in which running statistics stay.
    """

    model: nn.Module
    flat: nn.Parameter
    optimizer: torch.optim.Optimizer
    sgd: torch.optim.SGD
    second_pass: batchnorm_frozen


@dataclass(frozen=True, eq=False)
class Tally:
    """What an epoch's updates leave, one entry a step: tensors on the device, read once.

    Attributes:
        losses: of the first pass.
        correct: right classifications of the first pass, ``images`` of how many.
        norms: of the gradient, ``perturbed_norms`` of the gradient at w + e.
        counts: of the parameters by region, int64 [7] each.
    """

    losses: list[Tensor] = field(default_factory=list)
    correct: list[Tensor] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    perturbed_norms: list[Tensor] = field(default_factory=list)
    counts: list[Tensor] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """Means over the steps, by the names of the history's columns; shares in percent."""
        mean = lambda values: torch.stack(values).double().mean().item()  # noqa: E731
        means = {
            "train_loss": mean(self.losses),
            "train_acc_percent": 100.0 * torch.stack(self.correct).sum().item() / sum(self.images),
            "grad_norm": mean(self.norms),
        }
        if self.counts:
            means["perturbed_grad_norm"] = mean(self.perturbed_norms)
            counts = torch.stack(self.counts).sum(0).tolist()
            means |= {
                name: 100.0 * count / sum(counts)
                for name, count in zip(REGIONS, counts, strict=True)
            }
        return means


def make_learner(cell: Cell, model: nn.Module) -> Learner:
    """The model, flattened in place, with the optimizer of a cell."""
    flat = flatten(model)
    mix = named_mix(cell.variant, cell.condition)
    settings = {"lr": cell.lr, "momentum": cell.momentum, "weight_decay": cell.weight_decay}
    if not mix.needs_ascent:
        optimizer = sgd = torch.optim.SGD([flat], **settings)
    else:
        optimizer = SAM([flat], torch.optim.SGD, rho=cell.rho, mix=mix, **settings)
        sgd = optimizer.base_optimizer
    return Learner(model, flat, optimizer, sgd, batchnorm_frozen(model))


def flatten(model: nn.Module) -> nn.Parameter:
    """Move the parameters of a model into one vector, and their gradients into another.

    The model's parameters stay where they are used and become views. Autograd then adds into
    ``flat.grad``, which is never None and has to be zeroed before each pass.
    """
    parameters = list(model.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [p.numel() for p in parameters]
    views = zip(flat.data.split(sizes), flat.grad.split(sizes), strict=True)
    for parameter, (values, gradient) in zip(parameters, views, strict=True):
        parameter.data = values.view_as(parameter)
        parameter.grad = gradient.view_as(parameter)
    return flat


def update(learner: Learner, images: Tensor, labels: Tensor, tally: Tally) -> None:
    """Move the model by one step of its optimizer on one mini-batch, and take the tally.

    The first pass updates the running statistics of batch normalisation; the second, at w + e on
    the same images, does not. Nothing here waits for the device.
    """
    optimizer, gradient = learner.optimizer, learner.flat.grad
    gradient.zero_()
    logits = learner.model(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    tally.losses.append(loss.detach())
    tally.correct.append((logits.argmax(1) == labels).sum())
    tally.images.append(len(labels))
    if optimizer is learner.sgd:
        tally.norms.append(global_norm([gradient]))
        optimizer.step()
        return
    optimizer.first_step()
    gradient.zero_()
    with learner.second_pass:
        F.cross_entropy(learner.model(images), labels).backward()
    optimizer.second_step()
    norm, perturbed_norm = optimizer.norms
    tally.norms.append(norm)
    tally.perturbed_norms.append(perturbed_norm)
    tally.counts.append(optimizer.counts)


def snapshot(learner: Learner) -> dict[str, Tensor]:
    """A copy of the model: its ``weights`` and its ``buffers``, each as one vector.

    Buffers go together as float64, which holds float32 statistics and counters exactly.
    """
    buffers = [buffer.double().reshape(-1) for buffer in learner.model.buffers()]
    empty = learner.flat.new_empty(0, dtype=torch.float64)
    return {"weights": learner.flat.detach().clone(), "buffers": torch.cat([empty, *buffers])}


def restore(learner: Learner, copy: dict[str, Tensor]) -> None:
    """Put a copy made by `snapshot` back into the model."""
    learner.flat.data.copy_(copy["weights"])
    buffers = list(learner.model.buffers())
    values = copy["buffers"].split([buffer.numel() for buffer in buffers])
    for buffer, value in zip(buffers, values, strict=True):
        buffer.copy_(value.view_as(buffer))
