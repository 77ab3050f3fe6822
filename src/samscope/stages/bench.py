"""Where runs are made: one device, and the samples of one task at a time."""

import ctypes
import time
from pathlib import Path
from typing import TYPE_CHECKING

from samscope.tasks import Task

if TYPE_CHECKING:
    import torch

    from samscope.tasks.samples import Splits

_MALLOC = (
    (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: what lies free at the end before any is given back
    (-2, 2**26),  # M_TOP_PAD: what is asked for beyond what is needed
    (-3, 2**25),  # M_MMAP_THRESHOLD: what has a mapping of its own, at most this by malloc.c
)


class Bench:
    """A device and what lies on it. Samples stay for all that share them.

    The process keeps its memory from then on, see `keep_freed_memory`.

    Args:
        data_dir: folder of the data sets.

    Attributes:
        seconds: that the last reading of a data set took.
    """

    def __init__(self, data_dir: str | Path) -> None:
        keep_freed_memory()
        self.data_dir = Path(data_dir)
        self.seconds = 0.0
        self._task: Task | None = None
        self._splits: Splits | None = None

    @property
    def device(self) -> "torch.device":
        """A GPU where there is one."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def device_name(self) -> str:
        """As provenance has it."""
        import torch

        return torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"

    def splits(self, task: Task) -> "Splits":
        """The samples of a task, on the device.

        Raises:
            InputError: when the data set cannot be used.
        """
        from samscope import tasks

        if task != self._task or self._splits is None:
            begin = time.perf_counter()
            self._splits = None  # two sets may not fit
            self._splits = tasks.load(task, self.data_dir).to(self.device)
            self._task, self.seconds = task, time.perf_counter() - begin
        return self._splits


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors free, for those of the next step.

    glibc gives the end of its heap back to the system and gets it again page by page, each filled
    with zeros, at every step. The numbers are the same. A C library without these settings (macOS,
    musl) goes on as it is.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in _MALLOC:
            set_option(option, value)
