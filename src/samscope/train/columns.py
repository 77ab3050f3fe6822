"""What a step leaves, by name, and what a row of the history makes of it."""

from collections.abc import Sequence

from torch import Tensor

from samscope.optim.method import Method
from samscope.optim.mixes import REGIONS


def columns(scores: Sequence[str], method: Method) -> tuple[str, ...]:
    """What a step leaves, by name.

    The loss and the scores of its first pass, these summed over the samples; the norms of g and h;
    the parameters in each region. The last eight are 0 without an ascent. Of one of second order
    also the cosine between the gradients with and without what comes through e.
    """
    first = ("train_loss", *(f"train_{name}" for name in scores))
    names = (*first, "grad_norm", "perturbed_grad_norm", *REGIONS)
    return (*names, "second_order_cosine") if method.second_order else names


def means(names: Sequence[str], steps: Tensor, samples: int, ascends: bool) -> dict[str, float]:
    """The steps of a row, [steps, columns], by the names of the history's columns.

    Args:
        names: of the columns.
        steps: what each left.
        samples: of all steps together.
        ascends: whether the steps have a second pass.
    """
    sums = dict(zip(names, steps.sum(0).tolist(), strict=True))
    regions = {name: sums.pop(name) for name in REGIONS}
    perturbed = sums.pop("perturbed_grad_norm")
    of_steps = ("train_loss", "grad_norm", "second_order_cosine")
    found = {k: s / (len(steps) if k in of_steps else samples) for k, s in sums.items()}
    if ascends:
        found["perturbed_grad_norm"] = perturbed / len(steps)
        parameters = sum(regions.values())
        found |= {name: 100.0 * count / parameters for name, count in regions.items()}
    return found
