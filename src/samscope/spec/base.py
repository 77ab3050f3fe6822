"""What every stage is asked to make: a spec, known by its id and, of a seed, by a digest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self


class Spec(Protocol):
    """Of a stage; see `samscope.spec.Cell`, the spec of a training."""

    @property
    def id(self) -> str:
        """Readable, in three parts as ``model-data/variant/settings``: the path of its records."""

    def digest(self, seed: int) -> str:
        """Hex SHA-256 of all that the numbers of a record follow from."""

    def needs(self, seed: int) -> "tuple[tuple[Spec, int], ...]":
        """The runs, spec and seed, that must be there before; a plan has them with it."""

    def to_dict(self) -> dict[str, Any]:
        """The leaves by name, ready for JSON."""

    @classmethod
    def from_dict(
        cls, flat: Mapping[str, Any], where: object = ..., shown: tuple[str, ...] = ...
    ) -> Self:
        """The spec of these leaves; its id shows those named by ``shown``."""


@dataclass(frozen=True)
class Unmade:
    """What a printed number is of that nothing here can make: no leaves, no stage, no run."""

    id: str = field(default="", compare=False)

    def digest(self, seed: int) -> str:
        """None: there is no record."""
        return ""

    def needs(self, seed: int) -> "tuple[tuple[Spec, int], ...]":
        """Nothing."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """No leaves."""
        return {}

    @classmethod
    def from_dict(
        cls, flat: Mapping[str, Any], where: object = "", shown: tuple[str, ...] = ()
    ) -> Self:
        """The one there is."""
        return cls()
