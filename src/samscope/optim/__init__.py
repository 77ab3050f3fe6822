"""SAM, its gradient-ratio regions and the mixes built from them; the methods training is made of.

Names load on first use, so that `Method` (validating a grid of settings) never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samscope.optim.batchnorm import batchnorm_frozen
    from samscope.optim.method import Ascent, Method
    from samscope.optim.mixes import REGIONS, Mix, named_mix
    from samscope.optim.ratio import combine, count, regions
    from samscope.optim.sam import SAM
    from samscope.optim.scaling import Scaling

__all__ = [
    "REGIONS",
    "SAM",
    "Ascent",
    "Method",
    "Mix",
    "Scaling",
    "batchnorm_frozen",
    "combine",
    "count",
    "named_mix",
    "regions",
]

_HOME = {
    "REGIONS": "mixes",
    "Mix": "mixes",
    "named_mix": "mixes",
    "Ascent": "method",
    "Method": "method",
    "Scaling": "scaling",
    "combine": "ratio",
    "count": "ratio",
    "regions": "ratio",
    "batchnorm_frozen": "batchnorm",
    "SAM": "sam",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
