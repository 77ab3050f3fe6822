"""Rules by name: what a base optimizer makes of a gradient. Importable without torch.

A rule is a function of this folder, ``step(w, start, u, slots, n)``: it sets w to the step from
``start`` along u, element by element, and updates the slots in place. All are vectors of one
length, or pieces of them: eager, a step goes through them in blocks that fit a cache; compiled, it
is one pass over memory. ``n`` are the `samscope.optim.settings.Settings` of the step, numbers or
scalar tensors. A new rule is one function and one entry of `RULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from samscope.digests import Registry


@dataclass(frozen=True)
class Rule:
    """A rule, and the state it keeps.

    Attributes:
        home: its function, as ``module:function``.
        slots: names of the vectors it keeps, zero before the first step.
        counts: whether it also counts its steps, to correct averages that begin at zero.
    """

    home: str
    slots: tuple[str, ...]
    counts: bool = False

    @property
    def step(self) -> Callable[..., None]:
        """The function; torch is imported with it."""
        return _found(self.home)


@cache
def _found(home: str) -> Callable[..., None]:
    module, name = home.split(":")
    return getattr(import_module(module), name)


_MOMENTS = ("exp_avg", "exp_avg_sq")

RULES: Registry[str, Rule] = {
    "sgd": Rule("samscope.optim.rules.sgd:sgd", ("momentum",)),
    "adam": Rule("samscope.optim.rules.adam:adam", _MOMENTS, counts=True),
    "adamw": Rule("samscope.optim.rules.adam:adamw", _MOMENTS, counts=True),
}
