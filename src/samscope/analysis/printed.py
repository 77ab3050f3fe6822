"""What a paper itself has in the rows of its tables, whatever a profile puts in the place of it."""

from collections.abc import Mapping
from dataclasses import MISSING
from functools import lru_cache
from typing import Any

from samscope.config.claims import BEST
from samscope.errors import InputError
from samscope.plan.rows import CHOOSE, written
from samscope.plan.types import Paper, Row
from samscope.spec import Spec, Unmade
from samscope.spec.leaves import leaves, parsed


def values(paper: Paper, row: Row) -> dict[str, tuple[str, ...]]:
    """The leaves of a row as the paper has them, as text; several where the best was printed.

    None of a number that nothing here can make.
    """
    return _values(paper, type(row.spec), tuple(row.keys.items()))


@lru_cache(100_000)
def _values(
    paper: Paper, kind: type[Spec], keys: tuple[tuple[str, str], ...]
) -> dict[str, tuple[str, ...]]:
    if kind is Unmade:
        return {}
    own = {name: default for name, (_, _, default) in leaves(kind).items()}
    own |= {leaf: value for leaf, value in paper.about.protocol.items() if leaf in own}
    several: dict[str, list[Any]] = {}
    for column, text in keys:
        if column in paper.about.keys:
            entry = paper.about.keys[column][text]
            entry = dict(entry) if isinstance(entry, Mapping) else {column: entry}
            several |= entry.pop(CHOOSE, {})
            own |= entry
        elif text:
            own[column] = parsed(kind, column, text, paper.name)
    single = {leaf: [value] for leaf, value in own.items() if value is not MISSING}
    return {leaf: _one(tuple(map(written, held))) for leaf, held in (single | several).items()}


@lru_cache(100_000)
def _one(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The same, once: most leaves are the same in all rows, and tables may have many."""
    return texts


def check(paper: Paper, where: Mapping[str, Any], name: str) -> None:
    """Refuse leaves that no row of a paper has together.

    Raises:
        InputError: for the first that no row has beside those before it, with ``name`` at fault.
    """
    left = _distinct(paper)
    for leaf, value in where.items():
        before, of = left, {leaf: value}
        left = [row for row in before if fits(row, of)]
        if not left:
            known = sorted({text for row in before for text in row.get(leaf, ())})
            raise InputError(name, f"where.{leaf}", value, ", ".join(known) or "no row has it")


@lru_cache(100)
def _distinct(paper: Paper) -> list[dict[str, tuple[str, ...]]]:
    """The leaves of a paper's rows, as `values` tells them, each once."""
    found = (values(paper, row) for row in paper.rows)
    return list({tuple(sorted(row.items())): row for row in found}.values())


def fits(row: Mapping[str, tuple[str, ...]], where: Mapping[str, Any]) -> bool:
    """Whether a row, as `values` tells it, has these leaves."""
    for leaf, value in where.items():
        held = row.get(leaf, ())
        if len(held) < 2 if value == BEST else written(value) not in held:
            return False
    return True
