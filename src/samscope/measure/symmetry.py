"""Whether an operator is the symmetric matrix it is taken for, from products that are made anyway.

A Hessian with a wrong second derivative in it, of an operation of the user's or of torch's, is as a
rule not symmetric: u'Hv and v'Hu differ by percents. Rounding makes them differ too, in float32 by
any amount where the loss is next to nothing; so what is suspicious there is settled in float64.
"""

import math
from typing import Any

import torch

from samscope.errors import InputError
from samscope.measure.vectors import inner, norm, random_direction


def tolerance(dtype: torch.dtype) -> float:
    """The asymmetry that rounding may cause, over the largest eigenvalue.

    5e-7 in float64 and 2e-3 in float32. Networks have 1e-15 and 4e-7, those trained to a loss of
    5e-6 4e-12 and 2e-3; wrong formulas had 2.7e-2 to 2.8e-1.
    """
    return torch.finfo(dtype).eps ** 0.4


def check_symmetric(operator: Any, difference: float, scale: float) -> None:
    """Refuse an operator H of which u'Hv and v'Hu differ by more than rounding.

    Args:
        operator: a `samscope.measure.hessian.Operator`; asked for itself ``in_float64``, where it
            can be, before it is refused for what was found in float32.
        difference: norm of what makes a part of H unsymmetric.
        scale: norm of that part.

    Raises:
        InputError: saying how much they differ.
    """
    if not difference > tolerance(operator.dtype) * scale:
        return
    if operator.dtype != torch.float64 and hasattr(operator, "in_float64"):
        try:
            exact, size = _asymmetry(operator.in_float64())
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # of a loss or a model that computes in float32 alone
            exact, size = difference, scale
        if not exact > tolerance(torch.float64) * size:
            return
        difference, scale = exact, size
    share = difference / scale if scale else math.inf
    raise InputError(
        type(operator).__name__,
        "symmetry",
        f"u'Hv and v'Hu differ by {share:.2g} of the largest",
        "a symmetric matrix; an operation with a wrong second derivative, a detach() or no_grad()"
        " in its backward pass, or one that changes between calls makes it another",
    )


def _asymmetry(operator: Any) -> tuple[float, float]:
    """|u'Hv - v'Hu| for a random u and v along H u, and |H u|."""
    like = torch.empty(0, dtype=operator.dtype, device=operator.device)
    u = random_direction(operator.size, like, 0, "symmetry")
    image = operator.matvec(u)
    length = norm(image)
    v = image / (length or 1.0)
    back = operator.matvec(v)
    return abs(float(inner(v[None], image[None]) - inner(u[None], back[None]))), length
