"""The loss around trained weights: on a plane through them, or on a line between two solutions.

    random_plane(model, seed)            filter-normalised random directions
    Plane(weights(model), vectors)       the caller's directions, such as eigenvectors
    Segment(weights(a), weights(b))      from one solution to another
    trajectory_plane(model, points)      where the weights of a training move most

Directions and trajectories are those of H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein,
"Visualizing the Loss Landscape of Neural Nets", arXiv 1712.09913. Filter normalisation measures
steps by the norms of the model they start from: surfaces of two models compare in those units, not
in distances between weights.

Grid points go one at a time. Several at once by `torch.func.vmap` bring little where it was
measured (cnn3, 500 digits, one thread: 380 points a second one by one, 290 to 390 in groups of 2
to 32), and keep a loss from looking at the model.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from samscope.errors import InputError
from samscope.measure.inputs import Inputs, called, cut, sha256, sizes, tensors
from samscope.measure.objective import BATCH, BatchNorm, Loss, MeanLoss
from samscope.measure.surface import Plane, Segment, Surface, check_vectors, fill
from samscope.seeding import stream


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A training in the plane of its two first principal components.

    Attributes:
        plane: through the last point, by orthonormal directions: coordinates are distances.
        explained: share of the points' variance along each direction, float64 [2].
        coordinates: of the points' projections on the plane, float64 [n, 2]; the last is (0, 0).
        distances: of the points from the plane, float64 [n]. Where they are not small, the loss
            that the plane shows is not the loss that the training saw.
    """

    plane: Plane
    explained: Tensor
    coordinates: Tensor
    distances: Tensor


