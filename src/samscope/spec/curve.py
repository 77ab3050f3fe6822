"""A curve: a path of low loss between two trained runs, which bends alone are trained for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from samscope.errors import InputError
from samscope.optim.method import Ascent
from samscope.spec.cell import LEAVES, Cell, Numerics
from samscope.spec.leaves import build, digits, flatten, within
from samscope.tasks import Task

SEMANTICS = 1
"""Version of what a curve's numbers mean: raise it when a change moves them."""

PATHS = ("bezier", "chain", "line")
"""See `samscope.measure.paths`. The line is not trained: what the others are compared with."""

ENDS = ("seeds", "methods")
"""Of which runs: two seeds of a cell; or one seed of the cell without its ascent, and of the cell,
from the same initial weights and the same batches."""

_NAMED = ("path", "ends")
"""Leaves that an id has in its second part, which say those of `_UNTRAINED` of a line too."""

_UNTRAINED = ("bends", "curve_epochs")


@dataclass(frozen=True)
class Curve:
    """A path between two runs, all but the seed.

    Attributes:
        cell: what its ends are runs of; it gives data, batches, loss and momentum too.
        path: one of `PATHS`.
        ends: one of `ENDS`. Pairs share no run: of the pair n the seeds are 2n and 2n + 1.
        bends: points between the ends that are trained.
        plane: grid points on a side of the plane through the ends and the bend, over which the
            training loss is evaluated as well; 0: it is not. Of a line the third point is a third
            solution, that of the seed after the ends'.
        curve_epochs: how long; by `samscope.optim.schedules.garipov`.
        frame: the epoch after which it is taken as it is then; 0: the last.
        curve_lr: peak learning rate.
        curve_decay: weight decay, as curve_decay/2 ||phi(t)||^2 in the loss.
        points: values of t, evenly spaced, at which it is evaluated.
        shown: leaves that its id shows, as of a cell.
    """

    cell: Cell
    path: str
    curve_epochs: int
    curve_lr: float
    curve_decay: float
    points: int
    ends: str = "seeds"
    bends: int = 1
    plane: int = 0
    frame: int = 0
    shown: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        named: dict[str, tuple[str, ...]] = {"path": PATHS, "ends": ENDS}
        for name, allowed in named.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError("curve", name, value, ", ".join(allowed))
        trained = self.path != "line"
        for name, most in zip(_UNTRAINED, (100, 10**6), strict=True):
            within(self.path, self, {name: (1, most) if trained else (0, 0)})
        within("curve", self, {"curve_lr": (0, 1e6), "curve_decay": (0, 1e6), "points": (2, 10**6)})
        within("curve", self, {"plane": (0, 1001), "frame": (0, max(0, self.curve_epochs - 1))})
        if 0 < self.plane < 3:
            raise InputError("curve with a plane", "plane", self.plane, "0, or from 3")
        if self.plane and self.bends > 1:
            raise InputError("curve with a plane", "bends", self.bends, "1 at most")
        if self.plane and self.path == "line" and self.ends != "seeds":
            raise InputError("line with a plane", "ends", self.ends, "seeds")
        if self.ends == "methods" and not self.cell.method.mix.needs_ascent:
            words = "a variant with an ascent, whose ends are it and SGD"
            raise InputError("curve", "ends methods of", self.cell.method.variant, words)
        if not self.cell.budget.epochs:
            raise InputError("curve", "steps", self.cell.budget.steps, "0: a cell of epochs")

    @property
    def id(self) -> str:
        """Path below ``results/<profile>/runs``: ``model-data/path-end-end/settings``."""
        model, variant, settings = replace(self.cell, shown=self._shown(LEAVES)).id.split("/")
        own = ",".join(f"{k}={_said(getattr(self, k))}" for k in self._shown(_OWN))
        ends = "sgd" if self.ends == "methods" else variant
        settings = ",".join(s for s in (settings.removesuffix("base"), own) if s)
        return f"{model}/{self.path}-{ends}-{variant}/{settings or 'base'}"

    def between(self, seed: int) -> tuple[tuple[Cell, int], tuple[Cell, int]]:
        """The two runs that a pair's path is between, at t = 0 and at t = 1."""
        cell = replace(self.cell, shown=self._shown(LEAVES))
        if self.ends == "seeds":
            return (cell, 2 * seed), (cell, 2 * seed + 1)
        method = replace(cell.method, variant="sgd", condition=None, ascent=Ascent())
        shown = tuple(name for name in cell.shown if name not in _ASCENT)
        return (replace(cell, method=method, shown=shown), 2 * seed), (cell, 2 * seed)

    def needs(self, seed: int) -> tuple[tuple[Cell, int], ...]:
        """The two runs between which it is; for the plane of a line a third."""
        (start, first), (end, last) = self.between(seed)
        third = ((end, last + 1),) if self.plane and self.path == "line" else ()
        return (start, first), (end, last), *third

    def digest(self, seed: int) -> str:
        """Hex SHA-256 of the digests of its ends and of its own leaves, as canonical JSON."""
        own = {name: getattr(self, name) for name in _OWN}
        own = {name: value for name, value in own.items() if value or name not in _LATER}
        ends = [cell.digest(at) for cell, at in self.needs(seed)]
        meaning = {**own, "semantics": SEMANTICS, "between": ends}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    @property
    def task(self) -> Task:
        """What its ends have learned."""
        return self.cell.task

    @property
    def numerics(self) -> Numerics:
        """How its ends were computed; it has their threads, in float32 and not compiled."""
        return self.cell.numerics

    def to_dict(self) -> dict[str, Any]:
        """The leaves by name, ready for JSON: its own and those of the cell."""
        return flatten(self)

    @classmethod
    def from_dict(
        cls, flat: Mapping[str, Any], where: object = "curve", shown: tuple[str, ...] = ()
    ) -> "Curve":
        """The curve of a mapping of leaves by name; those at their default may be left out.

        Raises:
            InputError: for an unknown or a missing leaf, or a value outside its range.
        """
        return build(cls, flat, where, shown)

    def _shown(self, leaves: Mapping[str, Any] | tuple[str, ...]) -> tuple[str, ...]:
        said = (*_NAMED, *(_UNTRAINED if self.path == "line" else ()))
        return tuple(name for name in self.shown if name in leaves and name not in said)


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else digits(value)


_LATER = ("plane", "frame")
"""Own leaves that a digest has where they are not 0."""

_OWN = ("path", "ends", "bends", "curve_epochs", "curve_lr", "curve_decay", "points", *_LATER)
_ASCENT = asdict(Ascent())
