"""Paths between two solutions: points of weights that are mixed along t in [0, 1].

    phi(t) = sum_i c_i(t) w_i,   i = 0 .. n, w_0 and w_n the two ends, the n - 1 others its bends
    bezier:  c_i(t) = binom(n, i) (1 - t)^(n - i) t^i
    chain:   c_i(t) = max(0, 1 - |n t - i|)

T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov, A. G. Wilson, "Loss Surfaces, Mode Connectivity,
and Fast Ensembling of DNNs", arXiv 1802.10026. Both are the straight line where there is no bend.
A loss has the gradient c_i(t) dL/dphi with respect to w_i: one t takes one pass.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from samscope.digests import Registry
from samscope.errors import InputError


def bezier(t: float, n: int) -> list[float]:
    """Bernstein's polynomials of degree n at t.

    >>> bezier(0.5, 2)
    [0.25, 0.5, 0.25]
    """
    return [math.comb(n, i) * (1 - t) ** (n - i) * t**i for i in range(n + 1)]


def chain(t: float, n: int) -> list[float]:
    """The shares of n + 1 points on a polygonal chain, each of whose n pieces takes as long.

    >>> chain(0.25, 2)
    [0.5, 0.5, 0.0]
    """
    return [max(0.0, 1 - abs(n * t - i)) for i in range(n + 1)]


PATHS: Registry = {"bezier": bezier, "chain": chain, "line": bezier}
"""By name. A line has two points."""


def straight(start: Tensor, end: Tensor, bends: int) -> Tensor:
    """The points [bends + 2, P] of a path between two solutions [P], evenly spaced on the line.

    Raises:
        InputError: for ends that are not two vectors of one length.
    """
    if start.ndim != 1 or start.shape != end.shape:
        told = f"{list(start.shape)} and {list(end.shape)}"
        raise InputError("path", "ends", told, "the weights of one model, twice")
    shares = [i / (bends + 1) for i in range(bends + 2)]
    return torch.stack([start, *(torch.lerp(start, end, s) for s in shares[1:-1]), end])


def at(points: Tensor, shares: Sequence[float]) -> Tensor:
    """Weights [P] of points [n + 1, P] by their shares; at a point itself that, bit for bit."""
    if 1.0 in shares:
        return points[shares.index(1.0)].clone()
    return points.T @ torch.tensor(shares, dtype=points.dtype, device=points.device)


def descend(
    points: Tensor, motion: Tensor, shares: Sequence[float], g: Tensor, lr: float, momentum: float
) -> None:
    """A step of the bends along the gradient at phi, in place: v = momentum v + c_i g, w_i -= lr v.

    Args:
        points: [n + 1, P], whose ends stay.
        motion: v of the bends, [n - 1, P].
        shares: c_i of the phi at which the gradient was taken.
        g: dL/dphi, [P].
        lr: learning rate.
        momentum: 0 to 1.
    """
    for bend, v, share in zip(points[1:-1], motion, shares[1:-1], strict=True):
        bend.sub_(v.mul_(momentum).add_(g, alpha=share), alpha=lr)


def steps(along: Sequence[Tensor]) -> list[float]:
    """The distances from each of some weights to the next, in float64."""
    return [(b.double() - a.double()).norm().item() for a, b in pairwise(along)]


def over_length(values: Sequence[float], lengths: Sequence[float]) -> float:
    """The mean of values over the length of a path: the integral by trapezoids, over the length.

    >>> over_length([0.0, 1.0, 1.0], [1.0, 3.0])
    0.875
    """
    pieces = zip(pairwise(values), lengths, strict=True)
    return math.fsum(0.5 * (a + b) * length for (a, b), length in pieces) / math.fsum(lengths)


def barrier(t: Sequence[float], values: Sequence[float]) -> float:
    """How far a path rises above its ends: max over t of L(t) - ((1 - t) L(0) + t L(1)).

    R. Entezari, H. Sedghi, O. Saukh, B. Neyshabur, "The Role of Permutation Invariance in Linear
    Mode Connectivity of Neural Networks", arXiv 2110.06296. Not below 0, which it is at the ends.

    >>> barrier([0.0, 0.5, 1.0], [1.0, 4.0, 3.0])
    2.0
    """
    first, last = values[0], values[-1]
    rises = [v - ((1 - s) * first + s * last) for s, v in zip(t, values, strict=True)]
    return math.nan if any(map(math.isnan, rises)) else max(0.0, *rises)


def plane(first: Tensor, last: Tensor, third: Tensor) -> tuple[Tensor, list[list[float]]]:
    """Orthonormal directions [2, P] of the plane of three points [P], and their places in it.

    The first is at the origin and the last on the first axis, as in plane.py of
    timgaripov/dnn-mode-connectivity. All in float64.

    Raises:
        InputError: for points on one line.

    >>> along = torch.tensor([4.0, 0.0, 0.0])
    >>> plane(0 * along, along, torch.tensor([1.0, 3.0, 4.0]))[1]
    [[0.0, 0.0], [4.0, 0.0], [1.0, 5.0]]
    """
    u, v = last.double() - first.double(), third.double() - first.double()
    wide, far = u.norm(), v.norm()
    u = u / wide
    at = v @ u
    v = v - at * u
    high = v.norm()
    if not (wide > 0 and high > 1e-6 * far):
        raise InputError("path", "plane", "three points on one line", "three that are not")
    places = [[0.0, 0.0], [wide.item(), 0.0], [at.item(), high.item()]]
    return torch.stack([u, v / high]), places
