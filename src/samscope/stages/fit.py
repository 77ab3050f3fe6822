"""Fitting random features: from a fit and a seed to errors, losses and a norm; nothing is trained.

Importable without torch.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from samscope.config.typed import between
from samscope.errors import InputError
from samscope.spec import Fit
from samscope.stages.bench import Bench
from samscope.stages.numbers import of_numbers
from samscope.stages.run import Run
from samscope.store.recorded import Number

if TYPE_CHECKING:
    from torch import Tensor

    from samscope.tasks.samples import Samples

COPIES = 3
"""Of the features of all training samples, how many a fit holds: they, a factor, what makes it."""


def numbers(run: Run[Fit], bench: Bench) -> dict[str, float | int]:
    """What is recorded of a run.

    Returns:
        ``features``, their number N; ``norm``, that of the coefficients of all classes; and of
        training samples, with their noise, and of test samples ``loss``, the squared one, a sum
        over classes, mean over samples, and ``error_percent``, of the class of largest output.

    Raises:
        InputError: for more features than memory, or data that cannot be used.
    """
    import torch

    from samscope.measure.features import directions, fourier, least_norm
    from samscope.seeding import make_deterministic
    from samscope.tasks.noise import training_targets

    fit, n = run.spec, run.spec.train_size
    check_memory(fit, memory(bench))
    make_deterministic(threads=1)
    splits = bench.splits(fit.task)
    x = _pixels(splits.train, splits.facts["scale"])
    labels = training_targets(splits, fit.label_noise, run.seed)
    v = directions(run.seed, fit.count // 2, x.shape[1], fit.scale, fit.mean).to(x.device)
    classes = torch.eye(splits.facts["classes"], dtype=x.dtype, device=x.device)
    a = least_norm(fourier(x, v), classes[labels])

    def scored(x: "Tensor", labels: "Tensor") -> tuple[float, float]:
        # In parts of n samples: the features of all test samples may need more memory than the fit.
        outputs = torch.cat([fourier(part, v) @ a for part in x.split(n)])
        loss = (outputs - classes[labels]).square().sum(1).mean()
        wrong = outputs.argmax(1) != labels
        return loss.item(), 100 * wrong.double().mean().item()

    train_loss, train_error = scored(x, labels)
    test_loss, test_error = scored(_pixels(splits.test, splits.facts["scale"]), splits.test.targets)
    return {
        "features": fit.count,
        "norm": a.norm().item(),
        "train_loss": train_loss,
        "train_error_percent": train_error,
        "test_loss": test_loss,
        "test_error_percent": test_error,
    }


def check_memory(fit: Fit, available: int) -> None:
    """Refuse a fit whose features do not fit.

    Args:
        fit: of which.
        available: bytes.

    Raises:
        InputError: naming the largest width that does.
    """
    most = available / (8 * COPIES * fit.train_size**2)
    if fit.width > most:
        held = f"{fit.train_size} samples in {available / 2**30:.1f} GiB of memory"
        raise InputError("fit", "width", fit.width, f"at most {most:.3g}, of {held}")


def memory(bench: Bench) -> int:
    """Bytes of the device that fits are made on."""
    import torch

    if bench.device.type == "cuda":
        return torch.cuda.mem_get_info(bench.device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _pixels(samples: "Samples", scale: float) -> "Tensor":
    """Images as rows of float64 pixels from 0 to 1, as they are: neither centred nor scaled."""
    return samples.inputs[0].double().flatten(1) / scale


Percent = Annotated[float, between(0, 100, "a percentage")] | None


@dataclass(frozen=True)
class Recorded:
    """What the record of a run holds: see `numbers`."""

    code: str
    features: int
    norm: Number
    train_loss: Number
    train_error_percent: Percent
    test_loss: Number
    test_error_percent: Percent


STAGE = of_numbers("fit", Fit, "fit.json", Recorded, numbers)
