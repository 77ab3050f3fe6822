"""The engine against a plain loop on real images: ``python -m benchmarks.reference``.

Two copies of a user's loop (`baseline.SAM` around torch.optim.SGD, parameter by parameter) see the
batches that the engine sees. One goes its own way from the same start; the other is put where the
engine is before every step, so that it shows what a single step differs by. Some steps go before
in float64, where nothing hides behind rounding: in float32 the kinks of ReLU make much of 1e-7.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from itertools import chain, count, groupby, islice
from pathlib import Path

import torch
from benchmarks import baseline
from benchmarks.timing import machine, slug, stamp
from torch import Tensor, nn

from samscope import models, tasks
from samscope.errors import InputError
from samscope.optim.mixes import REGIONS
from samscope.seeding import make_deterministic
from samscope.spec import Cell
from samscope.store.provenance import has_gpu
from samscope.train.feed import Feed
from samscope.train.flat import views
from samscope.train.step import Learner

SETTINGS = {
    "data": "cifar100", "variant": "sam", "rho": 0.2, "condition": None,
    "epochs": 200, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "drop_last": False,
    "augment": "crop_flip_cutout", "label_noise": 0.0, "train_size": None, "val_size": 5000,
    "split_seed": 42, "threads": 1, "precision": "float32",
}  # fmt: skip
"""Of the geometry-SAM study, but for the precision, in which the two are comparable."""


class User:
    """A model in a user's loop: SGD with SAM's two passes around it."""

    def __init__(self, cell: Cell, model: nn.Module, device: torch.device) -> None:
        method = cell.method
        settings = {name: getattr(method, name) for name in ("lr", "momentum", "weight_decay")}
        self.model, self.device = model.to(device), device
        parameters = list(self.model.parameters())
        self.optimizer = baseline.SAM(
            parameters, torch.optim.SGD, rho=method.ascent.rho, **settings
        )

    def step(self, images: Tensor, labels: Tensor) -> float:
        """The loss before the step."""
        return baseline.train_epoch(self.model, [(images, labels)], self.optimizer, self.device)[0]

    def weights(self) -> Tensor:
        """All parameters as one vector [P]."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])

    def follow(self, model: nn.Module, momentum: Tensor) -> None:
        """Go to where another model is, with its momentum [P]."""
        self.model.load_state_dict(model.state_dict())
        parameters = list(self.model.parameters())
        for p, part in zip(parameters, views(momentum, parameters), strict=True):
            self.optimizer.base_optimizer.state[p]["momentum_buffer"] = part.clone()


def compare(
    cell: Cell, steps: int, data_dir: Path, dtype: torch.dtype
) -> list[dict[str, float | str]]:
    """Train as the engine and as the two users do; a row for each step.

    ``one_step`` and ``apart`` are distances of weights: of the engine from the user that began the
    step where it did, relative to the length of the step; and of the engine from the user that goes
    alone, relative to the distance from the start.
    """
    numerics = cell.numerics
    make_deterministic(numerics.threads)
    device = torch.device("cuda" if has_gpu() else "cpu")
    splits = tasks.load(cell.task, data_dir).to(device)
    ours, *others = (models.build(cell.model, *splits.sizes).to(dtype) for _ in range(3))
    size = cell.budget.batch_size
    learner = Learner(ours, size, numerics.precision, numerics.compiled, device)
    learner.begin(cell, others[0].state_dict())
    alone, beside = (User(cell, model, device) for model in others)
    feed = Feed(cell, 0, splits)
    batches = islice(chain.from_iterable(feed.training(epoch) for epoch in count()), steps)
    learner.model.train()
    origin, rows = alone.weights(), []
    for number, ((images,), labels) in enumerate(batches, 1):
        begin, images = time.perf_counter(), images.to(dtype)
        beside.follow(learner.model, learner.slots["momentum"])
        before = beside.weights()
        row = learner.step((images,), labels).tolist()
        ours = dict(zip(learner.columns, row, strict=True))
        losses = beside.step(images, labels), alone.step(images, labels)
        after = torch.cat([p.detach().flatten() for p in learner.model.parameters()])
        step, way = (after - before).norm(), (after - origin).norm()
        row = {
            "dtype": str(dtype).removeprefix("torch."),
            "step": number,
            "loss": ours["train_loss"],
            "loss_beside": losses[0],
            "loss_alone": losses[1],
            "one_step": ((after - beside.weights()).norm() / step).item(),
            "apart": ((after - alone.weights()).norm() / way).item(),
            **{name: 100 * ours[name] / len(after) for name in REGIONS},
        }
        rows.append(row)
        seconds = time.perf_counter() - begin
        print(
            f"{row['dtype']} step {number}/{steps} loss {row['loss']:.4f}"
            f" one step {row['one_step']:.1e} apart {row['apart']:.1e} {seconds:.1f} s",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write ``results/<machine>/reference.csv`` and ``.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="in float32")
    parser.add_argument("--exact", type=int, default=5, help="steps in float64 before them")
    parser.add_argument("--model", default="resnet18", choices=models.MODELS)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args(arguments)
    own = {"model": chosen.model, "batch_size": chosen.batch_size, "compiled": chosen.compiled}
    try:
        cell = Cell.from_dict({**SETTINGS, **own})
        exact = compare(cell, chosen.exact, chosen.data_dir, torch.float64)
        rows = exact + compare(cell, chosen.steps, chosen.data_dir, torch.float32)
    except InputError as error:
        print(f"benchmarks.reference: {error}", file=sys.stderr)
        return 2
    device = torch.device("cuda" if has_gpu() else "cpu")
    folder = chosen.out / slug(device)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "reference.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({k: v if isinstance(v, str) else f"{v:.6g}" for k, v in row.items()})
    (folder / "reference.md").write_text(_summary(cell, rows, device))
    print(folder / "reference.md")
    return 0


def _summary(cell: Cell, rows: list[dict[str, float | str]], device: torch.device) -> str:
    machines = ", ".join(f"{name} {value}" for name, value in machine(device).items())
    lines = [
        "# The engine and a plain loop, step by step",
        "",
        f"{machines}; commit {stamp(None)['commit']}.",
        "",
        f"Steps of {cell.method.variant}, rho {cell.method.ascent.rho}, {cell.model} on "
        f"{cell.task.data}, batch {cell.budget.batch_size}, with the study's augmentation. Every "
        "step is in `reference.csv`.",
        "",
        "| | steps | loss | one step from the same state, of its length: median, largest "
        "| loss from the same state: largest | each on its own: loss, weights at the end |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for dtype, group in groupby(rows, key=lambda row: row["dtype"]):
        part = list(group)
        one_step = sorted(row["one_step"] for row in part)
        beside, alone = (
            max(abs(row["loss"] - row[name]) for row in part)
            for name in ("loss_beside", "loss_alone")
        )
        lines.append(
            f"| {dtype} | {len(part)} | {part[0]['loss']:.3f} to {part[-1]['loss']:.3f} "
            f"| {one_step[len(part) // 2]:.1e}, {one_step[-1]:.1e} | {beside:.1e} "
            f"| {alone:.1e}, {part[-1]['apart']:.1e} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
