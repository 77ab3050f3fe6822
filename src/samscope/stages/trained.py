"""What was trained, made ready to be measured: a run's model, its images and their labels."""

from pathlib import Path
from typing import TYPE_CHECKING

# Not from the package: an edit of the engine would then measure every run anew.
import samscope.store.records as records
from samscope.errors import InputError
from samscope.spec import Cell

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samscope.data import Dataset


def trained_epochs(run: Path, cell: Cell, seed: int) -> int:
    """How many epochs a finished run has.

    Raises:
        InputError: for a run that is missing or damaged.
    """
    try:
        metrics = records.read_run(run, cell, seed)
        if metrics is None:
            raise records.BadRecord("no record of a finished run")
    except records.BadRecord as error:
        allowed = "a whole record; train the cell again"
        raise InputError(run / records.WEIGHTS, "run", str(error), allowed) from error
    return metrics["epochs"]


def resident(cell: Cell, data_dir: str | Path) -> "Dataset":
    """The cell's data set, on the device to measure on."""
    import torch

    from samscope.data import load

    return load(cell, data_dir).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def model(path: Path, cell: Cell, seed: int, data: "Dataset") -> "nn.Module":
    """The model of a finished run with the weights of one of its files, on the data's device.

    Raises:
        InputError: where there is no such file, or one of another model.
    """
    from safetensors.torch import load_file

    from samscope import models

    if not path.exists():
        allowed = f"a run with its weights; delete {path.parent} and train the cell again"
        raise InputError(path, "run", "not measured before the weights went", allowed)
    built = models.build(cell.model, data.num_classes, data.channels, seed)
    return fill(built, load_file(path), f"{path}: {cell.model}").to(data.train_x.device)


def fill(model: "nn.Module", state: "dict[str, Tensor]", where: str) -> "nn.Module":
    """The model with these weights and buffers.

    Raises:
        InputError: naming the first tensor that is missing, unknown or of another shape.
    """
    own = model.state_dict()
    for name in sorted({*own, *state}):
        found, expected = (tuple(s[name].shape) if name in s else "none" for s in (state, own))
        if found != expected:
            raise InputError(where, name, str(found), str(expected))
    model.load_state_dict(state)
    return model


def sample(cell: Cell, data: "Dataset", images: int, seed: int) -> "tuple[Tensor, Tensor]":
    """The first training images, normalised, and the classes the run was trained on.

    Raises:
        InputError: for more images than there are.
    """
    from samscope.data import training_labels

    if not 1 <= images <= len(data.train_x):
        raise InputError(cell.id, "images to measure on", images, f"1 to {len(data.train_x)}")
    labels = training_labels(data, cell.label_noise, seed)
    return data.normalise(data.train_x[:images]), labels[:images]
