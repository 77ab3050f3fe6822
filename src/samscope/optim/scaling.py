"""The T of adaptive SAM: by how much each weight is moved relative to its size. No torch needed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from samscope.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """The T of adaptive SAM: |w| + eta, element by element (Kwon et al. 2021, arXiv:2102.11600).

    Args:
        eta: added to |w|, so that weights at zero can move.
        matrices_only: T = 1 for parameters of fewer than two dimensions (biases, norm layers).
    """

    eta: float
    matrices_only: bool

    def __call__(self, w: "Tensor", matrices: "Tensor | None" = None) -> "Tensor":
        """T at w, in its shape, or a scalar 1.

        Args:
            w: a parameter, or the vector of a whole model's.
            matrices: of such a vector: which of its elements belong to a parameter of two
                dimensions or more, see `samscope.optim.ascent.matrices`. Without it the vector
                counts as one parameter, of one dimension.
        """
        if not self.matrices_only:
            return w.abs().add_(self.eta)
        if matrices is not None:
            return w.abs().add_(self.eta).where(matrices, 1.0)
        return w.abs().add_(self.eta) if w.ndim > 1 else w.new_ones(())


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
        InputError: anything but False, True (``davda54``), a name in ADAPTIVE or a Scaling.

    >>> scaling("kwon2021")
    Scaling(eta=0.01, matrices_only=True)
    """
    if adaptive is False or isinstance(adaptive, Scaling):
        return adaptive or None
    if adaptive is True:  # as in davda54/sam
        return ADAPTIVE["davda54"]
    if isinstance(adaptive, str) and adaptive in ADAPTIVE:
        return ADAPTIVE[adaptive]
    raise InputError(
        "SAM", "adaptive", adaptive, f"False, True, {', '.join(ADAPTIVE)} or a Scaling"
    )


def name_of(scale: Scaling | None) -> str:
    """The name in ADAPTIVE of a scaling; "" if it has none."""
    return next((name for name, form in ADAPTIVE.items() if form == scale), "")
