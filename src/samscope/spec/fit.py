"""A fit: least squares on random features, one setting of everything but the seed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from samscope import data
from samscope.errors import InputError
from samscope.spec.base import Spec
from samscope.spec.cell import TASK
from samscope.spec.leaves import build, digits, flatten, leaves, within
from samscope.tasks import Task

SEMANTICS = 1
"""Version of what a fit means. Raise it when an edit changes the numbers of a run."""

FEATURES = ("random_fourier",)
"""Models of this stage: kinds of random features, see `samscope.measure.features`."""


@dataclass(frozen=True)
class Fit:
    """Classes of images as the least-norm least-squares fit of N features; nothing is trained.

    Attributes:
        model: one of `FEATURES`.
        data: name of a data set of images.
        train_size: n, samples that are fitted.
        split_seed: of the split, the same for every run.
        scale: standard deviation of the entries of the features' directions, of pixels 0 to 1.
        width: N / n, features per sample: 1 is the interpolation threshold.
        label_noise: share of training labels replaced by a random other class, 0 to 1.
        mean: of the entries of the directions.
        shown: leaves that its id shows; no part of what it means.
    """

    model: str
    data: str
    train_size: int
    split_seed: int
    scale: float
    width: float
    label_noise: float = 0.0
    mean: float = 0.0
    shown: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.model not in FEATURES:
            raise InputError("fit", "model", self.model, ", ".join(FEATURES))
        within("task", self.task, TASK)
        # One pair of features at least: the cosine and the sine of a direction.
        least = 2 / self.train_size
        within("fit", self, {"scale": (1e-6, 1e6), "mean": (-1e6, 1e6), "width": (least, 1e4)})

    @property
    def task(self) -> Task:
        """What is learned."""
        sizes = (self.train_size, 0, self.split_seed)
        return Task(self.data, "none", self.label_noise, *sizes, loss="squared")

    @property
    def count(self) -> int:
        """N, the even number of features nearest to width times n."""
        return 2 * round(self.width * self.train_size / 2)

    @property
    def id(self) -> str:
        """Path below ``results/<profile>/runs``: ``model-data/noise/settings``."""
        own = ("width", *(name for name in self.shown if name not in ("width", "label_noise")))
        flat = self.to_dict()
        told = [f"{k}={digits(v)}" if isinstance(v := flat[k], float) else f"{k}={v}" for k in own]
        return f"{self.model}-{self.data}/noise={digits(self.label_noise)}/{','.join(told)}"

    def digest(self, seed: int) -> str:
        """Hex SHA-256 of what the numbers of a run follow from; leaves at their default left out.

        What its code does is no part of it: an edit of that is told by `samscope.stages.fit`.
        """
        meant = {k: v for k, v in self.to_dict().items() if v != _DEFAULTS.get(k, MISSING)}
        source = data.definition(self.data)
        meaning = {**meant, "stage": "fit", "semantics": SEMANTICS, "seed": seed, "source": source}
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()

    def needs(self, seed: int) -> tuple[tuple[Spec, int], ...]:
        """No other run."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """The leaves by name, ready for JSON."""
        return flatten(self)

    @classmethod
    def from_dict(
        cls, flat: Mapping[str, Any], where: object = "fit", shown: tuple[str, ...] = ()
    ) -> "Fit":
        """The fit of a mapping of leaves by name; those at their default may be left out.

        Raises:
            InputError: for an unknown or a missing leaf, or a value outside its range.
        """
        return build(cls, flat, where, shown)


_LEAVES = leaves(Fit)
_DEFAULTS = {name: default for name, (_, _, default) in _LEAVES.items()}
