"""Numbers in text, a row a line, values apart by commas: what is none is named by its line."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import DTypeLike

from samscope.errors import InputError

LONGEST = 40
"""Letters of a value that an error shows."""


def table(
    lines: Callable[[], Iterable[str]], where: object, columns: int, dtype: DTypeLike, allowed: str
) -> np.ndarray:
    """The numbers of a text, all finite, [lines, columns].

    Lines count from 1. Empty ones are allowed at the end alone: elsewhere a row may be lost.

    Args:
        lines: opens the text; called again to find the line that is at fault.
        where: the text, for errors.
        columns: of each line.
        dtype: of the numbers.
        allowed: what a line holds, for errors.

    Raises:
        InputError: for a line that is something else, or a text without lines.
    """
    rows = _rows(lines(), where, allowed)
    first = next(rows, None)
    if first is None:
        raise InputError(where, "content", "(empty)", allowed)
    told = chain([first], rows)
    try:
        with np.errstate(over="ignore"):
            found = np.loadtxt(told, dtype=dtype, delimiter=",", comments=None, ndmin=2)
    except InputError:
        raise
    except ValueError as error:
        fault = str(error).splitlines()[0]
    else:
        fault = f"{found.shape[1]} values a line"
        if found.shape[1] == columns and np.isfinite(found).all():
            return found
    for number, line in enumerate(lines(), 1):
        if (wrong := _wrong(line.rstrip("\r\n").split(","), columns, dtype)) is not None:
            raise InputError(where, f"line {number}", wrong, allowed)
    raise InputError(where, "content", fault, allowed)


def _rows(lines: Iterable[str], where: object, allowed: str) -> Iterator[str]:
    """The lines, up to the empty ones at the end."""
    empty = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            empty = empty or number
        elif empty:
            raise InputError(where, f"line {empty}", "(empty)", allowed)
        else:
            yield line


def _wrong(values: list[str], columns: int, dtype: DTypeLike) -> str | None:
    """What is no number of a line, or how many there are; None where all is well."""
    if len(values) != columns:
        return f"{len(values)} value{'s' if len(values) > 1 else ''}"
    for column, value in enumerate(values, 1):
        try:
            with np.errstate(over="ignore"):
                if np.isfinite(np.array(value.strip()).astype(dtype)):
                    continue
        except (ValueError, OverflowError):
            pass
        shown = value.strip() or "(empty)"
        shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
        return f"{shown} in column {column}" if columns > 1 else shown
    return None
