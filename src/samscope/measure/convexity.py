"""How far from convex a loss is around some weights: |lambda_min / lambda_max| on a grid.

H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the Loss Landscape of Neural Nets",
arXiv 1712.09913, section 6: the ratio of the Hessian's extreme eigenvalues at every point of a
plane, 0 where the loss is convex. A surface that looks convex in two directions need not be.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from samscope.measure.hessian import Hessian
from samscope.measure.inputs import Inputs
from samscope.measure.lanczos import spectrum
from samscope.measure.landscape import check, digests
from samscope.measure.objective import Loss, MeanLoss
from samscope.measure.surface import CONVEXITY, Plane, Segment, Surface, fill

TOLERANCE = 0.01
"""Residuals of both eigenvalues over their own magnitudes, which bound the error of the ratio to
2 % of it where both are the outermost; at 0.05 some were not yet. Residuals over the larger
magnitude would not do: early in a Lanczos run the smallest value is one near 0, where most
eigenvalues are, with a residual that looks small."""

PRODUCTS = 60
"""With the Hessian at a grid point, at most; all of them where no eigenvalue is far below 0."""


def measure_convexity(
    model: nn.Module,
    loss: Loss,
    x: Inputs,
    y: Tensor,
    plane: Plane | Segment,
    a: Sequence[float],
    b: Sequence[float],
    path: str | Path,
    about: Mapping[str, Any],
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Surface:
    """|lambda_min / lambda_max| over a grid of weights, in eval mode, kept in ``path``.

    The columns are `samscope.measure.surface.CONVEXITY`: the ratio, a bound on its error by the
    residuals, and both eigenvalues. What is not finite at a point is empty there. Files, and what
    a killed job leaves, as those of `samscope.measure.landscape.measure_surface`.

    Args:
        model: all its parameters trainable. It stays as it is.
        loss: mean over the batch.
        x: inputs, [N, ...] each.
        y: targets, [N, ...].
        plane: where the weights are.
        a: first coordinates, ascending.
        b: second coordinates, ascending; ``[0.0]`` for a line.
        path: of the CSV file.
        about: more settings for the JSON file beside it.
        seed: of the start vector, the same at every point.
        report: called with one line about each grid row.

    Raises:
        InputError: for arguments that do not match.
    """
    check(model, x, y, plane, b)
    mean_loss = MeanLoss(model, loss, (x, y))

    def point(a: float, b: float) -> tuple[float, float, float, float]:
        hessian = Hessian(mean_loss, plane.at(a, b))
        found = spectrum(hessian, 1, TOLERANCE, PRODUCTS, seed, ends=TOLERANCE)
        ratio, (largest, smallest) = found.concavity(), found.ends
        return ratio.value, ratio.error, largest.value, smallest.value

    settings = {
        **{"a": [float(value) for value in a], "b": [float(value) for value in b]},
        **{"columns": list(CONVEXITY), "tolerance": TOLERANCE, "products": PRODUCTS},
        **{"seed": seed, "images": len(y)},
        **digests(model, x, y, plane),
        "about": dict(about),
    }
    return fill(Path(path), settings, point, report)
