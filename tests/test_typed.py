"""Mappings become typed values, or one line says which field holds what it may not."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from samscope.config.typed import Check, Count, Positive, between, read
from samscope.errors import InputError

Even = Annotated[int, Check(lambda value: value % 2 == 0, "an even number")]


@dataclass(frozen=True)
class Inner:
    count: Count
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    even: Even = 2
    rho: Positive | None = None
    many: tuple[Inner, ...] = ()
    by_name: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    flag: bool = False
    shares: tuple[Annotated[float, between(0, 1, "a share")], ...] = ()


def outer(**changes):
    return {"name": "x", "inner": {"count": 1}, **changes}


def test_a_mapping_becomes_a_value():
    given = outer(rho=1, many=[{"count": 2, "kind": "b"}], by_name={"a": 3})
    found = read(Outer, given, "file")
    assert found == Outer("x", Inner(1), 2, 1.0, (Inner(2, "b"),), {"a": 3.0})
    assert type(found.rho) is float
    assert type(found.by_name["a"]) is float


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"nam": 1}, "file: nam: an unknown key is not allowed; allowed: name, inner, even, rho"),
        ({"inner": {}}, "file: inner.count: (missing) is not allowed; allowed: the keys count"),
        ({"inner": 3}, "file: inner: 3 is not allowed; allowed: a mapping of keys to values"),
        ({"inner": {"count": 0}}, "file: inner.count: 0 is not allowed; allowed: a whole number"),
        ({"inner": {"count": 1.0}}, "file: inner.count: 1.0 is not allowed; allowed: a whole"),
        ({"inner": {"count": True}}, "file: inner.count: True is not allowed; allowed: a whole"),
        ({"inner": {"count": 1, "kind": "c"}}, "file: inner.kind: c is not allowed; allowed: a, b"),
        ({"even": 3}, "file: even: 3 is not allowed; allowed: an even number"),
        ({"even": "3"}, "file: even: 3 is not allowed; allowed: an even number"),
        ({"rho": 0}, "file: rho: 0 is not allowed; allowed: a number above 0"),
        ({"rho": float("nan")}, "file: rho: nan is not allowed; allowed: a number above 0"),
        ({"many": {}}, "file: many: {} is not allowed; allowed: a list"),
        ({"shares": [0.5, 2]}, "file: shares.1: 2 is not allowed; allowed: a share"),
        ({"many": [{}]}, "file: many.0.count: (missing) is not allowed"),
        ({"by_name": {"a": "b"}}, "file: by_name.a: b is not allowed; allowed: a number"),
        ({"flag": 1}, "file: flag: 1 is not allowed; allowed: true or false"),
        ({"name": None}, "file: name: None is not allowed; allowed: text"),
    ],
)
def test_what_a_field_may_not_hold_is_told_in_one_line(change, line):
    with pytest.raises(InputError) as caught:
        read(Outer, outer(**change), "file")
    assert str(caught.value).startswith(line)


def test_a_missing_key_names_all_that_are_needed():
    with pytest.raises(InputError, match=r"file: name: \(missing\).*the keys name, inner"):
        read(Outer, {}, "file")


def test_a_range_has_words():
    assert between(0, 1, "a share").fits(0.5)
    assert not between(0, 1, "a share").fits(2)
