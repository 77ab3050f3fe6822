"""Where a run's weights begin: drawn, or the last of another run, which learned other data."""

from dataclasses import dataclass

from samscope import data
from samscope.errors import InputError
from samscope.spec.leaves import within


@dataclass(frozen=True)
class Start:
    """What a run is trained from.

    The run that it begins from is that of the same seed by the optimizer alone, see
    `samscope.spec.Cell.origin`. All its weights and running statistics are taken, but for the head,
    which has the shape of the number of classes and begins anew.

    Attributes:
        start: the data set that it learned; "": the weights are drawn from the seed.
        start_epochs: how long.
        start_size: on how many samples; None: all.
        start_lr: at which learning rate.
        frozen_norm: whether batch normalisation uses these statistics in training too, and keeps
            them: as Foret et al. (appendix C.2) train further.
    """

    start: str = ""
    start_epochs: int = 0
    start_size: int | None = None
    start_lr: float = 0.0
    frozen_norm: bool = False

    def __post_init__(self) -> None:
        if self.start and self.start not in data.SOURCES:
            raise InputError("start", "start", self.start, ", ".join(data.SOURCES))
        most = (1, 10**6) if self.start else (0, 0)
        where = f"start {self.start}" if self.start else "start none"
        within(where, self, {"start_epochs": most, "start_lr": (0.0, 1e6 if self.start else 0.0)})
        within(where, self, {"start_size": (2, 10**9)})
        for name in ("start_size", "frozen_norm"):
            if getattr(self, name) and not self.start:
                raise InputError(where, name, getattr(self, name), "none, without a start")
