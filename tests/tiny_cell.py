"""A cell that trains in a tenth of a second, for the tests of the engine."""

import torch
from torch import Tensor

from samscope.spec import Cell

_SETTINGS = {
    "model": "cnn3",
    "data": "digits",
    "variant": "ckpt12",
    "rho": 0.2,
    "epochs": 4,
    "batch_size": 30,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "drop_last": False,
    "augment": "none",
    "label_noise": 0.2,
    "train_size": 100,
    "val_size": 60,
    "split_seed": 42,
    "threads": 1,
    "precision": "float32",
    "compiled": False,
}


def tiny(**changes: object) -> Cell:
    """The tiny cell, with other values for some leaves.

    ``rho`` goes with ``sgd``, and ``epochs`` with ``steps``, by themselves.
    """
    if changes.get("variant") == "sgd":
        changes = {"rho": None, **changes}
    if "steps" in changes:
        changes = {"epochs": 0, **changes}
    return Cell.from_dict({**_SETTINGS, **changes})


def drawn_batch(dtype: torch.dtype = torch.float32) -> tuple[tuple[Tensor], Tensor]:
    """Twenty inputs [1, 8, 8] of noise and their classes, the same at every call."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 8, 8, generator=random, dtype=dtype)
    return (images,), torch.randint(0, 10, (20,), generator=random)
