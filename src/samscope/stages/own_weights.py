"""The curvature of weights of the user's own: from a file to a table and a JSON file."""

import math
import os
import time
from argparse import Namespace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from samscope import models, tasks
from samscope.config.profile import check_folder
from samscope.data import SOURCES
from samscope.errors import InputError
from samscope.measure import Curvature, MeanLoss, measure
from samscope.stages.checkpoints import fill, read_state
from samscope.stages.curvature import sample_digest
from samscope.stages.json_record import load
from samscope.store.records import to_json, write
from samscope.tasks import TASKS, Task
from samscope.tasks.samples import Splits

WHERE = "samscope measure curvature"


def measure_file(args: Namespace) -> None:
    """Measure the weights of a file: print a table and write a JSON file.

    The loss is the mean cross-entropy on training samples (of images as many of each class) as they
    are and with their true labels, in eval mode.

    Args:
        args: ``weights``, ``model``, ``data``, ``images``, ``top``, ``rho``, ``seed``,
            ``data_dir`` and ``out``, see `samscope.run.cli`.

    Raises:
        InputError: for a file, a name or a number that cannot be used.
    """
    begin = time.perf_counter()
    for field, names in (("model", models.MODELS), ("data", SOURCES)):
        if getattr(args, field) not in names:
            raise InputError(WHERE, field, getattr(args, field), ", ".join(names))
    task = _task(args)
    for field, fits, allowed in (
        ("top", args.top >= 1, "1 at least"),
        ("rho", 0 < args.rho < math.inf, "a number above 0"),
        ("seed", 0 <= args.seed < 2**63, "0 to 2^63 - 1"),
    ):
        if not fits:
            raise InputError(WHERE, field, getattr(args, field), allowed)
    out = args.out or args.weights.with_name(f"{args.weights.name}.curvature.json")
    _check_out(out)
    state = read_state(args.weights, WHERE)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = _samples(task, args).to(device)
    model = models.build(args.model, *splits.sizes)
    _check_finite(fill(model, state, f"{args.weights}: {args.model} on {args.data}"), args.weights)
    # Of weights that decayed to next to nothing, as in training: see `samscope.seeding`.
    torch.set_flush_denormal(True)
    x, y = tasks.module(task.name).prepare(splits, splits.train.inputs, None), splits.train.targets
    mean_loss = MeanLoss(model.to(device), F.cross_entropy, (x, y))
    loss, slope = mean_loss.gradient(mean_loss.weights)
    if not (math.isfinite(loss) and bool(torch.isfinite(slope).all())):
        largest = f"{float(mean_loss.weights.abs().max()):.3g}"
        told = f"weights up to {largest} give a loss of {loss:.3g} without a finite gradient"
        raise InputError(args.weights, "loss", told, "weights at which the loss is smooth")
    found = measure(mean_loss, args.top, args.rho, seed=args.seed)
    ends = [*found.spectrum.largest.values, found.spectrum.smallest[0].value, found.trace.value]
    if not all(map(math.isfinite, ends)):
        raise InputError(args.weights, "Hessian", "not finite", "weights at which it is")
    seconds = time.perf_counter() - begin
    about = {
        "weights": str(args.weights), "model": args.model, "parameters": mean_loss.size,
        "data": args.data, "images": len(y), "sample_digest": sample_digest(x, y),
        "seed": args.seed, "seconds": seconds, "device": str(device),
    }  # fmt: skip
    write(out, to_json({**about, **found.record()}))
    print(f"{args.model} on {len(y)} {task.name} of {args.data}, {mean_loss.size:,} parameters")
    for name, value, bound in table(found):
        print(f"{name:24} {value:>12} {bound}")
    products = found.spectrum.products + found.trace.products
    print(f"{products} products with the Hessian, {seconds:.1f} s; written to {out}")


def table(found: Curvature) -> list[tuple[str, str, str]]:
    """What was measured as lines: name, value, and the bound or interval."""
    spectrum, trace = found.spectrum, found.trace
    k = len(spectrum.largest.values)
    pairs = [(f"lambda_{i + 1}", spectrum.largest[i]) for i in range(k)]
    pairs += [("lambda_min", spectrum.smallest[0]), (f"lambda_1/lambda_{k}", spectrum.ratio(k))]
    pairs += [("|lambda_max/lambda_min|", spectrum.asymmetry())]
    rho = f"within rho {found.worst.rho:g}; SAM's step {found.worst.one_step:.4g}"
    spread = f"at rho {found.average.rho:g}, standard error {found.average.stderr:.2g}"
    return [
        ("loss", f"{found.loss:.5g}", ""),
        *((name, f"{at.value:.5g}", f"± {at.error:.2g}") for name, at in pairs),
        ("trace", f"{trace.value:.5g}", f"[{trace.low:.5g}, {trace.high:.5g}], 95 %"),
        ("worst-case sharpness", f"{found.worst.value:.5g}", rho),
        ("average-case sharpness", f"{found.average.value:.5g}", spread),
    ]


def _check_out(path: Path) -> None:
    """Refuse to write what would replace something else than an earlier measurement."""
    check_folder(WHERE, "out", path.absolute().parent, os.W_OK)
    if path.is_symlink() or (path.exists() and not load(path).keys() >= _MEASURED):
        raise InputError(WHERE, "out", str(path), "a free name, or a measurement made before")


_MEASURED = {"weights", "model", "sample_digest", "largest"}
"""What a file that `measure_file` wrote has, among other things."""


def _check_finite(model: nn.Module, path: Path) -> None:
    for name, tensor in model.state_dict().items():
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            found = f"{broken} of {tensor.numel()} values not finite"
            raise InputError(path, name, found, "finite numbers")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            found = f"{int((tensor < 0).sum())} of {tensor.numel()} variances below 0"
            raise InputError(path, name, found, "variances, 0 or above")


def _task(args: Namespace) -> Task:
    """The task of the model on the data, with ``args.images`` training samples as they are."""
    takes = models.MODELS[args.model].takes
    learned = {name: kind for name, kind in TASKS.items() if args.data in kind.data}
    name = next((name for name, kind in learned.items() if kind.inputs == takes), None)
    if name is None:
        allowed = " or ".join(kind.inputs for kind in learned.values())
        raise InputError(WHERE, "model", args.model, f"one that takes {allowed}, of {args.data}")
    if args.images < 2:
        raise InputError(WHERE, "images", args.images, "2 at least")
    return Task(args.data, "none", 0.0, args.images, val_size=0, split_seed=0, name=name)


def _samples(task: Task, args: Namespace) -> Splits:
    try:
        return tasks.load(task, args.data_dir)
    except InputError as error:
        if error.field != "train_size":
            raise
        allowed = f"no more than the data set has, {error.allowed}"
        raise InputError(WHERE, "images", args.images, allowed) from None
