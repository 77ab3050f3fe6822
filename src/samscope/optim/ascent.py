"""The ascent step: w + e, with e = rho T^2 g / (||T g||_2 + 1e-12)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.optim.ratio import blocks


@dataclass(frozen=True)
class Scaling:
    """The T of adaptive SAM: |w| + eta, element by element (Kwon et al. 2021, arXiv:2102.11600).

    Args:
        eta: added to |w|, so that weights at zero can move.
        matrices_only: leave T = 1 for parameters of fewer than two dimensions (biases, norm layers
            and flat vectors that hold a whole model).
    """

    eta: float
    matrices_only: bool

    def __call__(self, w: Tensor) -> Tensor:
        """T at w, in its shape, or a scalar 1."""
        if self.matrices_only and w.ndim < 2:
            return w.new_ones(())
        return w.abs().add_(self.eta)


ADAPTIVE = {
    # davda54/sam and its descendants: e = rho w^2 g / (|| |w| g || + 1e-12) on every parameter
    "davda54": Scaling(eta=0.0, matrices_only=False),
    # the paper, with its eta of 0.01; its code (SamsungLabs/ASAM) takes what is named "weight",
    # so the scales of norm layers too, which have one dimension and stay out here
    "kwon2021": Scaling(eta=0.01, matrices_only=True),
}
"""The two published forms of adaptive SAM. They are not one: each has a best rho of its own."""


def scaling(adaptive: bool | str | Scaling) -> Scaling | None:
    """The scaling that `adaptive` asks for, None for plain SAM.

    Raises:
        InputError: anything but False, a name in ADAPTIVE or a Scaling.

    >>> scaling("kwon2021")
    Scaling(eta=0.01, matrices_only=True)
    """
    if adaptive is False or isinstance(adaptive, Scaling):
        return adaptive or None
    if isinstance(adaptive, str) and adaptive in ADAPTIVE:
        return ADAPTIVE[adaptive]
    raise InputError("SAM", "adaptive", adaptive, f"False, {', '.join(ADAPTIVE)} or a Scaling")


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


def climb(w: Tensor, g: Tensor, step: Tensor, scaling: Scaling | None = None) -> None:
    """Move w in place to w + step T^2 g, where step = rho / (||T g||_2 + 1e-12).

    Plain SAM, T = 1, is equation 2 of Foret et al. 2021 (arXiv:2010.01412) at p = 2; with T,
    the ascent of Kwon et al. 2021 (arXiv:2102.11600).
    """
    w.addcmul_(scaling(w).square() * g if scaling else g, step)
