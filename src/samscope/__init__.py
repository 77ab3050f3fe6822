"""samscope: what Sharpness-Aware Minimization really does, re-run and measured."""

from samscope.errors import InputError

__version__ = "0.2.0"

CONFIGURATION = "SAMSCOPE_CONFIG"
"""Environment variable that hands a workflow's configuration, as JSON, to its jobs."""

__all__ = ["CONFIGURATION", "InputError", "__version__"]