def weights(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> Tensor:
    """The parameters of a model, or of a state dict of it, as one vector [P] on its device.

    Raises:
        InputError: for a state dict that lacks a parameter or holds it in another shape.
    """
    named: dict[str, Tensor] = dict(model.named_parameters())
    held = named if state is None else state
    for name, parameter in named.items():
        shape = tuple(held[name].shape) if name in held else "missing"
        if shape != parameter.shape:
            raise InputError("state dict", name, shape, f"a tensor {tuple(parameter.shape)}")
    vectors = (held[name].detach().reshape(-1).to(p) for name, p in named.items())
    return torch.cat(list(vectors))


def random_plane(model: nn.Module, seed: int) -> Plane:
    """The plane through a model's weights along two filter-normalised Gaussian directions.

    Each filter of a direction (its slice along the first dimension) has the norm of the model's
    filter. Parameters of one dimension, that is biases and normalisation, stay where they are:
    ``ignore='biasbn'`` in the authors' code. Models of one shape get the same draws.

    Args:
        model: whose weights are the origin.
        seed: of the directions, alone.

    Raises:
        InputError: when no parameter has two dimensions or more.
    """
    if all(p.ndim < 2 for p in model.parameters()):
        raise InputError(type(model).__name__, "parameters", "no filters", "2 dimensions or more")
    directions = []
    for number in (1, 2):
        random = stream(seed, "landscape", number)
        pieces = [_filter_normalised(p.detach(), random) for p in model.parameters()]
        directions.append(torch.cat(pieces))
    return Plane(weights(model), torch.stack(directions))


def trajectory_plane(
    model: nn.Module, points: Sequence[Tensor | Mapping[str, Tensor]]
) -> Trajectory:
    """The plane through the last weights of a training along its two principal components.

    They are those of the points about their mean, as in the authors' code. A direction points to
    the side where the training began. Three points are in the plane exactly.

    Args:
        model: on the device to work on, which holds the points twice in float64.
        points: at least three, in the order of the training: vectors [P] or state dicts.

    Raises:
        InputError: for fewer than three points, or points that are all the same.
    """
    if len(points) < 3:
        raise InputError("trajectory", "points", len(points), "at least 3")
    flat = [p if isinstance(p, Tensor) else weights(model, p) for p in points]
    check_vectors("trajectory", *flat)
    origin = flat[-1].to(next(model.parameters()).device)
    path = torch.stack([p.to(origin.device).double() for p in flat])
    # On the CPU: a GPU's solver takes no matrix so wide.
    about = (path - path.mean(0)).cpu()
    _, sizes, components = (
        part.to(path.device) for part in torch.linalg.svd(about, full_matrices=False)
    )
    if not sizes[0] > 0:
        raise InputError("trajectory", "points", "all the same", "points that differ")
    offsets, directions = path - path[-1], components[:2]
    directions = directions * torch.where(directions @ offsets[0] < 0, -1.0, 1.0)[:, None]
    coordinates = offsets @ directions.T
    distances = (offsets - coordinates @ directions).norm(dim=1)
    explained = sizes[:2].square() / sizes.square().sum()
    return Trajectory(Plane(origin, directions), explained, coordinates, distances)


def measure_surface(
    model: nn.Module,
    loss: Loss,
    x: Inputs,
    y: Tensor,
    plane: Plane | Segment,
    a: Sequence[float],
    b: Sequence[float],
    batchnorm: BatchNorm,
    path: str | Path,
    about: Mapping[str, Any],
    report: Callable[[str], None] = print,
) -> Surface:
    """Loss and accuracy of a model over a grid of weights, in eval mode, kept in ``path``.

    The model is left as it was, bit for bit. The loss may look at its parameters. A job that was
    killed goes on at the first grid row that is missing, and ends with the same bytes.

    Args:
        model: on the device of ``x``.
        loss: mean over the batch.
        x: inputs, [N, ...] each.
        y: targets, [N, ...]; accuracy is of int [N] beside outputs [N, classes].
        plane: where the weights are.
        a: first coordinates, ascending.
        b: second coordinates, ascending; ``[0.0]`` for a line.
        batchnorm: ``eval``, as in the authors' code, or ``batch`` (of `BATCH` at most), as lines
            between solutions need (T. Garipov et al., arXiv 1802.10026).
        path: of the CSV file; the settings go beside it, see `samscope.measure.surface`.
        about: more settings for that file, such as the seed of a plane and the name of the loss. A
            file in which any differs is not gone on with.
        report: called with one line about each grid row.

    Raises:
        InputError: for arguments that do not match, or a loss that is not one number; of more than
            `BATCH` samples, one that is no mean over them.
    """
    a, b = [float(value) for value in a], [float(value) for value in b]
    check(model, x, y, plane, b)
    if batchnorm not in get_args(BatchNorm):
        raise InputError("landscape", "batchnorm", batchnorm, " or ".join(get_args(BatchNorm)))
    settings = {
        **{"a": a, "b": b, "batchnorm": batchnorm, "batch": BATCH, "images": len(y)},
        **digests(model, x, y, plane),
        "about": dict(about),
    }
    count = math.ceil(len(y) / BATCH)
    if count > 1 and any(p.requires_grad for p in model.parameters()):
        MeanLoss(model, loss, (x, y))  # refuses a loss that is no mean over samples
    # Of one size but for 1, since the statistics of a small last batch would be poor.
    parts = cut(x, lambda tensor: tensor.tensor_split(count))
    batches = list(zip(parts, y.tensor_split(count), strict=True))
    with _movable(model, batchnorm, tensors(x)[0].device) as move:

        def point(a: float, b: float) -> tuple[float, float]:
            move(plane.at(a, b))
            return _means(model, loss, batches)

        return fill(Path(path), settings, point, report)


@contextmanager
def _movable(
    model: nn.Module, batchnorm: str, device: torch.device
) -> Iterator[Callable[[Tensor], None]]:
    """A function that sets a model's weights; on leaving, also by an error, all is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    saved = [(p, p.detach().clone(), p.requires_grad, p.grad) for p in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    cuda = [device] if device.type == "cuda" else []
    generators = [torch.default_generator]
    generators += [torch.cuda.default_generators[device.index] for device in cuda]

    def move(vector: Tensor) -> None:
        pieces = vector.split([p.numel() for p, *_ in saved])
        for (parameter, *_), piece in zip(saved, pieces, strict=True):
            parameter.data.copy_(piece.view_as(parameter))
        # A loss that draws makes the same draws at every point, whichever came before.
        for generator in generators:
            generator.manual_seed(0)

    try:
        for parameter, *_ in saved:
            parameter.grad = None
        for module, _ in modes:
            module.training = batchnorm == "batch" and isinstance(module, _BatchNorm)
        with torch.random.fork_rng(cuda), torch.no_grad():
            yield move
    finally:
        for module, training in modes:
            module.training = training
        for parameter, values, requires_grad, gradient in saved:
            parameter.data.copy_(values)
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for module, name, buffer, values in buffers:
            buffer.data.copy_(values)
            module._buffers[name] = buffer


def _means(
    model: nn.Module, loss: Loss, batches: Sequence[tuple[Inputs, Tensor]]
) -> tuple[float, float]:
    """Mean loss over all inputs, and accuracy in percent; NaN where targets are not classes."""
    losses: list[Tensor] = []
    right: list[Tensor] = []
    count = 0
    for inputs, targets in batches:
        outputs = called(model, inputs)
        value = loss(outputs, targets)
        if value.numel() != 1:
            shape = tuple(value.shape)
            raise InputError("loss", "value", shape, "one number, the mean over the batch")
        losses.append(value.double().reshape(()) * len(targets))
        count += len(targets)
        classes = targets.ndim == 1 and not targets.is_floating_point()
        if classes and isinstance(outputs, Tensor) and outputs.ndim == 2:
            right.append((outputs.argmax(1) == targets).sum())
    accuracy = 100.0 * torch.stack(right).sum().item() / count if right else math.nan
    return torch.stack(losses).sum().item() / count, accuracy


def _filter_normalised(weight: Tensor, random: torch.Generator) -> Tensor:
    """A random direction of one parameter, flat and in float64, on its device."""
    if weight.ndim < 2:
        return torch.zeros(weight.numel(), dtype=torch.float64, device=weight.device)
    filters = weight.double().flatten(1)
    drawn = torch.randn(filters.shape, generator=random, dtype=torch.float64).to(weight.device)
    norms = filters.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
    return (drawn * norms).reshape(-1)


def check(
    model: nn.Module, x: Inputs, y: Tensor, plane: Plane | Segment, b: Sequence[float]
) -> None:
    """Refuse what does not match.

    Raises:
        InputError: naming the argument.
    """
    if not all(len(tensor) == len(y) > 0 for tensor in tensors(x)):
        found = f"({sizes(x)}, {len(y)})"
        raise InputError("landscape", "x, y", found, "as many targets as inputs")
    if list(b) != [0.0] and (isinstance(plane, Segment) or len(plane.directions) == 1):
        raise InputError("landscape", "b", b, "[0.0] on a line")
    size, length = sum(p.numel() for p in model.parameters()), len(next(iter(vars(plane).values())))
    if length != size:
        raise InputError("landscape", "plane", f"of {length} weights", f"{size}, as the model")


def digests(model: nn.Module, x: Inputs, y: Tensor, plane: Plane | Segment) -> dict[str, str]:
    """SHA-256 of the data, of the plane and of the model's buffers, for a surface's settings."""
    return {
        "data_sha256": sha256(*tensors(x), y),
        "plane_sha256": sha256(*vars(plane).values()),
        "buffers_sha256": sha256(*model.buffers()),
    }
