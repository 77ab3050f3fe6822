"""From a row of a table to the specs that it names: keys, protocol, stand-ins."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samscope.config.paper import PaperFile
from samscope.config.profile import Scale
from samscope.errors import InputError
from samscope.optim.method import Ascent
from samscope.optim.mixes import named_mix
from samscope.spec import SPECS, Spec
from samscope.spec.leaves import leaves, parsed

CHOOSE = "choose"
"""Of a key: leaves of several values, the better of whose runs was printed."""

_NAMED = ("model", "data", "variant", *leaves(Ascent), "condition")
"""Leaves by which an id is told from another without being shown as departures."""


@dataclass(frozen=True)
class Naming:
    """How the rows of a paper's tables name specs in a profile.

    Attributes:
        about: the paper.
        scale: its part of the profile.
        where: name of the profile's part, for messages.
    """

    about: PaperFile
    scale: Scale
    where: str

    @property
    def protocol(self) -> dict[str, Any]:
        """Leaves that no row says: the paper's, and what the profile puts in their place."""
        return self.about.protocol | self.scale.protocol

    def columns(self, stage: str) -> set[str]:
        """Key columns that a table of a stage may have."""
        return {*self.about.keys, *leaves(SPECS[stage])}

    def specs(
        self, raw: Mapping[str, str], stage: str, where: str
    ) -> tuple[list[Spec], tuple[str, ...]]:
        """The specs of a row, and the leaves in which they depart from the protocol.

        Raises:
            InputError: for a printed value without a key, or a leaf that cannot have its value;
                naming the line, or the file that says it.
        """
        kind = SPECS[stage]
        given, several = self._given(raw, stage, where)
        protocol = {k: v for k, v in self.protocol.items() if k in leaves(kind) or k not in _CELL}
        defaults = {name: default for name, (_, _, default) in leaves(kind).items()}
        found, varied = [], {}
        for values in itertools.product(*several.values()):
            chosen = given | dict(zip(several, values, strict=True))
            flat = protocol | chosen
            try:
                if "variant" in flat and not _ascends(flat):
                    flat = {k: v for k, v in flat.items() if k not in leaves(Ascent)}
                departs = tuple(
                    leaf
                    for leaf, value in chosen.items()
                    if leaf not in ("model", "data", "variant", "rho", "condition")
                    and leaf in flat
                    and value != protocol.get(leaf, defaults.get(leaf))
                )
                shown = tuple(dict.fromkeys((*departs, *self.scale.shows)))
                found.append(kind.from_dict(flat, where, shown=shown))
                varied |= dict.fromkeys(departs)
            except InputError as error:
                source = self._source(error.field, chosen, where)
                raise InputError(source, error.field, error.value, error.allowed) from None
        return found, tuple(varied)

    def _given(
        self, raw: Mapping[str, str], stage: str, where: str
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """Leaves that a row gives, stand-ins put in, and those that take one of several values."""
        given: dict[str, Any] = {}
        several: dict[str, list[Any]] = {}
        kind = SPECS[stage]
        for column, text in raw.items():
            if column in self.about.keys:
                known = self.about.keys[column]
                if text not in known:
                    raise InputError(where, column, text, ", ".join(known))
                entry = known[text]
                entry = dict(entry) if isinstance(entry, dict) else {column: entry}
                several |= {k: list(v) for k, v in entry.pop(CHOOSE, {}).items()}
                given |= entry
            elif column in leaves(kind) and text:
                given[column] = self.scale.stand_ins.get(column, {}).get(text)
                if given[column] is None:
                    given[column] = parsed(kind, column, text, where)
        ours = {leaf: self._stand_in(leaf, value) for leaf, value in given.items()}
        return ours, {k: [self._stand_in(k, v) for v in vs] for k, vs in several.items()}

    def _stand_in(self, leaf: str, value: object) -> Any:
        """What a profile puts in the place of a paper's value."""
        return self.scale.stand_ins.get(leaf, {}).get(_text(value), value)

    def _source(self, leaf: str, given: Mapping[str, Any], where: str) -> str:
        """The file that gives a leaf its value."""
        if leaf in given:
            return f"{self.where}: stand_ins" if leaf in self.scale.stand_ins else where
        if leaf in self.scale.protocol:
            return f"{self.where}: protocol"
        return f"{self.about.name}/paper.yaml: protocol" if leaf in self.about.protocol else where


_CELL = leaves(SPECS["train"])


def _ascends(flat: Mapping[str, Any]) -> bool:
    """Whether a variant has a second pass; of SGD nothing depends on an ascent."""
    condition = flat.get("condition")
    return named_mix(flat["variant"], condition).needs_ascent


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
