"""From a row of a table to the specs that it names: keys, protocol, stand-ins."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from samscope.config.paper import PaperFile
from samscope.config.profile import Scale
from samscope.errors import InputError
from samscope.optim.method import Ascent
from samscope.optim.mixes import named_mix
from samscope.plan import limits
from samscope.spec import SPECS, Spec
from samscope.spec.leaves import digits, leaves, parsed

CHOOSE = "choose"
"""Of a key: leaves of several values, the better of whose runs was printed."""


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
    _named: dict[tuple, tuple[list[Spec], tuple[str, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """Leaves that no row says: the paper's, and what the profile puts in their place."""
        paper = {leaf: self._stand_in(leaf, value) for leaf, value in self.about.protocol.items()}
        return paper | self.scale.protocol

    def columns(self, stage: str) -> set[str]:
        """Key columns that a table of a stage may have."""
        return {*self.about.keys, *leaves(SPECS[stage])}

    def specs(
        self, raw: Mapping[str, str], stage: str, where: str
    ) -> tuple[list[Spec], tuple[str, ...]]:
        """The specs of a row, and the leaves in which they depart from the protocol.

        What a key gives beside a model or a data set is the protocol of those, no departure, unless
        another key gives them another value.

        Raises:
            InputError: for a printed value without a key, or a leaf that cannot have its value;
                naming the line, or the file that says it.
        """
        # Rows of several metrics name the same specs.
        key = (stage, *raw.items())
        if key not in self._named:
            self._named[key] = self._specs(raw, stage, where)
        return self._named[key]

    def _specs(
        self, raw: Mapping[str, str], stage: str, where: str
    ) -> tuple[list[Spec], tuple[str, ...]]:
        kind = SPECS[stage]
        given, several, own = self._given(raw, stage, where)
        others = {leaf for known in SPECS.values() for leaf in leaves(known)} - set(leaves(kind))
        protocol = {k: v for k, v in self.protocol.items() if k not in others}
        defaults = {name: default for name, (_, _, default) in leaves(kind).items()}
        found: list[Spec] = []
        varied: dict[str, None] = {}
        for values in itertools.product(*several.values()):
            chosen = given | dict(zip(several, values, strict=True))
            flat = protocol | chosen
            try:
                if "variant" in flat and not _ascends(flat):
                    flat = {k: v for k, v in flat.items() if k not in leaves(Ascent)}
                departs = tuple(
                    leaf
                    for leaf, value in chosen.items()
                    if leaf not in ("variant", "rho", "condition", *own)
                    and leaf in flat
                    and value != protocol.get(leaf, defaults.get(leaf))
                )
                shows = (leaf for leaf in self.scale.shows if leaf in leaves(kind))
                shown = tuple(dict.fromkeys((*departs, *shows)))
                found.append(kind.from_dict(flat, where, shown=shown))
                limits.check(found[-1])
                varied |= dict.fromkeys(departs)
            except InputError as error:
                source = self._source(error.field, chosen, where)
                raise InputError(source, error.field, error.value, error.allowed) from None
        return found, tuple(varied)

    def _given(
        self, raw: Mapping[str, str], stage: str, where: str
    ) -> tuple[dict[str, Any], dict[str, list[Any]], set[str]]:
        """Leaves that a row gives, stand-ins put in, and those that take one of several values.

        And which of them come with a model or a data set.
        """
        given: dict[str, Any] = {}
        several: dict[str, list[Any]] = {}
        own = {"model", "data"}
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
                own = (own - entry.keys()) | _alike(entry, known.values())
            elif column in leaves(kind) and text:
                given[column] = parsed(kind, column, text, where)
        ours = {leaf: self._stand_in(leaf, value) for leaf, value in given.items()}
        model = written(given.get("model", self.about.protocol.get("model")))
        for leaf, value in self.scale.models.get(model, {}).items():
            if isinstance(value, Mapping):
                theirs = written(given.get(leaf, self.about.protocol.get(leaf)))
                ours |= {leaf: value[theirs]} if theirs in value else {}
                own |= set() if leaf in given else {leaf}
            elif not raw.get(leaf):
                ours[leaf] = value
                own.add(leaf)
        several = {k: [self._stand_in(k, v) for v in vs] for k, vs in several.items()}
        return ours, several, own - several.keys()

    def _stand_in(self, leaf: str, value: object) -> Any:
        """What a profile puts in the place of a paper's value."""
        return self.scale.instead(leaf).get(written(value), value)

    def _source(self, leaf: str, given: Mapping[str, Any], where: str) -> str:
        """The file that gives a leaf its value."""
        if leaf in given:
            for model, own in self.scale.models.items():
                if leaf in own and given.get("model") == own.get("model", model):
                    return f"{self.where}: models.{model}"
            return f"{self.where}: stand_ins" if leaf in self.scale.stand_ins else where
        if leaf in self.scale.protocol:
            return f"{self.where}: protocol"
        return f"{self.about.name}/paper.yaml: protocol" if leaf in self.about.protocol else where


def _alike(entry: Mapping[str, Any], entries: Iterable[Any]) -> set[str]:
    """The leaves of a key that are the same in all keys of its model and data set."""
    named = {leaf: entry[leaf] for leaf in ("model", "data") if leaf in entry}
    same = [e for e in entries if isinstance(e, Mapping) and named.items() <= e.items()]
    return {k for k, value in entry.items() if named and all(e.get(k) == value for e in same)}


def _ascends(flat: Mapping[str, Any]) -> bool:
    """Whether a variant has a second pass; of SGD nothing depends on an ascent."""
    condition = flat.get("condition")
    return named_mix(flat["variant"], condition).needs_ascent


def applying(spec: Spec) -> dict[str, Any]:
    """The leaves of a spec; where it has no ascent, those of one are None."""
    flat = spec.to_dict()
    if "variant" in flat and not _ascends(flat):
        flat |= dict.fromkeys(leaves(Ascent))
    return flat


def written(value: object) -> str:
    """A value of a leaf as text, as scale files and messages have it."""
    return digits(value) if isinstance(value, float) else str(value)
