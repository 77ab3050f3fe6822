"""What a run is: a cell, one setting of everything but the seed, and a seed.

Nothing here imports torch: the DAG is built from specs.
"""

from samscope.digests import Registry
from samscope.spec.base import Spec
from samscope.spec.cell import PRECISIONS, SEMANTICS, Budget, Cell, Numerics
from samscope.spec.curve import Curve

SPECS: Registry[str, type[Spec]] = {"train": Cell, "curve": Curve}
"""What the rows of a table name, by the stage that makes it."""

__all__ = ["PRECISIONS", "SEMANTICS", "SPECS", "Budget", "Cell", "Curve", "Numerics", "Spec"]
