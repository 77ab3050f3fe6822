"""When a run has learned: the steps at which accuracies first are high, the delay between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from samscope.spec import Cell

LEARNED = {
    "train_95_step": ("train", 95.0),
    "held_out_50_step": ("held_out", 50.0),
    "held_out_90_step": ("held_out", 90.0),
}
"""By name: of which samples, and the accuracy, in percent."""


def steps(history: Sequence[Mapping[str, Any]], cell: Cell) -> dict[str, float]:
    """The steps of `LEARNED`, and ``delay``, the last of them over the first.

    A step is that of the first row of the history that is so good. What never is counts as the
    length of the run: it is at least so late. Held out is the validation set, or the test set where
    there is none.

    Args:
        history: rows of a run.
        cell: its setting; one without a budget in steps, or without accuracies, has none of these.
    """
    if not cell.budget.steps or "acc_percent" not in cell.task.kind.scores:
        return {}
    parts = {"train": "train", "held_out": "val" if cell.task.val_size else "test"}
    found: dict[str, float] = {}
    for name, (part, percent) in LEARNED.items():
        column = f"{parts[part]}_acc_percent"
        reached = (row["step"] for row in history if row[column] >= percent)
        found[name] = next(reached, cell.budget.length)
    return {**found, "delay": found["held_out_90_step"] / found["train_95_step"]}
