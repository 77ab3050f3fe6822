"""The engine against a plain loop on real images: ``python -m benchmarks.reference``.

Two copies of a user's loop (`baseline.SAM` around torch.optim.SGD, parameter by parameter) see the
batches that the engine sees. One goes its own way from the same start; the other is put where the
engine is before every step, so that it shows what a single step differs by. Neither difference may
be more than rounding: the first grows, as rounding does in training, the second must not.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from itertools import chain, count, islice
from pathlib import Path

import torch
from benchmarks import baseline
from benchmarks.timing import machine, slug, stamp
from torch import Tensor, nn

from samscope import models
from samscope.data import load
from samscope.data.feed import Feed
from samscope.errors import InputError
from samscope.optim.mixes import REGIONS
from samscope.provenance import has_gpu
from samscope.seeding import make_deterministic
from samscope.spec import Cell
from samscope.train.step import COLUMNS, make_learner

SETTINGS = {
    "paper": "geometry_sam", "data": "cifar100", "variant": "sam", "rho": 0.2, "condition": None,
    "epochs": 200, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "drop_last": False,
    "augment": "crop_flip_cutout", "label_noise": 0.0, "train_size": None, "val_size": 5000,
    "split_seed": 42, "threads": 1, "precision": "float32", "varied": "",
}  # fmt: skip
"""Of the geometry-SAM study, but for the precision, in which the two are comparable."""


class User:
    """A model in a user's loop: SGD with SAM's two passes around it."""

    def __init__(self, cell: Cell, model: nn.Module, device: torch.device) -> None:
        settings = {"lr": cell.lr, "momentum": cell.momentum, "weight_decay": cell.weight_decay}
        self.model, self.device = model.to(device), device
        parameters = list(self.model.parameters())
        self.optimizer = baseline.SAM(parameters, torch.optim.SGD, rho=cell.rho, **settings)

    def step(self, images: Tensor, labels: Tensor) -> float:
        """The loss before the step."""
        return baseline.train_epoch(self.model, [(images, labels)], self.optimizer, self.device)[0]

    def weights(self) -> Tensor:
        """All parameters as one vector [P]."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])

    def follow(self, model: nn.Module, momentum: Tensor) -> None:
        """Go to where another model is, with its momentum [P]."""
        self.model.load_state_dict(model.state_dict())
        parts = momentum.split([p.numel() for p in self.model.parameters()])
        for p, part in zip(self.model.parameters(), parts, strict=True):
            self.optimizer.base_optimizer.state[p]["momentum_buffer"] = part.view_as(p).clone()


def compare(cell: Cell, steps: int, data_dir: Path) -> list[dict[str, float]]:
    """Train as the engine and as the two users do; a row for each step.

    ``one_step`` and ``apart`` are distances of weights: of the engine from the user that began the
    step where it did, relative to the length of the step; and of the engine from the user that goes
    alone, relative to the distance from the start.
    """
    make_deterministic(cell.threads)
    device = torch.device("cuda" if has_gpu() else "cpu")
    data = load(cell, data_dir).to(device)
    learner = make_learner(cell, 0, data)
    start = learner.model.state_dict()
    users = []
    for _ in range(2):
        model = models.build(cell.model, data.num_classes, data.channels, 0)
        model.load_state_dict(start)
        users.append(User(cell, model, device))
    alone, beside = users
    feed = Feed(cell, 0, data)
    batches = islice(chain.from_iterable(feed.training(epoch) for epoch in count()), steps)
    learner.model.train()
    origin, rows = alone.weights(), []
    for number, (images, labels) in enumerate(batches, 1):
        begin = time.perf_counter()
        beside.follow(learner.model, learner.momentum)
        before = beside.weights()
        ours = dict(zip(COLUMNS, learner.step(images, labels).tolist(), strict=True))
        losses = beside.step(images, labels), alone.step(images, labels)
        # The engine keeps its parameters channels-last in memory; by name they are the users'.
        after = torch.cat([p.detach().flatten() for p in learner.model.parameters()])
        step, way = (after - before).norm(), (after - origin).norm()
        row = {
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
            f"step {number}/{steps} loss {row['loss']:.4f} one step {row['one_step']:.1e}"
            f" apart {row['apart']:.1e} {seconds:.1f} s",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and write ``results/<machine>/reference.csv`` and ``.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--model", default="resnet18", choices=models.NAMES)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args(arguments)
    own = {"model": chosen.model, "batch_size": chosen.batch_size, "compiled": chosen.compiled}
    try:
        cell = Cell.from_dict({**SETTINGS, **own})
        rows = compare(cell, chosen.steps, chosen.data_dir)
    except InputError as error:
        print(f"benchmarks.reference: {error}", file=sys.stderr)
        return 2
    device = torch.device("cuda" if has_gpu() else "cpu")
    folder = chosen.out / slug(device)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "reference.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in rows)
    (folder / "reference.md").write_text(_summary(cell, rows, device))
    print(folder / "reference.md")
    return 0


def _summary(cell: Cell, rows: list[dict[str, float]], device: torch.device) -> str:
    one_step = sorted(row["one_step"] for row in rows)
    beside = max(abs(row["loss"] - row["loss_beside"]) for row in rows)
    alone = max(abs(row["loss"] - row["loss_alone"]) for row in rows)
    machines = ", ".join(f"{name} {value}" for name, value in machine(device).items())
    first, last = rows[0], rows[-1]
    lines = [
        "# The engine and a plain loop, step by step",
        "",
        f"{machines}; commit {stamp(None)['commit']}.",
        "",
        f"{len(rows)} steps of {cell.variant}, rho {cell.rho}, {cell.model} on {cell.data}, batch "
        f"{cell.batch_size}, {cell.precision}, with the study's augmentation; the loss went from "
        f"{first['loss']:.3f} to {last['loss']:.3f}. Every step is in `reference.csv`.",
        "",
        "| difference | median | largest |",
        "| --- | --- | --- |",
        f"| one step from the same state, of its length | {one_step[len(rows) // 2]:.1e} "
        f"| {one_step[-1]:.1e} |",
        f"| loss from the same state | | {beside:.1e} |",
        f"| loss, each on its own way | | {alone:.1e} |",
        f"| weights after the last step, each on its own way, of the way | | {last['apart']:.1e} |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
