"""What is trained in the benchmarks, how much of it, and the engine set up for it."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from benchmarks.timing import Contestant
from torch import Tensor, nn

from samscope import models, tasks
from samscope.seeding import make_deterministic
from samscope.spec import Cell
from samscope.tasks import images
from samscope.tasks.samples import Samples, Splits
from samscope.train.step import Learner


@dataclass(frozen=True)
class Problem:
    """A model and its images: scikit-learn's digits for the CNNs, else random 32 x 32 colour ones.

    Attributes:
        model: name in `samscope.models.MODELS`.
        batch: images of a step.
        images: of an epoch.
        precision: that the engine trains it in.
    """

    model: str
    batch: int
    images: int
    precision: str

    @property
    def on_digits(self) -> bool:
        """Whether the quick profile's images serve, without augmentation."""
        return self.model.startswith("cnn")

    def __str__(self) -> str:
        images = "digits" if self.on_digits else "random 32x32x3"
        return f"{self.model}, batch {self.batch}, {images}"


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        note: what the tables say about it.
        rounds: of every contest, at least 5 for a number that is to be believed.
        compiled: whether torch.compile takes part.
        workers: of the user's DataLoader.
        problems: those whose throughput counts, the first of them also for runs and upkeep.
        peaks: those whose share of the matrix peak is measured.
        product: rows of the square matrices whose product is the peak.
        batches: batch sizes of the first problem.
        models: over which the cost of a step is followed.
        update: network whose parameters the update moves.
        epoch: images of the epoch that upkeep is compared with.
        validation: images after it.
    """

    note: str
    rounds: int
    compiled: bool
    workers: int
    problems: tuple[Problem, ...]
    peaks: tuple[Problem, ...]
    product: int
    batches: tuple[int, ...]
    models: tuple[Problem, ...]
    update: str
    epoch: int
    validation: int

    @property
    def engines(self) -> tuple[bool, ...]:
        """Whether compiled: the ways the engine is measured."""
        return (False, True) if self.compiled else (False,)


_RN18 = Problem("resnet18", 256, 88 * 256, "bf16")
_WRN = Problem("wrn28_10", 256, 2 * 256, "bf16")
_QUICK = Problem("cnn3", 60, 600, "float32")
_RESNET8 = Problem("resnet8_w8", 128, 4 * 128, "float32")

SIZES = {
    "gpu": Size(
        note="The paper's models and batches; random images in place of CIFAR-100's.",
        rounds=5,
        compiled=True,
        workers=4,
        problems=(_RN18,),
        peaks=(_RN18, _WRN),
        product=8192,
        batches=(64, 256, 1024),
        models=(_RN18, Problem("resnet34", 256, 512, "bf16"), _WRN),
        update="resnet18",
        epoch=45_000,
        validation=5_000,
    ),
    "cpu": Size(
        note="Reduced for a CPU: one thread, float32, the quick profile's model and a small "
        "ResNet; random images in place of CIFAR-100's.",
        rounds=7,
        compiled=True,
        workers=0,
        problems=(_QUICK, _RESNET8),
        peaks=(_QUICK, _RESNET8, Problem("resnet18", 16, 16, "float32")),
        product=2048,
        batches=(15, 60, 240, 960),
        models=(_QUICK, _RESNET8, Problem("resnet18", 16, 16, "float32")),
        update="resnet18",
        epoch=600,
        validation=400,
    ),
    "tiny": Size(
        note="Too small to mean anything: a test of the program.",
        rounds=2,
        compiled=False,
        workers=0,
        problems=(Problem("cnn3", 20, 60, "float32"), Problem("resnet8_w8", 4, 8, "bf16")),
        peaks=(Problem("cnn3", 20, 60, "float32"),),
        product=64,
        batches=(4, 8),
        models=(Problem("cnn3", 20, 60, "float32"),),
        update="cnn3",
        epoch=60,
        validation=40,
    ),
}
"""`gpu` and `cpu` are chosen by the device."""


def cell(
    problem: Problem,
    variant: str = "sam",
    compiled: bool = False,
    precision: str | None = None,
    epochs: int | None = None,
) -> Cell:
    """The setting of a problem: the quick profile's for the digits, else the paper's."""
    digits = problem.on_digits
    leaves = {
        "model": problem.model,
        "data": "digits" if digits else "cifar100",
        "variant": variant,
        "epochs": epochs or (9 if digits else 200),
        "batch_size": problem.batch,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4 if digits else 1e-3,
        "drop_last": False,
        "augment": "none" if digits else "crop_flip_cutout",
        "label_noise": 0.4 if digits else 0.0,
        "train_size": problem.images,
        "val_size": 400 if digits else 0,
        "split_seed": 42,
        "threads": 1,
        "precision": precision or problem.precision,
        "compiled": compiled,
        "rho": None if variant == "sgd" else 0.2,
    }
    return Cell.from_dict(leaves, "benchmarks")


@cache
def data(problem: Problem, validation: int, device: torch.device) -> Splits:
    """A problem's images, and a number of them to validate with, on the device."""
    if problem.on_digits:
        with tempfile.TemporaryDirectory() as folder:
            whole = tasks.load(cell(problem).task, folder)
        return replace(whole, val=whole.val[:validation]).to(device)
    random = torch.Generator().manual_seed(0)
    parts = []
    for count in (problem.images, validation, 0):
        pixels = (count, 3, 32, 32)
        drawn = torch.randint(0, 256, pixels, dtype=torch.uint8, generator=random)
        parts.append(Samples((drawn,), torch.randint(0, 100, (count,), generator=random)))
    facts = images.constants("cifar100") | {"augment": cell(problem).task.augment}
    return Splits(*parts, shape(problem), facts).to(device)


