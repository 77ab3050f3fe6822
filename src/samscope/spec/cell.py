"""A cell: one setting of everything but the seed, made of five small values.

Each belongs to the room that knows its meaning: what is learned to `samscope.tasks`, how the
weights move to `samscope.optim.method`; how long, and how it is computed, stand here. Text files
are flat: they name a leaf, such as ``rho``, not the value that holds it.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from functools import cache
from typing import Any

from samscope import data, losses, models
from samscope.errors import InputError
from samscope.optim.method import Ascent, Enhancement, Method
from samscope.spec.leaves import build, digits, flatten, leaves, within
from samscope.spec.pretraining import Pretraining
from samscope.tasks import Task

SEMANTICS = 1
"""Version of what training means. Raise it when a change of the engine changes the numbers of a
run: every run is then trained anew. An edit that leaves the numbers alone leaves it alone."""

PRECISIONS = ("float32", "tf32", "bf16")
"""Of matrix products and convolutions. tf32 rounds their factors to 10 bits, on a GPU alone; bf16
is autocast with float32 weights. Weights, momentum, statistics and sums are float32 throughout."""

STARTS = ("seed", "smaller")
"""Where weights begin: drawn from the seed; or at the last weights of the run of the same cell and
seed with the next smaller network, and only what it lacks is drawn. See `samscope.models.Model`."""

TASK = {
    "label_noise": (0.0, 1.0),
    "train_size": (2, 10**9),
    "val_size": (0, 10**9),
    "split_seed": (0, 2**32 - 1),
    "smoothing": (0.0, 1.0),
}
"""What the numbers of a task may be."""


@dataclass(frozen=True)
class Budget:
    """How long a run is: in epochs or in steps, one of the two.

    Attributes:
        batch_size: samples per step; of a data set whose size shows only when it is read, a larger
            one takes all its samples, a full batch.
        drop_last: leave out the short last batch of an epoch.
        epochs: passes over the training samples; 0 where ``steps`` say how long.
        steps: updates of the weights; 0 where ``epochs`` do.
        report_every: with ``steps``: after how many there is a row of the history, a validation and
            a state to go on from; it divides them.
        report_per_decade: with ``steps``, in the place of ``report_every``: so many rows for every
            tenfold of steps, at powers of one factor, rounded.
    """

    batch_size: int
    drop_last: bool
    epochs: int = 0
    steps: int = 0
    report_every: int = 0
    report_per_decade: int = 0

    def __post_init__(self) -> None:
        within("budget", self, {"batch_size": (2, 10**6), "epochs": (0, 10**6)})
        within("budget", self, {"steps": (0, 10**9), "report_every": (0, 10**9)})
        within("budget", self, {"report_per_decade": (0, 1000)})
        if not (self.epochs or self.steps):
            allowed = "1 to 1000000, or steps in their place"
            raise InputError("budget", "epochs", self.epochs, allowed)
        for name in ("steps", "report_every", "report_per_decade"):
            if self.epochs and getattr(self, name):
                raise InputError("budget", name, getattr(self, name), "0, where there are epochs")
        if self.report_per_decade and self.report_every:
            allowed = "0, where report_per_decade says how often"
            raise InputError("budget", "report_every", self.report_every, allowed)
        if (
            self.steps
            and not self.report_per_decade
            and (not self.report_every or self.steps % self.report_every)
        ):
            allowed = f"a divisor of the {self.steps} steps, or report_per_decade in its place"
            raise InputError("budget", "report_every", self.report_every, allowed)

    @property
    def unit(self) -> str:
        """What the run is counted in: ``epoch`` or ``step``."""
        return "epoch" if self.epochs else "step"

    @property
    def length(self) -> int:
        """Of the run, in its unit."""
        return self.epochs or self.steps

    @property
    def ends(self) -> Sequence[int]:
        """Where the rows of its history end, in its unit.

        >>> Budget(20, False, steps=100, report_per_decade=4).ends
        (1, 2, 3, 6, 10, 18, 32, 56, 100)
        """
        if not self.report_per_decade:
            each = self.report_every or 1
            return range(each, self.length + 1, each)
        return _logarithmic(self.steps, self.report_per_decade)

    @property
    def ends_told(self) -> str:
        """The same but for the last, in a message."""
        if self.report_per_decade:
            return f"{', '.join(map(str, self.ends[:3]))}, ..., {self.ends[-2]}"
        each = self.report_every or 1
        if each > 1:
            return f"multiples of {each} to {self.length - each}"
        return f"1 to {self.length - 1}"

    @property
    def rows(self) -> int:
        """How many rows its history has."""
        return len(self.ends)


@dataclass(frozen=True)
class Numerics:
    """How a run is computed, which moves its numbers by rounding.

    Attributes:
        threads: CPU threads; results repeat bit for bit only for a fixed number.
        precision: one of `PRECISIONS`.
        compiled: whether the step goes through torch.compile: faster, with other rounding.
        nudge: by how much of itself every initial weight is changed at random, as rounding would:
            what such a run finds differently is not decided by a study of this size.
    """

    threads: int
    precision: str
    compiled: bool
    nudge: float = 0.0

    def __post_init__(self) -> None:
        within("numerics", self, {"threads": (1, 4096), "nudge": (0.0, 1.0)})
        if self.precision not in PRECISIONS:
            raise InputError("numerics", "precision", self.precision, ", ".join(PRECISIONS))


@dataclass(frozen=True)
class Cell:
    """One setting of all but the seed.

    Attributes:
        model: name in `samscope.models.MODELS`.
        task: what is learned.
        method: how the weights move.
        budget: how long.
        numerics: how it is computed.
        start: one of `STARTS`; ``seed`` too where a network has no smaller one to start from.
        pretraining: what its weights learned before; without, they are drawn.
        shown: leaves that its id shows beside variant, rho and condition: those in which a table
            departs from its paper's protocol, and those by which two papers' cells are told apart.
            No part of what it means.
    """

    model: str
    task: Task
    method: Method
    budget: Budget
    numerics: Numerics
    start: str = "seed"
    pretraining: Pretraining = field(default_factory=Pretraining)
    shown: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        takes = self.task.kind.inputs
        fitting = [name for name, model in models.MODELS.items() if model.takes == takes]
        if self.model not in fitting:
            raise InputError(
                "cell", "model", self.model, f"{', '.join(fitting)}, which take {takes}"
            )
        within("task", self.task, TASK)
        below = models.MODELS[self.model].smaller
        starts = STARTS if below is not None else STARTS[:1]
        if self.start not in starts:
            raise InputError(f"cell {self.model}", "start", self.start, ", ".join(starts))
        if not below:  # One meaning, one digest.
            object.__setattr__(self, "start", "seed")
        if self.pretraining.pretrain and self.pretraining.pretrain not in self.task.kind.data:
            read = f"{', '.join(self.task.kind.data)}, which the task {self.task.name} reads"
            raise InputError("pretraining", "pretrain", self.pretraining.pretrain, read)
        if self.method.ascent.pure:
            # torch.func goes through neither compiled code nor autocast.
            for name, allowed in (("compiled", (False,)), ("precision", ("float32", "tf32"))):
                if (value := getattr(self.numerics, name)) not in allowed:
                    words = f"{' or '.join(map(str, allowed))} with micro_batch or second_order"
                    raise InputError("cell", name, value, words)
        if self.method.enhancement.ire_kappa and self.task.loss not in losses.SMOOTHED:
            words = f"{', '.join(losses.SMOOTHED)} with ire_kappa, which draws labels"
            raise InputError("cell", "loss", self.task.loss, words)
        self.check_parts(self.task.train_size)

    def check_parts(self, samples: int | None) -> None:
        """Refuse a micro-batch that does not divide every mini-batch.

        The short last one among them: its parts would be means of unequal numbers of samples.

        Args:
            samples: to train on; None: not known yet.

        Raises:
            InputError: for such a micro-batch.
        """
        m, batch = self.method.ascent.micro_batch, self.budget.batch_size
        if m and batch % m:
            raise InputError("cell", "micro_batch", m, f"a divisor of the batch_size {batch}")
        short = 0 if samples is None or self.budget.drop_last else samples % batch
        if m and short % m:
            allowed = f"a divisor of the last batch's {short} samples too, or drop_last"
            raise InputError("cell", "micro_batch", m, allowed)

    @property
    def id(self) -> str:
        """Path below ``results/<profile>/runs``: ``model-data/variant/settings``."""
        flat = self.to_dict()
        named = [(name, flat[name]) for name in ("rho", "condition", *self.shown)]
        shown = [(k, digits(v) if isinstance(v, float) else v) for k, v in named if v is not None]
        settings = ",".join(f"{k}={v}" for k, v in shown)
        return f"{self.model}-{self.task.data}/{self.method.variant}/{settings or 'base'}"

    def digest(self, seed: int) -> str:
        """Hex SHA-256 of what the numbers of a run follow from, as canonical JSON.

        That is the leaves, the seed, and what the names of variant, model and data set stand for: a
        mix, an architecture or a mean that is edited makes other runs. A leaf at its default is
        left out, so that one that is added later leaves the runs without it as they are.
        """
        return _digest(self, seed)

    @property
    def origin(self) -> "Cell | None":
        """What its runs begin from; None where their weights are drawn.

        The same model by the optimizer alone, without validation samples, augmentation or wrong
        targets.
        """
        before = self.pretraining
        if not before.pretrain:
            return None
        return self.but(
            **_FRESH,
            **_ALONE,
            data=before.pretrain,
            train_size=before.pretrain_size,
            epochs=before.pretrain_epochs,
            lr=before.pretrain_lr,
            steps=0,
            report_every=0,
            report_per_decade=0,
            augment="none",
            label_noise=0.0,
            val_size=0,
            shown=(),
        )

    def needs(self, seed: int) -> tuple[tuple["Cell", int], ...]:
        """The run that it begins from; none where weights start from the seed."""
        if self.origin:
            return ((self.origin, seed),)
        if self.start == "seed":
            return ()
        return ((self.but(model=models.MODELS[self.model].smaller), seed),)

    def but(self, **changes: Any) -> "Cell":
        """The same cell with other values for some leaves, such as ``cell.but(rho=0.1)``.

        Raises:
            InputError: for an unknown leaf, or a value that it does not allow.
        """
        shown = changes.pop("shown", self.shown)
        return Cell.from_dict(self.to_dict() | changes, shown=shown)

    def to_dict(self) -> dict[str, Any]:
        """The leaves by name, ready for JSON."""
        return dict(_flat(self))

    @classmethod
    def from_dict(
        cls, flat: Mapping[str, Any], where: object = "cell", shown: tuple[str, ...] = ()
    ) -> "Cell":
        """The cell of a mapping of leaves by name; those at their default may be left out.

        Raises:
            InputError: for an unknown or a missing leaf, or a value outside its range.
        """
        return build(cls, flat, where, shown)


_FRESH = {name: default for name, (_, _, default) in leaves(Pretraining).items()}
_ALONE = {"variant": "sgd", "condition": None, **flatten(Ascent()), **flatten(Enhancement())}
"""Leaves of the optimizer alone."""

LEAVES = leaves(Cell)
"""The leaves of a cell by name: path, type, default."""

DEFAULTS = {name: default for name, (_, _, default) in LEAVES.items() if default is not MISSING}


@cache
def _logarithmic(last: int, per_decade: int) -> tuple[int, ...]:
    """Whole numbers from 1 to the last, so many of each tenfold."""
    count = math.ceil(per_decade * math.log10(last))
    found = {round(10 ** (place / per_decade)) for place in range(count)}
    return tuple(sorted({at for at in found if at < last} | {last}))


@cache
def _flat(cell: Cell) -> dict[str, Any]:
    return flatten(cell)


@cache
def _digest(cell: Cell, seed: int) -> str:
    # A leaf without a default is always written; MISSING equals no value.
    meant = {k: v for k, v in _flat(cell).items() if v != DEFAULTS.get(k, MISSING)}
    mix = cell.method.mix
    meaning = {
        **meant,
        "semantics": SEMANTICS,
        "seed": seed,
        "mix": [mix.table, mix.norms],
        "network": models.definition(cell.model),
        "source": data.definition(cell.task.data),
    }
    if cell.origin:
        meaning["origin"] = cell.origin.digest(seed)
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
