"""What a paper's ``errata.md`` asks to be measured, read with the plan: no torch and no pandas.

A comment ``<!-- measured: columns T4: A | B -->`` asks for columns of a table, ``cells T2: A @ 0.6
| S1: B @ 0.1`` for single cells, ``claims C1 C2`` for verdicts, ``selection`` for what choosing the
epoch on validation samples makes. What a name stands for is in `samscope.report.errata`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from samscope.analysis import claims
from samscope.analysis.keys import Keys
from samscope.config.reading import text_of
from samscope.errors import InputError
from samscope.plan.types import Paper, Plan

KINDS = ("columns", "cells", "claims", "selection")
_DIRECTIVE = re.compile(r"<!-- measured: *(\w+) *(.*?) *-->")


@dataclass(frozen=True)
class Directive:
    """A comment that asks for a measurement.

    Attributes:
        before: the text between the comment before it and this one.
        kind: one of `KINDS`.
        of: what is asked for.
    """

    before: str
    kind: str
    of: str

    @property
    def columns(self) -> tuple[str, list[str]]:
        """Of the kind ``columns``: a table, and the headings of its columns."""
        table, _, names = self.of.partition(": ")
        return table, [name.strip() for name in names.split("|")]

    @property
    def cells(self) -> list[tuple[str, str, str]]:
        """Of the kind ``cells``: of each its table, the heading of its column, its row's label."""
        found = []
        for name in self.of.split(" | "):
            table, _, place = name.partition(": ")
            column, _, label = place.partition(" @ ")
            found.append((table, column, label))
        return found


def read(path: Path) -> tuple[list[Directive], str]:
    """The comments of a text that ask for a measurement, in order, and what follows the last.

    Raises:
        InputError: for one that asks for something else, or a file that cannot be read.
    """
    if not path.exists():
        return [], ""
    try:
        text, found, at = text_of(path), [], 0
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "file", str(error), "a readable UTF-8 text") from None
    for match in _DIRECTIVE.finditer(text):
        if match[1] not in KINDS:
            raise InputError(path, "measured", match[1], ", ".join(KINDS))
        found.append(Directive(text[at : match.start()], match[1], match[2]))
        at = match.end()
    return found, text[at:]


def check(plan: Plan) -> None:
    """Refuse errata that ask for a table, a column, a row or a claim that the paper has not.

    Of a table that is not planned its name alone is looked up.

    Raises:
        InputError: for the first of them, naming file, comment and what there is.
    """
    for paper in plan.papers.values():
        path = paper.folder / "errata.md"
        for asked in read(path)[0]:
            try:
                _check(paper, asked)
            except LookupError as error:
                where, field = f"{paper.name}/{path.name}", f"measured: {asked.kind}"
                raise InputError(where, field, asked.of, error.args[0]) from None


def _check(paper: Paper, asked: Directive) -> None:
    if asked.kind == "columns":
        table, names = asked.columns
        for name in names:
            _find(paper, table, name)
    elif asked.kind == "cells":
        for cell in asked.cells:
            _find(paper, *cell)
    elif asked.kind == "claims":
        ids = [claim.id for claim in claims.read(paper)]
        for name in asked.of.split():
            place(ids, name, "the claims")


def _find(paper: Paper, table: str, column: str, label: str | None = None) -> None:
    """Look a column of a table up, and a row that it has a number in."""
    place(paper.about.tables, table, "the tables")
    if table not in paper.tables:
        return
    rows, keys = paper.tables[table].rows, Keys(paper)
    place(dict.fromkeys(row.column for row in rows), column, f"the columns of {table}")
    if label is not None:
        names = keys.apart(rows)
        here = dict.fromkeys(keys.label(row, names) for row in rows if row.column == column)
        place(here, label, f"the rows of {column}, by {' '.join(names)},")


def place(names: Iterable[str], name: str, what: str) -> int:
    """The place of a name.

    Raises:
        LookupError: which tells what there is, where it is none of them.
    """
    known = list(names)
    if name not in known:
        raise LookupError(f"{what} {', '.join(known) or 'none'}")
    return known.index(name)
