"""Images a second of SAM: the loops a user would write against the engine."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from benchmarks import baseline, problem
from benchmarks.limits import flops, product
from benchmarks.problem import Problem, Size
from benchmarks.timing import Contestant, Findings, Goal, Table, Times, interleave, ratio, spread
from torch import Tensor

from samscope.tasks.images import prepare
from samscope.tasks.samples import Splits
from samscope.train import engine
from samscope.train.feed import Feed
from samscope.train.step import Learner

USER = "user: DataLoader, float32"
LIMIT = "limit: the operations at a large product's rate"


class Ungraphed(Learner):
    """A learner that launches a step's kernels one by one also where it could replay a graph."""

    def _replay(self, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        return self._step(inputs, targets)


def throughput(size: Size, device: torch.device) -> Findings:
    """Whole epochs of SAM: data, augmentation, steps, metrics."""
    tables, best = [], {}
    for task in size.problems:
        # Ours first: a graph cannot be recorded beside the threads of a user's DataLoader.
        ours = _ours(task, size, device)
        contestants = {**_users(task, size, device), **ours}
        contestants[LIMIT] = product(size.product, task.precision, device)
        times = interleave(contestants, size.rounds, device)
        times[LIMIT] = _epoch(task, size, times[LIMIT])
        rows = [
            {
                "loop": name,
                "images/s": spread([task.images / seconds for seconds in taken.seconds]),
                "s an epoch": spread(taken.seconds),
                "wall s an epoch": spread(taken.wall),
                "times the user's": ratio(times[USER], taken),
            }
            for name, taken in times.items()
        ]
        title = f"SAM, {task}: epochs of {task.images} images, {size.workers} loading processes"
        tables.append(Table(title, rows, size.note))
        best[task.model] = max(ratio(times[USER], times[name])["median"] for name in ours)
    aim = "images/s, the engine against the user's DataLoader loop"
    return Findings(
        tables,
        [
            Goal(f"{aim}: resnet18 on a GPU", 10, best.get("resnet18"), at_least=True),
            Goal(f"{aim}: cnn3 on a CPU", 1.5, best.get("cnn3"), at_least=True, needs="a CPU"),
        ],
    )


def _epoch(task: Problem, size: Size, product: Times) -> Times:
    """What the operations of an epoch's passes would take at the rate of a product."""
    products = 2 * task.images * flops(task) / (2 * size.product**3)
    return Times(*(tuple(products * s for s in times) for times in vars(product).values()))


def _users(task: Problem, size: Size, device: torch.device) -> dict[str, Contestant]:
    """The loops a user would write, by name."""
    images = problem.data(task, 0, torch.device("cpu"))
    feed, facts = Feed(problem.cell(task), 0, images), images.facts
    (pixels,) = images.train.inputs
    if task.on_digits:
        constants = (facts[name] for name in ("scale", "mean", "std"))
        one_by_one = baseline.digits(pixels, feed.targets, *constants)
        (ready,) = prepare(images, images.train.inputs, None)
        resident = baseline.Resident(ready.to(device), feed.targets.to(device), task.batch)
        return {
            USER: _user(task, baseline.loader(one_by_one, task.batch, size.workers, False), device),
            "user: slices of resident tensors, float32": _user(task, resident, device),
        }
    one_by_one = baseline.photographs(
        pixels.permute(0, 2, 3, 1).contiguous().numpy(),
        feed.targets,
        facts["mean"].flatten().tolist(),
        facts["std"].flatten().tolist(),
    )
    plain, careful = (
        baseline.loader(one_by_one, task.batch, size.workers, keep) for keep in (False, True)
    )
    return {
        USER: _user(task, plain, device),
        f"user: DataLoader, {task.precision}, channels last": _user(task, careful, device, True),
    }


def _user(
    task: Problem, batches: Iterable, device: torch.device, careful: bool = False
) -> Contestant:
    """An epoch of a user's loop; the careful one's uses channels last and, if the engine, bf16."""
    method = problem.cell(task).method
    start = problem.network(task).state_dict()
    model = problem.network(task).to(device)
    if careful:
        model = model.to(memory_format=torch.channels_last)
    autocast = careful and task.precision == "bf16"
    optimizer = baseline.SAM(
        model.parameters(),
        torch.optim.SGD,
        rho=method.ascent.rho,
        lr=method.lr,
        momentum=method.momentum,
        weight_decay=method.weight_decay,
    )

    def prepare() -> None:
        problem.as_users_have_it()
        model.load_state_dict(start)

    def run() -> None:
        baseline.train_epoch(model, batches, optimizer, device, autocast)

    return Contestant(run, prepare, count=0 if task.on_digits else 1)


def _ours(task: Problem, size: Size, device: torch.device) -> dict[str, Contestant]:
    """The engine's epochs, by name."""
    on_gpu = device.type == "cuda"
    same = replace(task, precision="tf32" if on_gpu else "float32")
    ways = {}
    if on_gpu:
        alone = Ungraphed(problem.network(task), task.batch, task.precision, False, device)
        ways[f"engine: eager, without a graph, {task.precision}"] = alone
    graph = ", CUDA graph" if on_gpu else ""
    for each, compiled in dict.fromkeys([(same, False), (task, False), (task, size.compiled)]):
        how = "compiled" if compiled else "eager"
        ways[f"engine: {how}{graph}, {each.precision}"] = problem.learner(each, compiled, device)
    images = problem.data(task, 0, device)
    return {name: _our(task, taught, images) for name, taught in ways.items()}


def _our(task: Problem, taught: Learner, images: Splits) -> Contestant:
    """An epoch of the engine."""
    setting = problem.cell(task, precision=taught.precision)
    start = problem.network(task).state_dict()
    feed = Feed(setting, 0, images)

    def prepare() -> None:
        problem.repeatable()
        taught.begin(setting, start)

    def run() -> None:
        engine._row(setting, taught, feed, 0)

    return Contestant(run, prepare, count=0 if task.on_digits else 1)
