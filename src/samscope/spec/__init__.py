"""What a run is: a cell (one setting of everything but the seed) and a seed.

A cell's ``id`` is readable and is its path; its ``digest`` decides whether a record on disk is
this run's. Nothing here imports torch: the DAG is built from cells.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from samscope.data import NAMES as DATA
from samscope.errors import InputError
from samscope.models import NAMES as MODELS
from samscope.models import definition
from samscope.optim.mixes import named_mix

SEMANTICS = 1
"""Version of what training means. Raise it when a change of the engine changes the numbers of a
run: every run is then trained anew. An edit that leaves the numbers alone leaves it alone."""

AUGMENTATIONS = ("none", "crop_flip_cutout")

PRECISIONS = ("float32", "tf32", "bf16")
"""Of matrix products and convolutions. tf32 rounds their factors to 10 bits, on a GPU alone; bf16
is autocast with float32 weights. Weights, momentum, statistics and sums are float32 throughout."""


@dataclass(frozen=True)
class Cell:
    """One setting of all fields but the seed.

    Attributes:
        paper: folder of ``workflow/papers`` whose tables name this cell.
        model: name in `samscope.models.NAMES`.
        data: name in `samscope.data.NAMES`.
        variant: name of a mix, see `samscope.optim.mixes.named_mix`.
        epochs: passes over the training images.
        batch_size: images per step.
        lr: initial learning rate, cosine to 0 over the epochs.
        momentum: of SGD, no dampening, no Nesterov.
        weight_decay: coupled L2, added to the update outside mask and perturbation.
        drop_last: leave out the short last batch of an epoch.
        augment: one of `AUGMENTATIONS`, applied to training and validation images.
        label_noise: share of training labels replaced by a random other class, 0 to 1.
        train_size: training images; None: all that the validation set leaves.
        val_size: validation images, taken from the training set.
        split_seed: of the stratified split, the same for every run.
        threads: CPU threads; results repeat bit for bit only for a fixed number.
        precision: one of `PRECISIONS`.
        compiled: whether the step goes through torch.compile: faster, with other rounding.
        rho: radius of the perturbation; None for `sgd`.
        condition: factor c of the `sameckpt` variants; None for the others.
        varied: names of the fields, joined by commas, in which a table departs from its paper's
            protocol: they are part of the id.
        semantics: see `SEMANTICS`.
    """

    paper: str
    model: str
    data: str
    variant: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    drop_last: bool
    augment: str
    label_noise: float
    train_size: int | None
    val_size: int
    split_seed: int
    threads: int
    precision: str
    compiled: bool
    rho: float | None = None
    condition: float | None = None
    varied: str = ""
    semantics: int = SEMANTICS

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.type)
        named_mix(self.variant, self.condition)
        if (self.rho is None) != (self.variant == "sgd"):
            raise InputError(self.variant, "rho", self.rho, "a number >= 0, and none for sgd")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"cell {self.variant}", name, value, f"{low} to {high}")
        named = {"model": MODELS, "data": DATA, "augment": AUGMENTATIONS, "precision": PRECISIONS}
        for name, allowed in named.items():
            if getattr(self, name) not in allowed:
                raise InputError("cell", name, getattr(self, name), ", ".join(allowed))

    @property
    def id(self) -> str:
        """Path below ``results/<profile>/runs``: ``paper/model-data/variant/settings``."""
        names = ("rho", "condition", *filter(None, self.varied.split(",")))
        named = [(k, getattr(self, k)) for k in names]
        shown = [(k, f"{v:g}" if isinstance(v, float) else v) for k, v in named if v is not None]
        settings = ",".join(f"{k}={v}" for k, v in shown)
        return f"{self.paper}/{self.model}-{self.data}/{self.variant}/{settings or 'base'}"

    def digest(self, seed: int) -> str:
        """Hex SHA-256 of what the numbers of a run follow from, as canonical JSON.

        That is the fields, the seed, and what the names of variant and model stand for: a mix or an
        architecture that is edited makes other runs. A field at its default is left out, so that
        one that is added later leaves the runs without it as they are.
        """
        default = {f.name: f.default for f in fields(self)}
        meant = {k: v for k, v in self.to_dict().items() if v != default[k]}
        mix = named_mix(self.variant, self.condition)
        meant |= {"semantics": self.semantics, "seed": seed, "mix": [mix.table, mix.norms]}
        text = json.dumps({**meant, "network": definition(self.model)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = "cell") -> "Cell":
        """The cell of a mapping with exactly the fields of `Cell`.

        Raises:
            InputError: for an unknown or a missing field, or a value outside its range.
        """
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(
                    where, name, values[name], f"the fields {', '.join(sorted(known))}"
                )
        for field in fields(cls):
            if field.name not in values and field.default is MISSING:
                raise InputError(where, field.name, "(missing)", "a value")
        # JSON and YAML write 1.0 as 1; the digest must not tell them apart.
        floats = {f.name for f in fields(cls) if f.type in (float, float | None)}
        exact = {k: float(v) for k, v in values.items() if k in floats and type(v) is int}
        return cls(**{**values, **exact})


_RANGES = {
    "rho": (0.0, math.inf),
    "epochs": (1, 10**6),
    "batch_size": (2, 10**6),
    "lr": (0.0, math.inf),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, math.inf),
    "label_noise": (0.0, 1.0),
    "train_size": (2, 10**9),
    "val_size": (0, 10**9),
    "split_seed": (0, 2**32 - 1),
    "threads": (1, 4096),
}


def _check_type(name: str, value: object, expected: Any) -> None:
    """Refuse a value of another type than the field's, NaN and infinity."""
    allowed = getattr(expected, "__args__", (expected,))
    if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)):
        kinds = " or ".join(t.__name__ for t in allowed).replace("NoneType", "none")
        raise InputError("cell", name, value, f"a finite {kinds}")
