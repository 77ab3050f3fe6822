"""Where a run's weights begin: drawn, or the last of another run, which learned other data."""

from dataclasses import dataclass

from samscope import data
from samscope.errors import InputError
from samscope.spec.leaves import within


@dataclass(frozen=True)
class Pretraining:
    """What the weights of a run learned before.

    The run that it begins from is that of the same seed by the optimizer alone, see
    `samscope.spec.Cell.origin`. All its weights and running statistics are taken, but for the head,
    which has the shape of the number of classes and begins anew.

    Attributes:
        pretrain: the data set that it learned; "": the weights are drawn from the seed.
        pretrain_epochs: how long.
        pretrain_size: on how many samples; None: all.
        pretrain_lr: at which learning rate.
        frozen_norm: whether batch normalisation uses these statistics in training too, and keeps
            them: as Foret et al. (appendix C.2) train further.
    """

    pretrain: str = ""
    pretrain_epochs: int = 0
    pretrain_size: int | None = None
    pretrain_lr: float = 0.0
    frozen_norm: bool = False

    def __post_init__(self) -> None:
        if self.pretrain and self.pretrain not in data.SOURCES:
            raise InputError("pretraining", "pretrain", self.pretrain, ", ".join(data.SOURCES))
        most = (1, 10**6) if self.pretrain else (0, 0)
        where = f"pretraining {self.pretrain}" if self.pretrain else "pretraining none"
        rates = (0.0, 1e6 if self.pretrain else 0.0)
        within(where, self, {"pretrain_epochs": most, "pretrain_lr": rates})
        within(where, self, {"pretrain_size": (2, 10**9)})
        for name in ("pretrain_size", "frozen_norm"):
            if getattr(self, name) and not self.pretrain:
                raise InputError(where, name, getattr(self, name), "none, without a pretraining")
