"""What the precision of the passes changes: which region an element is in, the regions' shares."""

from itertools import islice

import torch
from benchmarks import problem
from benchmarks.problem import Problem, Size
from benchmarks.timing import Findings, Table
from torch import Tensor

from samscope.optim.mixes import REGIONS
from samscope.optim.ratio import count, regions
from samscope.seeding import stream
from samscope.tasks import images
from samscope.train.feed import Feed
from samscope.train.step import Learner

STEPS = 20
"""Of training before the second comparison."""

Gradients = tuple[Tensor, Tensor]
"""g and h of all parameters, on the CPU."""


def precision(size: Size, device: torch.device) -> Findings:
    """Regions of one batch in every precision against float64, before and after some steps."""
    problem.repeatable()
    rows = []
    for task in size.problems:
        for moment, weights in _moments(task, device).items():
            where = f"{task}, {moment}"
            exact = _gradients(task, "float64", weights, device)
            rows += [
                _compare(where, name, exact, _gradients(task, name, weights, device))
                for name in ("float32", "tf32", "bf16")
                if name != "tf32" or device.type == "cuda"
            ]
            if device.type == "cpu":
                missing = "not measured (needs a GPU)"
                rows.append({"model": where, "precision": "tf32", "% that change region": missing})
    title = "Elements of one SAM step in another region than in float64"
    note = "A tie is an element with |h| = |g|; eager passes. "
    return Findings([Table(title, rows, note + size.note), _augmentation(device)])


def _moments(task: Problem, device: torch.device) -> dict[str, dict[str, Tensor]]:
    """State dicts at the start and after `STEPS` steps of SAM in float32."""
    taught = Learner(problem.network(task), task.batch, "float32", False, device)
    start = problem.network(task).state_dict()
    setting = problem.cell(task, precision="float32")
    taught.begin(setting, start)
    feed = Feed(setting, 0, problem.data(task, 0, device))
    for epoch in range(-(-STEPS * task.batch // task.images)):
        left = STEPS - epoch * (task.images // task.batch)
        for inputs, labels in islice(feed.training(epoch), left):
            taught._step(inputs, labels)
    after = {name: value.clone() for name, value in taught.model.state_dict().items()}
    return {"start": start, f"after {STEPS} steps": after}


def _gradients(
    task: Problem, name: str, weights: dict[str, Tensor], device: torch.device
) -> Gradients:
    """Of the engine's step on the first batch."""
    exact = name == "float64"
    model = problem.network(task)
    setting = problem.cell(task, precision="float32" if exact else name)
    taught = Learner(
        model.double() if exact else model, task.batch, setting.numerics.precision, False, device
    )
    taught.begin(setting, weights)
    taught.model.train()
    (drawn,), labels = next(Feed(setting, 0, problem.data(task, 0, device)).training(0))
    taught._step((drawn.double() if exact else drawn,), labels)
    return taught._g.cpu(), taught._h.cpu()


def _compare(where: str, name: str, exact: Gradients, found: Gradients) -> dict[str, float | str]:
    true, codes = regions(*exact), regions(*found)
    shares, true_shares = (100 * count(c).double() / len(c) for c in (codes, true))
    moved = (shares - true_shares)[:4].abs()
    named = dict(zip(REGIONS, shares.tolist(), strict=True))
    error = (found[0] - exact[0]).norm() / exact[0].norm()
    return {
        "model": where,
        "precision": name,
        "% that change region": 100 * (codes != true).double().mean().item(),
        "largest change of a region's share, points": moved.max().item(),
        "that region": REGIONS[int(moved.argmax())],
        "% ties": named["tie"],
        "% zeros": named["zero"],
        "relative error of g": error.item(),
    }


def _augmentation(device: torch.device) -> Table:
    """Whether the device makes the images that the CPU makes, from the same draws."""
    title = "Augmented images of the GPU against the CPU's"
    if device.type != "cuda":
        return Table(title, [{"images": "not measured (needs a GPU)"}])
    task = Problem("resnet18", 256, 2048, "float32")
    here, there = (problem.data(task, 0, d) for d in (torch.device("cpu"), device))
    draws = images.draw(here, task.images, stream(0, "augment", 0))
    (expected,) = images.prepare(here, here.train.inputs, draws)
    found = images.prepare(there, there.train.inputs, draws.to(device))[0].cpu()
    row = {
        "images": task.images,
        "equal to the bit": str(torch.equal(found, expected)),
        "largest difference": (found - expected).abs().max().item(),
    }
    return Table(title, [row])
