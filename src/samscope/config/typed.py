"""From mappings to typed values: every text file and every record is read through here.

A kind of value is a frozen dataclass; what a field may hold follows from its annotation, and
`Annotated` adds a `Check` with its words. The standard library alone: it reads on a bare machine.
"""

import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from samscope.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Check:
    """Whether a value may stand in a field, and in words what may."""

    fits: Callable[[Any], bool]
    allowed: str


def between(low: float, high: float, allowed: str) -> Check:
    """A number of this range."""
    return Check(lambda value: low <= value <= high, allowed)


def among(names: Collection[Any]) -> Check:
    """One of these."""
    return Check(lambda value: value in names, ", ".join(map(str, names)))


Count = Annotated[int, between(1, math.inf, "a whole number from 1")]
Seeds = Annotated[int, between(1, 10_000, "a whole number from 1 to 10000")]
Whole = Annotated[int, between(0, math.inf, "a whole number from 0")]
Positive = Annotated[float, Check(lambda value: 0 < value < math.inf, "a number above 0")]
Text = Annotated[str, Check(bool, "text")]


def read(kind: type[T], value: object, where: object, path: str = "") -> T:
    """A value of a dataclass from a mapping of its fields.

    Args:
        kind: a frozen dataclass.
        value: as YAML or JSON gives it.
        where: the file, for messages.
        path: of the value in it, such as ``tables.T1``.

    Raises:
        InputError: for no mapping, an unknown or a missing key, or a value that a field does not
            allow; naming file, field and value.
    """
    if not isinstance(value, Mapping):
        raise InputError(where, path or "file", value, "a mapping of keys to values")
    hints = _hints(kind)
    known = {field.name: field for field in fields(kind) if field.init}
    for key in value:
        if key not in known:
            raise InputError(where, _at(path, key), "an unknown key", ", ".join(known))
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if name not in value and not optional:
            allowed = f"the keys {', '.join(_needed(kind))}"
            raise InputError(where, _at(path, name), "(missing)", allowed)
    found = {key: _read(hints[key], held, where, _at(path, key)) for key, held in value.items()}
    return kind(**found)


def _read(hint: Any, value: object, where: object, path: str) -> Any:
    """A value of a type hint, with its checks."""
    if get_origin(hint) is Annotated:
        inner, *checks = get_args(hint)
        words = next((c.allowed for c in checks if isinstance(c, Check)), "")
        try:
            found = _read(inner, value, where, path)
        except InputError as error:
            if error.field != path or is_dataclass(inner) or not words:
                raise
            raise InputError(where, path, value, words) from None
        for check in checks:
            if isinstance(check, Check) and not check.fits(found):
                raise InputError(where, path, value, check.allowed)
        return found
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, value, where, path)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where, path)
    if origin is Literal:
        if not any(a == value and type(a) is type(value) for a in arguments):
            raise InputError(where, path, value, ", ".join(map(str, arguments)))
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(where, path, value, "a list")
        return tuple(_read(arguments[0], v, where, _at(path, i)) for i, v in enumerate(value))
    if origin in (dict, Mapping):
        return _mapping(arguments, value, where, path)
    return _plain(hint, value, where, path)


def _union(arguments: tuple, value: object, where: object, path: str) -> Any:
    """Of several types, the first that the value is of."""
    error: InputError | None = None
    for inner in arguments:
        if inner is types.NoneType:
            if value is None:
                return None
            continue
        try:
            return _read(inner, value, where, path)
        except InputError as refused:
            error = refused
    if error is not None and len([a for a in arguments if a is not types.NoneType]) == 1:
        raise error
    names = " or ".join("null" if a is types.NoneType else _name(a) for a in arguments)
    raise InputError(where, path, value, names)


def _mapping(arguments: tuple, value: object, where: object, path: str) -> dict:
    if not isinstance(value, Mapping):
        raise InputError(where, path, value, "a mapping of keys to values")
    key_type, held = arguments
    return {
        _read(key_type, str(k) if key_type is str else k, where, path): _read(
            held, v, where, _at(path, k)
        )
        for k, v in value.items()
    }


def _plain(hint: Any, value: object, where: object, path: str) -> Any:
    if hint is Any or hint is object:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (isinstance(value, float) and math.isnan(value)):
        raise InputError(where, path, value, _name(hint))
    return value


def _name(hint: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if get_origin(hint) is Annotated:
        return next((c.allowed for c in get_args(hint)[1:] if isinstance(c, Check)), "")
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def _at(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _needed(kind: type) -> tuple[str, ...]:
    return tuple(
        f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
    )
