"""m-sharpness of trained weights, and the generalisation gap that it is to foretell.

See `samscope.measure.micro`. The gap is that of the loss that training lowers: of test samples
whose targets are as often wrong as those that were trained on, in expectation, less that of the
training samples. Importable without torch.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from samscope import data
from samscope.config.typed import Check, Count, Positive
from samscope.errors import InputError
from samscope.metrics import M
from samscope.spec import Cell
from samscope.stages import trained
from samscope.stages.of_weights import of_weights
from samscope.stages.run import Run

if TYPE_CHECKING:
    from torch import nn

    from samscope.tasks.samples import Splits


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured.
        seeds: how many of a cell's.
        images: training inputs of the fixed sample.
        rho: radius.
        m: by the m of the paper, that which is measured here.
        epochs: at which it is measured, beside the last.

    Raises:
        InputError: for an m that does not divide the images.
    """

    where: dict[str, Any]
    seeds: Count
    images: Count
    rho: Positive
    m: Annotated[
        dict[int, Count], Check(lambda m: bool(m) and set(m) <= set(M), f"some of {M}, and numbers")
    ]
    epochs: Annotated[
        tuple[Count, ...], Check(lambda e: len(set(e)) == len(e), "epochs from 1, each once")
    ] = field(default=())

    def __post_init__(self) -> None:
        for m in self.m.values():
            if self.images % m:
                allowed = f"a divisor of the {self.images} images"
                raise InputError("stages.m_sharpness", "m", m, allowed)

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The first of them."""
        return planned[: self.seeds]

    def used(self) -> dict[str, Any]:
        """What decides the numbers, and the epochs at which they are taken."""
        held = {k: v for k, v in asdict(self).items() if k not in ("where", "seeds")}
        # Keys as JSON has them.
        return held | {"m": {str(k): m for k, m in self.m.items()}, "epochs": sorted(self.epochs)}


def unfit(cell: Cell) -> str:
    """What is allowed in the place of a cell whose targets are no classes."""
    source = data.SOURCES[cell.task.data]
    fits = "classes" in source.facts and source.arrays
    return "" if fits else "cells whose targets are classes, of samples in memory"


def measured(run: Run[Cell], model: "nn.Module", splits: "Splits") -> dict[str, float]:
    """``train_loss``, ``test_loss`` with targets as often wrong, and ``m_sharpness_<m>``."""
    import torch

    from samscope import tasks
    from samscope.losses import loss
    from samscope.measure.micro import m_sharpness, noised_loss

    task, settings = run.spec.task, run.settings
    mean, total = (loss(task.loss, task.smoothing, by) for by in ("mean", "sum"))
    inputs, targets = trained.sample(run.spec, splits, len(splits.train), run.seed)
    seen = tasks.module(task.name).prepare(splits, splits.test.inputs, None)
    classes, share = int(splits.facts["classes"]), task.label_noise
    model.eval()
    with torch.inference_mode():
        train = sum(total(model(*x), y).double() for x, y in trained.batches(inputs, targets))
        parts = trained.batches(seen, splits.test.targets)
        test = sum(noised_loss(total, model(*x), y, classes, share).double() for x, y in parts)
    found = {
        "train_loss": float(train) / len(targets),
        "test_loss": float(test) / len(splits.test),
    }
    images = settings["images"]
    sample = tuple(tensor[:images] for tensor in inputs), targets[:images]
    for name, m in settings["m"].items():
        found[f"m_sharpness_{name}"] = m_sharpness(model, mean, sample, m, settings["rho"])
    return found


STAGE = of_weights("m_sharpness", Settings, measured, unfit)
