"""samscope: what Sharpness-Aware Minimization really does, re-run and measured."""

from samscope.errors import InputError

__version__ = "0.1.0"
__all__ = ["InputError", "__version__"]