def shape(problem: Problem) -> tuple[int, int]:
    """Classes and channels of a problem's images."""
    return (10, 1) if problem.on_digits else (100, 3)


def network(problem: Problem) -> nn.Module:
    """A problem's model with the initial weights of seed 0, on the CPU."""
    return models.build(problem.model, *shape(problem))


@cache
def learner(problem: Problem, compiled: bool, device: torch.device) -> Learner:
    """The engine's step for a problem, compiled and recorded, shared by all sections."""
    begin = time.perf_counter()
    taught = Learner(network(problem), problem.batch, problem.precision, compiled, device)
    first = steps(problem, taught)
    first.prepare()
    first.run()
    how = "compiled" if compiled else "eager"
    print(f"  {problem}, {problem.precision}, {how}: first step after", end=" ")
    print(f"{time.perf_counter() - begin:.1f} s", flush=True)
    return taught


def batch(problem: Problem, device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch of random normalised images and classes."""
    random = torch.Generator().manual_seed(1)
    classes, channels = shape(problem)
    side = 8 if problem.on_digits else 32
    drawn = torch.randn(problem.batch, channels, side, side, generator=random)
    labels = torch.randint(0, classes, (problem.batch,), generator=random)
    return drawn.to(device), labels.to(device)


def steps(
    problem: Problem,
    taught: Learner,
    variant: str = "sam",
    settings: Callable[[], None] | None = None,
    count: int = 0,
) -> Contestant:
    """The engine's step on one batch, each round from the initial weights.

    Args:
        problem: of the learner.
        taught: the learner.
        variant: of the step.
        settings: of torch; left out, the engine's own.
        count: of steps in a round, see `Contestant`.
    """
    inputs, labels = batch(problem, taught.device)
    start = network(problem).state_dict()
    setting = cell(problem, variant, precision=taught.precision)

    def prepare() -> None:
        (settings or repeatable)()
        taught.begin(setting, start)
        taught.model.train()

    return Contestant(lambda: taught.step((inputs,), labels), prepare, count)


def repeatable() -> None:
    """The engine's settings of torch."""
    make_deterministic(1)


def as_users_have_it() -> None:
    """Torch's own settings, with the search for the fastest convolution that users turn on."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
