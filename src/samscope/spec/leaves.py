"""Values made of values, and their flat form: leaves by name, as text files and records have it.

A value is a frozen dataclass whose fields are numbers, words, or values again; every leaf has a
name of its own in the whole.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_args, get_type_hints

from samscope.errors import InputError

INFINITE = "inf"
"""How an infinite number stands in a flat form, for JSON has none."""


@cache
def leaves(kind: type) -> dict[str, tuple[tuple[str, ...], Any, Any]]:
    """The leaves of a kind of value: by name, the path to each, its type and its default.

    The default is `dataclasses.MISSING` where there is none.
    """
    return dict(_leaves(kind, ()))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _leaves(kind: type, path: tuple[str, ...]) -> Iterator[tuple[str, tuple]]:
    hints = _hints(kind)
    for field in _fields(kind):
        here = (*path, field.name)
        if is_dataclass(hints[field.name]):
            yield from _leaves(hints[field.name], here)
        else:
            name = field.metadata.get("leaf", field.name)
            yield name, (here, hints[field.name], field.default)


def _fields(kind: type) -> list[Field]:
    """The fields that are part of a value: what is compared."""
    return [field for field in fields(kind) if field.compare]


def flatten(value: Any) -> dict[str, Any]:
    """The leaves of a value, ready for JSON."""
    kind: type = type(value)
    flat = {}
    for name, (path, _, _) in leaves(kind).items():
        at = value
        for step in path:
            at = getattr(at, step)
        flat[name] = INFINITE if isinstance(at, float) and math.isinf(at) else at
    return flat


def build(kind: type, flat: Mapping[str, Any], where: object, shown: tuple[str, ...] = ()) -> Any:
    """The spec of these leaves; its id shows those named by ``shown``.

    Raises:
        InputError: for an unknown or a missing leaf, or one of another type or range.
    """
    known = leaves(kind)
    for name, value in (*flat.items(), *dict.fromkeys(shown, "shown in ids").items()):
        if name not in known:
            raise InputError(where, name, value, f"the fields {', '.join(sorted(known))}")
    for name, (_, _, default) in known.items():
        if name not in flat and default is MISSING:
            raise InputError(where, name, "(missing)", "a value")
    spec = _build(kind, {k: typed(k, v, known[k][1], where) for k, v in flat.items()})
    return replace(spec, shown=shown) if shown else spec


def _build(kind: type, flat: Mapping[str, Any]) -> Any:
    hints, found = _hints(kind), {}
    for field in _fields(kind):
        if is_dataclass(hints[field.name]):
            found[field.name] = _build(hints[field.name], flat)
            continue
        name = field.metadata.get("leaf", field.name)
        if name in flat:
            found[field.name] = flat[name]
    return kind(**found)


def typed(name: str, value: object, expected: Any, where: object) -> Any:
    """A leaf of its type: JSON and YAML write 1.0 as 1, and no digest may tell them apart.

    Raises:
        InputError: for another type, and NaN.
    """
    allowed = get_args(expected) or (expected,)
    if float in allowed and value == INFINITE:
        return math.inf
    if float in allowed and int not in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed or (isinstance(value, float) and math.isnan(value)):
        kinds = " or ".join(t.__name__ for t in allowed).replace("NoneType", "none")
        raise InputError(where, name, value, f"a finite {kinds}")
    return value


def parsed(kind: type, name: str, text: str, where: object) -> Any:
    """A leaf as a column of a table prints it.

    Raises:
        InputError: for text that is no value of its type.
    """
    allowed = get_args(leaves(kind)[name][1]) or (leaves(kind)[name][1],)
    words = {"true": True, "false": False}
    for plain in allowed:
        if plain is bool and text.lower() in words:
            return words[text.lower()]
        if plain in (int, float, str):
            try:
                return typed(name, plain(text), leaves(kind)[name][1], where)
            except ValueError:
                continue
    kinds = " or ".join(t.__name__ for t in allowed if t is not type(None))
    raise InputError(where, name, text, f"a {kinds}, or empty")


def digits(value: float) -> str:
    """A number as ids and messages have it: short, and no other number's.

    >>> digits(0.1), digits(2.0), digits(0.1000000001)
    ('0.1', '2', '0.1000000001')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def within(where: str, value: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a field outside of its range; None is in all of them."""
    for name, (low, high) in ranges.items():
        found = getattr(value, name)
        if found is not None and not (math.isfinite(found) and low <= found <= high):
            raise InputError(where, name, found, f"{low} to {high}")
