"""What a run is: a spec, one setting of everything but the seed, and a seed.

Nothing here imports torch: the DAG is built from specs.
"""

from samscope.digests import Registry
from samscope.spec.base import Spec, Unmade
from samscope.spec.cell import PRECISIONS, SEMANTICS, Budget, Cell, Numerics
from samscope.spec.curve import Curve
from samscope.spec.fit import FEATURES, Fit

SPECS: Registry[str, type[Spec]] = {"train": Cell, "fit": Fit, "curve": Curve}
"""What the rows of a table name, by the stage that makes it."""

__all__ = [
    "FEATURES",
    "PRECISIONS",
    "SEMANTICS",
    "SPECS",
    "Budget",
    "Cell",
    "Curve",
    "Fit",
    "Numerics",
    "Spec",
    "Unmade",
]
