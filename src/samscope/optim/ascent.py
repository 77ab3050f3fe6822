"""The ascent: from w to w + e, where the second gradient is taken.

    e = rho T d_p(T g),    d_p(x) = sign(x) |x|^(q-1) / (||x||_q^q)^(1/p),    1/p + 1/q = 1

d_p(x) is the unit vector of the p-norm along which x rises most: the solution of the linear inner
problem (equation 2 of Foret et al. 2021, arXiv:2010.01412); T is 1, or |w| of adaptive SAM (Kwon
et al. 2021, arXiv:2102.11600). At p = 2, SAM as it is known: e = rho g / ||g||.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from samscope.optim.method import Ascent
from samscope.optim.ratio import blocks
from samscope.optim.scaling import ADAPTIVE
from samscope.optim.settings import Number

_PLAIN = Ascent()


def ascend(
    w: Tensor,
    start: Tensor,
    g: Tensor,
    rho: Number,
    ascent: Ascent = _PLAIN,
    gradient_of: Callable[[], Tensor] | None = None,
    matrices: Tensor | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """Keep w in ``start`` and move it in place to w + e, see `perturbation`.

    Args:
        w: moved.
        start: overwritten with where w was.
        g: gradient at w.
        rho: radius, in place of that of ``ascent``: compiled and recorded code reads a tensor.
        ascent: which ascent.
        gradient_of: the gradient of the same mini-batch where w is when it is called, for ascents
            of several steps; it may be overwritten by the next, and must not be ``g``.
        matrices: see the function `matrices`, for "kwon2021".
        noise: a standard normal vector, for direction ``random``.

    Returns:
        ||g||_2, a scalar tensor.
    """
    norm = global_norm([g])
    start.copy_(w)
    if ascent.norm == 2 and ascent.ascent_steps == 1:
        along = _direction(g, ascent, noise)
        scale = _scale(start, ascent, matrices)
        scaled = along if scale is None else scale * along
        reach = norm if scaled is g else global_norm([scaled])
        climb(w, along, rho / (reach + ascent.ascent_epsilon), scale)
        return norm

    def gradient_at(point: Tensor) -> Tensor:
        if gradient_of is None:
            raise TypeError("several steps take gradients on the way, and gradient_of is none")
        w.copy_(point)
        return gradient_of()

    w.copy_(start + perturbation(start, g, rho, ascent, gradient_at, matrices, noise))
    return norm


def perturbation(
    w: Tensor,
    g: Tensor,
    rho: Number,
    ascent: Ascent,
    gradient_at: Callable[[Tensor], Tensor],
    matrices: Tensor | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """The e of an ascent from w. All vectors are of one length; none is written to.

    With m ``ascent_steps``, gradients are taken on the way. ``sum``: each step adds rho/m along the
    gradient where it begins, so that e ends within rho. ``projected``: each adds rho and is brought
    back to the ball ||T^-1 e|| <= rho (Foret et al., appendix C.6, which states no length of a
    step; with this one, one step is SAM's). T stays that of w. Direction ``random`` (their C.5):
    e = rho z / ||z|| with z the noise.

    Args:
        w: where it begins; e can be differentiated with respect to it, if g and ``gradient_at`` are
            functions of it.
        g: gradient at w.
        rho: radius, in place of that of ``ascent``.
        ascent: which ascent.
        gradient_at: the gradient of the same mini-batch elsewhere, for several steps.
        matrices: as for `ascend`.
        noise: likewise.
    """
    along, scale = _direction(g, ascent, noise), _scale(w, ascent, matrices)
    projected = ascent.ascent_rule == "projected"
    length = rho if projected else rho / ascent.ascent_steps
    e = reached = torch.zeros_like(w)  # T^-1 e
    for step in range(ascent.ascent_steps):
        if step:
            along = gradient_at(w + e)
        scaled = along if scale is None else scale * along
        reached = reached + steepest(scaled, ascent.norm, ascent.ascent_epsilon) * length
        if projected:
            reached = reached * (rho / (global_norm([reached]) + 1e-12)).clamp(max=1.0)
        e = reached if scale is None else scale * reached
    return e


def _direction(g: Tensor, ascent: Ascent, noise: Tensor | None) -> Tensor:
    """What the first step goes along: g, or the noise."""
    if ascent.direction == "gradient":
        return g
    if noise is None:
        raise TypeError("a random direction is that of the noise, and there is none")
    return noise


def _scale(w: Tensor, ascent: Ascent, matrices: Tensor | None) -> Tensor | None:
    """T at w; None: 1."""
    return ADAPTIVE[ascent.adaptive](w, matrices) if ascent.adaptive else None


def climb(w: Tensor, g: Tensor, step: Tensor, scale: Tensor | None = None) -> None:
    """Move w in place to w + step T^2 g, where step = rho / (||T g||_2 + 1e-12): p = 2.

    Args:
        w: moved.
        g: gradient at w.
        step: a scalar.
        scale: T at w; None: 1.
    """
    w.addcmul_(g if scale is None else scale.square() * g, step)


def steepest(x: Tensor, p: float, epsilon: float = 1e-12) -> Tensor:
    """d_p(x): of all vectors of p-norm 1, the one of largest product with x; 0 where x is 0.

    At p = 2 it is x / (||x|| + epsilon), with which a gradient of 0 is no division by 0.

    p = inf: the signs. p = 1, the limit q = inf: the largest element alone, or those that tie for
    it in equal parts.

    >>> x = torch.tensor([3.0, 0.0, -4.0])
    >>> [steepest(x, p).tolist() for p in (1, math.inf)]
    [[0.0, 0.0, -1.0], [1.0, 0.0, -1.0]]
    """
    if p == 2:
        return x / (global_norm([x]) + epsilon)
    if p == math.inf:
        return x.sign()
    size = x.abs()
    largest = size.max()
    if p == 1:
        return x.sign() * (size == largest) / (size == largest).sum()
    q = p / (p - 1)
    # By parts of the largest, whose q-th powers neither overflow nor all vanish; their sum is 1 at
    # least, but for x = 0.
    size = size / largest.clamp_min(torch.finfo(x.dtype).tiny)
    total = size.pow(q).sum(dtype=torch.float64).clamp_min(1.0)
    return x.sign() * size.pow(q - 1) / total.pow(1 / p).to(x.dtype)


def matrices(parameters: Iterable[Tensor]) -> Tensor:
    """Which elements of a model's vector belong to parameters of two dimensions or more: bool.

    >>> matrices(torch.nn.Linear(2, 1).parameters()).tolist()
    [True, True, False]
    """
    return torch.cat([p.new_full((p.numel(),), p.ndim > 1, dtype=torch.bool) for p in parameters])


def global_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all elements of all tensors, a scalar tensor; 0 without any.

    Block by block: one float32 sum over 11 million squares is off by 4e-4, and so would rho be.

    >>> global_norm([torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])])
    tensor(5.)
    """
    norms = [torch.linalg.vector_norm(block) for t in tensors for (block,) in blocks(t)]
    if len(norms) == 1:
        return norms[0]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
