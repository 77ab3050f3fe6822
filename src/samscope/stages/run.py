"""What a plan asks of a stage for one seed of a spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from samscope.spec import Spec

S = TypeVar("S", bound=Spec, covariant=True)


@dataclass(frozen=True, eq=False)
class Run(Generic[S]):
    """What a plan asks of a stage for one seed of a spec: all that its record follows from.

    Attributes:
        folder: of the run, ``seed=<n>`` in the folder of its spec.
        spec: of the run.
        seed: of the run.
        settings: of the profile, those that decide the numbers and, where it has some, the epochs;
            none for what a table's rows name.
        epochs: before the last, in the unit of the spec's budget: of a training those after which
            weights are kept, of a measurement those that are measured.
        needs: the runs whose records it is made from.
        reference: the one among them that it is compared with, where its stage has one.
    """

    folder: Path
    spec: S
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[int, ...] = ()
    needs: tuple["Run[S]", ...] = ()
    reference: "Run[S] | None" = None

    @property
    def name(self) -> str:
        """As lines of a report begin."""
        return f"{self.spec.id}/seed={self.seed}"

    @cached_property
    def identity(self) -> dict[str, str | None]:
        """What a record says of the run that it is of: its digest, and its reference's."""
        of = self.reference
        other = of.spec.digest(of.seed) if of else None
        return {"digest": self.spec.digest(self.seed), "reference": other}

    @property
    def used(self) -> dict[str, Any]:
        """The settings without the epochs: more of these leave what is measured as it is."""
        return {name: value for name, value in self.settings.items() if name != "epochs"}
