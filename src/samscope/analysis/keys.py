"""What tells the rows of a paper's tables apart: its key columns, by the paper's own names.

Columns of a leaf that the paper's protocol gives too are departures from it: they are told together
as ``settings``, such as ``batch_size=1024,lr=0.1``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from samscope.config.reported import number
from samscope.errors import InputError
from samscope.plan.types import Paper, Row

SETTINGS = "settings"


@dataclass(frozen=True)
class Keys:
    """The key columns of a paper's tables."""

    paper: Paper

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Their names, in order, but for departures from the protocol."""
        about = self.paper.about
        names = dict.fromkeys(name for row in self.paper.rows for name in row.keys)
        return tuple(n for n in names if n in about.keys or n not in about.protocol)

    @cached_property
    def before(self) -> tuple[str, ...]:
        """Those that name what is trained, which stand before a number's heading."""
        return tuple(name for name in self.columns if {"model", "data"} & self._gives(name))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Those that hold nothing but numbers."""
        names = [name for name in self.columns if name not in self.paper.about.keys]
        rows = self.paper.rows
        return tuple(n for n in names if all(_is_number(row.keys.get(n, "")) for row in rows))

    def values(self, row: Row) -> dict[str, Any]:
        """The columns of a row by name, ``settings`` the last: text, numbers, None for no number.

        Every row of a paper has the same; a column that its own table lacks is empty.
        """
        own = {name: row.keys.get(name, "") for name in self.columns}
        found = {k: number(v, "", k) if k in self.numbers else v for k, v in own.items()}
        return found | {SETTINGS: self.settings(row)}

    def settings(self, row: Row) -> str:
        """In what a row departs from the protocol, as printed; "" in nothing."""
        return ",".join(f"{k}={v}" for k, v in self.departures(row).items())

    def departures(self, row: Row) -> dict[str, str]:
        """The same by leaf."""
        return {k: v for k, v in row.keys.items() if k not in self.columns and v}

    def given(self, row: Row) -> set[str]:
        """Names of the leaves that its columns give, departures aside."""
        given: set[str] = set()
        for column in (name for name in self.columns if row.keys.get(name)):
            entry = self.paper.about.keys.get(column, {}).get(row.keys[column])
            given |= set(entry) if isinstance(entry, Mapping) else {column}
        return given

    def apart(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """The fewest columns that tell rows of one heading and metric apart.

        Of a table with one row under each heading, the last number that all rows share.
        """
        told = [self.values(row) for row in rows]
        several = [k for k in (*self.columns, SETTINGS) if len({keys[k] for keys in told}) > 1]
        needed = list(several)
        for name in reversed(several):
            fewer = [k for k in needed if k != name]
            if _unique(rows, told, fewer):
                needed = fewer
        same = [k for k in self.numbers if k not in several]
        shared = [k for k in same if any(keys[k] is not None for keys in told)]
        return tuple(needed or shared[-1:] or self.columns[:1] or [SETTINGS])

    def label(self, row: Row, names: Iterable[str]) -> str:
        """Some columns of a row in words: the head of a printed line."""
        held = self.values(row)
        return " ".join(filter(None, (shown(held[name]) for name in names)))

    def _gives(self, column: str) -> set[str]:
        """Names of the leaves that a column gives."""
        entries = self.paper.about.keys.get(column, {"": None}).values()
        return {leaf for e in entries for leaf in (e if isinstance(e, Mapping) else {column: e})}


def shown(value: object) -> str:
    """A value of a column: a number without needless digits, "" for none."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _unique(rows: Sequence[Row], told: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    pairs = zip(rows, told, strict=True)
    return len({(r.column, r.metric, *(keys[k] for k in names)) for r, keys in pairs}) == len(rows)


def _is_number(text: str) -> bool:
    try:
        number(text, "", "")
    except InputError:
        return False
    return True
