"""Label noise: the targets that a run trains on."""

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.seeding import stream
from samscope.tasks.samples import Splits


def training_targets(splits: Splits, label_noise: float, seed: int) -> Tensor:
    """The targets a run trains on: of classes a share wrong, the same for every variant.

    Exactly ``round(label_noise * N)`` classes, drawn from the stream (seed, "label_noise"), are
    replaced by a uniformly random other one. Validation and test targets stay true.

    Raises:
        InputError: for a share of targets that are no classes [N].
    """
    true, classes = splits.train.targets, splits.facts.get("classes")
    if not label_noise:
        return true
    if classes is None or true.ndim > 1:
        raise InputError("task", "label_noise", label_noise, "0.0, for targets that are no classes")
    random = stream(seed, "label_noise")
    count = round(label_noise * len(true))
    chosen = torch.randperm(len(true), generator=random)[:count]
    shift = torch.randint(1, classes, (count,), generator=random)
    targets = true.cpu().clone()
    targets[chosen] = (targets[chosen] + shift) % classes
    return targets.to(true.device)
