"""Statistics of a trained model: what its loss looks like around the weights.

    from samscope.measure import curvature

    found = curvature(model, torch.nn.functional.cross_entropy, loader, rho=0.05)
    found.spectrum.largest[0], found.trace, found.worst.value

Names load on first use: what only reads surfaces imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samscope.measure.flatness import Curvature, curvature, measure, pooled
    from samscope.measure.gauss_newton import GaussNewton
    from samscope.measure.hessian import Hessian
    from samscope.measure.lanczos import Spectrum, spectrum
    from samscope.measure.objective import MeanLoss, own_loss
    from samscope.measure.sharpness import average_case, worst_case
    from samscope.measure.trace import Trace, xtrace

__all__ = [
    "Curvature",
    "GaussNewton",
    "Hessian",
    "MeanLoss",
    "Spectrum",
    "Trace",
    "average_case",
    "curvature",
    "measure",
    "own_loss",
    "pooled",
    "spectrum",
    "worst_case",
    "xtrace",
]

_HOME = {
    "Curvature": "flatness",
    "curvature": "flatness",
    "measure": "flatness",
    "pooled": "flatness",
    "GaussNewton": "gauss_newton",
    "Hessian": "hessian",
    "Spectrum": "lanczos",
    "spectrum": "lanczos",
    "MeanLoss": "objective",
    "own_loss": "objective",
    "average_case": "sharpness",
    "worst_case": "sharpness",
    "Trace": "trace",
    "xtrace": "trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
