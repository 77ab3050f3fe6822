"""Data sets by name, as arrays in files. Importable without torch.

A new data set is one entry of `SOURCES` and a module with ``fetch``, and with ``check`` where its
arrays can be of the right shape and yet mean nothing.
"""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from samscope.digests import Registry
from samscope.errors import InputError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Source:
    """A data set: where its arrays come from, and what a task needs to know of them.

    Attributes:
        module: of this folder, whose ``fetch`` brings the arrays.
        arrays: in ``<name>.npz``: type and axes of each by its name. A letter stands for the same
            number in all of them. None of a set of files, which ``about`` of its module describes.
        facts: by name; of images ``classes``, ``scale`` (value of a white pixel), ``mean`` and
            ``std`` of each channel, of images scaled to [0, 1].
        brought: where it comes from where that is the network or a user; see docs/data.md.
    """

    module: str
    arrays: dict[str, str]
    facts: dict[str, Any]
    brought: str = ""


_CIFAR = {
    "x_train": "uint8 N x H x W x 3",
    "y_train": "uint8 N",
    "x_test": "uint8 M x H x W x 3",
    "y_test": "uint8 M",
}

_DOWNLOADED = "downloaded from torchvision's source"

_GRAPHS = {"atoms": "uint8 A", "graph": "int32 A", "bonds": "int32 B x 2", "y": "uint8 G"}


def _signals(samples: int) -> dict[str, str]:
    """Arrays of signals of so many samples each, and whose they are."""
    about = {"y": "uint8 N", "is_test": "bool N", "record": "uint8 N"}
    return {"x": f"float32 N x {samples}", **about}


def _equations(operation: str, modulus: int = 0, tokens: int = 239) -> Source:
    """All equations of an operation, by the source's vocabulary, or by one of their own."""
    facts = {"operation": operation, "modulus": modulus, "tokens": tokens}
    return Source("equations", {"tokens": "uint8 N x 7"}, facts)


_DIGITS = {"x": "uint8 N x H x W x 1", "y": "uint8 N"}

SOURCES: Registry[str, Source] = {
    # mean and std of all 1,797 images: constants, so that no split moves the inputs
    "digits": Source(
        "digits",
        _DIGITS,
        {"classes": 10, "scale": 16.0, "mean": (0.3053,), "std": (0.3760,)},
    ),
    # of the training images; CIFAR-100's are those of the geometry-SAM code
    "cifar10": Source(
        "cifar",
        _CIFAR,
        {
            "classes": 10,
            "scale": 255.0,
            "mean": (0.4914, 0.4822, 0.4465),
            "std": (0.2470, 0.2435, 0.2616),
        },
        _DOWNLOADED,
    ),
    "cifar100": Source(
        "cifar",
        _CIFAR,
        {
            "classes": 100,
            "scale": 255.0,
            "mean": (0.5071, 0.4865, 0.4409),
            "std": (0.2673, 0.2564, 0.2762),
        },
        _DOWNLOADED,
    ),
    "mnist": Source(
        "mnist",
        {
            "x_train": "uint8 N x H x W x 1",
            "y_train": "uint8 N",
            "x_test": "uint8 M x H x W x 1",
            "y_test": "uint8 M",
        },
        {"classes": 10, "scale": 255.0, "mean": (0.1307,), "std": (0.3081,)},
        _DOWNLOADED,
    ),
    "mitbih": Source(
        "mitbih",
        _signals(187),
        {"classes": 5},
        "mitbih_train.csv and mitbih_test.csv of Kaggle's heartbeat set, where you put them there, "
        "packed by gzip or not; else re-derived from the records in mitdb/, 100.hea to 234.atr, "
        "downloaded from PhysioNet where they are not there",
    ),
    "mutagenicity": Source(
        "mutagenicity",
        _GRAPHS,
        {"classes": 2, "atoms": 14},
        "Mutagenicity.zip, or the folder Mutagenicity/ of it, where you put them there; else "
        "downloaded from TUDataset",
    ),
    # stand-ins of the digits, in the form of heartbeats and of molecules
    "digit_signals": Source("digit_signals", _signals(64), {"classes": 10}),
    "digit_graphs": Source("digit_graphs", _GRAPHS, {"classes": 2, "atoms": 64}),
    # files in a folder for each class; the constants are torchvision's
    "imagenet": Source(
        "imagefolder",
        {},
        {
            "classes": 1000,
            "scale": 255.0,
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
        },
        "imagenet/train/<class>/ and imagenet/val/<class>/, which you put there",
    ),
    # equations of the grokking study, and a small stand-in
    "division_97": _equations("division", 97),
    "addition_97": _equations("addition", 97),
    "s5": _equations("s5"),
    "division_23": _equations("division", 23, tokens=3 + 23),
}


