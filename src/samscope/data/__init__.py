"""Data sets by name, resident as tensors. `NAMES` is importable without torch.

A new data set is one line of `_MODULES` and a module with ``fetch``, ``KEYS``, ``NUM_CLASSES``,
``SCALE``, ``MEAN`` and ``STD``.
"""

import importlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from samscope.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from samscope.spec import Cell

_MODULES = {"digits": "digits", "cifar10": "cifar", "cifar100": "cifar"}

NAMES: tuple[str, ...] = tuple(_MODULES)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set split for one cell, raw, on one device.

    Attributes:
        train_x: training images, uint8 [N, C, H, W]; ``val_x`` and ``test_x`` likewise.
        train_y: their true classes, int64 [N]; see `training_labels` for what a run trains on.
        mean: per channel, of images scaled to [0, 1], float32 [C, 1, 1]; ``std`` likewise.
        scale: value of a white pixel.
        num_classes: number of classes.
    """

    train_x: "Tensor"
    train_y: "Tensor"
    val_x: "Tensor"
    val_y: "Tensor"
    test_x: "Tensor"
    test_y: "Tensor"
    mean: "Tensor"
    std: "Tensor"
    scale: float
    num_classes: int

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.train_x.shape[1]

    def normalise(self, images: "Tensor") -> "Tensor":
        """Images as a network sees them: float32 ``(images / scale - mean) / std``."""
        return images.float().div_(self.scale).sub_(self.mean).div_(self.std)

    def to(self, device: "torch.device") -> "Dataset":
        """The same data set on ``device``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in values.items() if hasattr(v, "device")})


def prepare(name: str, data_dir: str | Path) -> Path:
    """Bring a data set to ``<data_dir>/<name>.npz`` and write its manifest ``<name>.json``.

    A file that is there is kept and described; else it comes from pieces beside it, see
    `samscope.data.pieces`, or from its official source.

    Raises:
        InputError: for an unknown name, a damaged file, a set that cannot be downloaded.
    """
    from samscope.data import arrays as store

    path = Path(data_dir) / f"{name}.npz"
    keys = _keys(name)
    if path.exists():
        arrays = store.read(path, keys)
    elif path.with_name(f"{name}-pieces.json").exists():
        from samscope.data import pieces

        return pieces.unpack(name, [path.parent], path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = _module(name).fetch(name, path.parent)
        store.write(path, arrays)
    store.write_manifest(path, arrays)
    return path


def load(cell: "Cell", data_dir: str | Path) -> Dataset:
    """The data set of a cell, split by its ``split_seed``, on the CPU.

    The split is stratified by class. Where the source has a test set, training and validation
    images come from its training set; else (digits) the test set is what the two leave.

    Raises:
        InputError: as `prepare`, or when the cell asks for more images than there are.
    """
    import torch

    from samscope.data import arrays as store
    from samscope.data.split import stratified_split

    path = Path(data_dir) / f"{cell.data}.npz"
    if not path.exists():
        prepare(cell.data, data_dir)
    arrays = store.read(path, _keys(cell.data))
    own_test = "x_test" in arrays
    x, y = (arrays["x_train"], arrays["y_train"]) if own_test else (arrays["x"], arrays["y"])
    train_size = _train_size(cell, len(y), own_test)
    train, val, rest = stratified_split(y, train_size, cell.val_size, cell.split_seed)
    test = (arrays["x_test"], arrays["y_test"]) if own_test else (x[rest], y[rest])
    module = _module(cell.data)
    _check(cell, path, x, max(y.max(), test[1].max(initial=0)))
    as_column = lambda values: torch.tensor(values).reshape(-1, 1, 1)  # noqa: E731
    return Dataset(
        *_tensors(x[train], y[train]),
        *_tensors(x[val], y[val]),
        *_tensors(*test),
        mean=as_column(module.MEAN[cell.data]),
        std=as_column(module.STD[cell.data]),
        scale=module.SCALE,
        num_classes=module.NUM_CLASSES[cell.data],
    )


def training_labels(data: Dataset, label_noise: float, seed: int) -> "Tensor":
    """The classes a run trains on, int64 [N]: a share of them wrong, the same for every variant.

    Exactly ``round(label_noise * N)`` labels, drawn from the stream (seed, "label_noise"), are
    replaced by a uniformly random other class. Validation and test labels stay true.
    """
    import torch

    from samscope.seeding import stream

    random = stream(seed, "label_noise")
    count = round(label_noise * len(data.train_y))
    chosen = torch.randperm(len(data.train_y), generator=random)[:count]
    shift = torch.randint(1, data.num_classes, (count,), generator=random)
    labels = data.train_y.cpu().clone()
    labels[chosen] = (labels[chosen] + shift) % data.num_classes
    return labels.to(data.train_y.device)


def _module(name: str) -> ModuleType:
    if name not in _MODULES:
        raise InputError("samscope data", "data", name, ", ".join(NAMES))
    return importlib.import_module(f"samscope.data.{_MODULES[name]}")


def _keys(name: str) -> tuple[str, ...]:
    return _module(name).KEYS


def _check(cell: "Cell", path: Path, x: "np.ndarray", highest: int) -> None:
    """Refuse labels beyond the classes, other channels, an augmentation made for larger images."""
    module = _module(cell.data)
    num_classes, channels = module.NUM_CLASSES[cell.data], len(module.MEAN[cell.data])
    if highest >= num_classes:
        raise InputError(path, "labels", int(highest), f"0 to {num_classes - 1}")
    if x.shape[3] != channels:
        raise InputError(path, "channels of the images", x.shape[3], str(channels))
    if cell.augment != "none" and x.shape[1:3] != (32, 32):
        raise InputError(cell.id, "augment", cell.augment, "none, for images other than 32 x 32")


def _train_size(cell: "Cell", available: int, own_test: bool) -> int:
    """The number of training images, checked against what there is."""
    most = available - cell.val_size - (not own_test)
    least = cell.batch_size if cell.drop_last else 1
    size = cell.train_size if cell.train_size is not None else most if own_test else None
    if size is None or not least <= size <= most:
        beside = f" beside {cell.val_size} validation images" if cell.val_size else ""
        allowed = f"{least} to {most}{beside} of {available}"
        raise InputError(cell.id, "train_size", cell.train_size, allowed)
    return size


def _tensors(images: "np.ndarray", labels: "np.ndarray") -> tuple["Tensor", "Tensor"]:
    """Images as [N, C, H, W] and labels as int64."""
    import numpy as np
    import torch

    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return torch.from_numpy(channels_first), torch.from_numpy(labels).long()
