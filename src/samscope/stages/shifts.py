"""Loss and accuracy of trained weights on test images that are shifted, noisy or pale.

Beside them those of the test images and of the training images as they are, these with the targets
that the run was trained on: at one training loss, which weights lose less? Importable without
torch.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from samscope.config.typed import Check, Count, among
from samscope.spec import Cell
from samscope.stages import trained
from samscope.stages.of_weights import of_weights
from samscope.stages.run import Run
from samscope.tasks.shifts import SHIFTS

if TYPE_CHECKING:
    from torch import nn

    from samscope.tasks.samples import Splits


@dataclass(frozen=True)
class Settings:
    """What a profile says of it for a paper.

    Attributes:
        where: leaves of the cells that are measured.
        seeds: how many of a cell's.
        shifts: names of `samscope.tasks.shifts.SHIFTS`.
        epochs: at which it is measured, beside the last.
    """

    where: dict[str, Any]
    seeds: Count
    shifts: Annotated[tuple[Annotated[str, among(SHIFTS)], ...], Check(bool, "a list of shifts")]
    epochs: Annotated[
        tuple[Count, ...], Check(lambda e: len(set(e)) == len(e), "epochs from 1, each once")
    ] = field(default=())

    def seeds_of(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """The first of them."""
        return planned[: self.seeds]

    def used(self) -> dict[str, Any]:
        """What decides the numbers, and the epochs at which they are taken."""
        held = asdict(self)
        return {"shifts": sorted(self.shifts), "epochs": sorted(held["epochs"])}


def unfit(cell: Cell) -> str:
    """What is allowed in the place of a cell that has no images in memory."""
    return "" if cell.task.name == "images" else "cells of the task images"


def measured(run: Run[Cell], model: "nn.Module", splits: "Splits") -> dict[str, float]:
    """``<set>_loss`` and ``<set>_acc_percent``: of ``train``, ``clean`` and each shift.

    A shift is the same for all runs that share a split. It may give several versions of an image,
    over which the mean is taken.
    """
    from samscope import tasks
    from samscope.seeding import stream
    from samscope.train.engine import evaluate

    task, (raw,) = run.spec.task, splits.test.inputs
    found: dict[str, float] = {}
    sets = {"train": trained.sample(run.spec, splits, len(splits.train), run.seed)}
    images = {"clean": raw[None].float()}
    for name in run.settings["shifts"]:
        random = stream(task.split_seed, "shifts", name)
        images[name] = SHIFTS[name](raw.float(), float(splits.facts["scale"]), random)
    for name, versions in images.items():
        inputs = tasks.module(task.name).prepare(splits, (versions.flatten(0, 1),), None)
        sets[name] = inputs, splits.test.targets.repeat(len(versions))
    for name, (inputs, targets) in sets.items():
        scores = evaluate(model, trained.batches(inputs, targets), task)
        found |= {f"{name}_{score}": value for score, value in scores.items()}
    return found


STAGE = of_weights("shifts", Settings, measured, unfit)