HALVES = {f"{name}_{part}": name for name in ("digits", "cifar10") for part in ("0_4", "5_9")}
"""Five classes each of a set, numbered from 0, by which set they are of: to train further."""

SOURCES |= {
    half: replace(SOURCES[name], facts=SOURCES[name].facts | {"classes": 5})
    for half, name in HALVES.items()
}


def definition(name: str) -> dict[str, Any]:
    """What a data set of `SOURCES` is to a run that learns from it."""
    return SOURCES[name].facts


def prepare(name: str, data_dir: str | Path) -> Path:
    """Bring a data set to ``<data_dir>/<name>.npz`` and write its manifest ``<name>.json``.

    A file that is there is kept and described; else it comes from pieces beside it, see
    `samscope.data.pieces`, or from its official source. A set of image files has a manifest alone.

    Raises:
        InputError: for an unknown name, a damaged file, a set that cannot be downloaded.
    """
    from samscope.data import arrays as store

    path, source = Path(data_dir) / f"{name}.npz", _source(name)
    if not source.arrays:
        manifest = path.with_suffix(".json")
        store.write_json(manifest, _module(name).about(name, path.parent))
        return manifest
    if path.exists():
        arrays = store.read(path, source.arrays)
    elif path.with_name(f"{name}-pieces.json").exists():
        from samscope.data import pieces

        return pieces.unpack(name, [path.parent], path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = _fetched(name, path.parent)
        store.write(path, arrays)
    store.write_manifest(path, arrays)
    return path


def _fetched(name: str, data_dir: Path) -> "dict[str, np.ndarray]":
    """The arrays from their source; those of a half from the whole, which is brought for it."""
    if name not in HALVES:
        return _module(name).fetch(name, data_dir)
    first, last = map(int, name.split("_")[1:])
    whole, part = read(HALVES[name], data_dir), {}
    for labels in (key for key in whole if key.startswith("y")):
        chosen = (first <= whole[labels]) & (whole[labels] <= last)
        for key in (labels.replace("y", "x"), labels):
            part[key] = whole[key][chosen]
        part[labels] = part[labels] - whole[labels].dtype.type(first)
    return part


def read(name: str, data_dir: str | Path) -> "dict[str, np.ndarray]":
    """The arrays of a data set in ``data_dir``, which is prepared where it is not there yet.

    Raises:
        InputError: as `prepare`, or for arrays that are not what `Source.arrays` says.
    """
    from samscope.data import arrays

    path = Path(data_dir) / f"{name}.npz"
    if not path.exists():
        prepare(name, data_dir)
    return arrays.read(path, _source(name).arrays)


def check(name: str, arrays: "dict[str, np.ndarray]", data_dir: str | Path) -> None:
    """Refuse what the module of a data set says cannot be meant, by its ``check``.

    Raises:
        InputError: naming the file.
    """
    _module(name).check(arrays, Path(data_dir) / f"{name}.npz")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"samscope.data.{_source(name).module}")


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise InputError("samscope data", "data", name, ", ".join(SOURCES))
    return SOURCES[name]
