"""How weights move in a training: how far over a lag, and whether on and on in one direction.

    ||w(t + lag) - w(t)|| ~ lag^a:             a = 1/2 of a random walk, 1 of a straight line
    cos(w(t') - w(t), w(t'') - w(t')) = c:     c = 0 of a random walk, 1 of a straight line

The square of the first is the mean squared displacement of physics, whose exponent is 2a. Two laws,
since neither tells alone: on a straight line that is walked ever slower a is below 1 too. One walk
in P dimensions is an average over P, and both scatter by some 1 / sqrt(P), by more where its steps
prefer some directions.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def distances(points: "Sequence[Tensor]") -> list[list[float]]:
    """From each of some points [P] but the last, the distances to all after it, in float64."""
    exact = [point.double() for point in points]
    return [
        [(later - point).norm().item() for later in exact[place:]]
        for place, point in enumerate(exact[:-1], start=1)
    ]


def exponent(lags: Sequence[float], moved: Sequence[float]) -> float:
    """The slope of the line of least squares through log distance over log lag.

    NaN of fewer than three lags, or where something did not move.

    >>> round(exponent([1, 4, 16], [3.0, 6.0, 12.0]), 6)
    0.5
    """
    if len(lags) < 3 or not all(value > 0 and math.isfinite(value) for value in (*lags, *moved)):
        return math.nan
    x, y = ([math.log(value) for value in values] for values in (lags, moved))
    at, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    slope = math.fsum((a - at) * (b - level) for a, b in zip(x, y, strict=True))
    return slope / math.fsum((a - at) ** 2 for a in x)


def turning(found: Sequence[Sequence[float]]) -> float:
    """The mean cosine between each move from one point to the next and the move after it.

    By the law of cosines; NaN of fewer than three points, or where one did not move.

    Args:
        found: distances, as of `distances`.

    >>> turning([[1.0, 2.0], [1.0]]), round(turning([[1.0, 2**0.5], [1.0]]), 12)
    (1.0, 0.0)
    """
    cosines = [
        (row[1] ** 2 - row[0] ** 2 - after[0] ** 2) / (2 * row[0] * after[0])
        if row[0] * after[0] > 0
        else math.nan
        for row, after in pairwise(found)
    ]
    return math.fsum(cosines) / len(cosines) if cosines else math.nan
