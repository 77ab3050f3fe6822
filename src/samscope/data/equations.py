"""Equations ``a o b = c``, all there are of an operation, as tokens: nothing is downloaded.

As in openai/grok@3d64b1d, grok/data.py, with its vocabulary of 239 tokens, its order and its
operations that take two operands. Where a set has a vocabulary of its own, that holds the end, the
sign of equality, the operation and the elements, in this order.
"""

from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from samscope.errors import InputError

END, EQUALS = 0, 1
"""Tokens before and after an equation, and of its ``=``."""

SOURCES_TOKENS = 239
"""Of the source: end, equals, 20 operations, the numbers below 97, the permutations of five."""

Numbers = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _mixed(even: Numbers, odd: Numbers) -> Numbers:
    """One operation where a is even, another where it is odd."""
    return lambda a, b, p: np.where(a % 2 == 0, even(a, b, p), odd(a, b, p))


def _add(a: np.ndarray, b: np.ndarray, p: int) -> np.ndarray:
    return a + b


NUMBERS: dict[str, tuple[str, Numbers]] = {
    "addition": ("+", _add),
    "subtraction": ("-", lambda a, b, p: a - b),
    "multiplication": ("*", lambda a, b, p: a * b),
    "division": ("/", lambda a, b, p: a * _inverses(p)[b]),
    "square_plus": ("**2+", lambda a, b, p: a**2 + b),
    "cube_plus": ("**3+", lambda a, b, p: a**3 + b),
    "quad1": ("x**2+y**2_mod_97", lambda a, b, p: a**2 + b**2),
    "quad2": ("x**2+y**2+x*y_mod_97", lambda a, b, p: a**2 + b**2 + a * b),
    "quad3": ("x**2+y**2+x*y+x_mod_97", lambda a, b, p: a**2 + b**2 + a * b + a),
    "cube1": ("x**3+x*y_mod_97", lambda a, b, p: a**3 + a * b),
    "cube2": ("x**3+x*y**2+y_mod_97", lambda a, b, p: a**3 + a * b**2 + b),
    "divide_or_subtract": (
        "(x._value//y)if(y._value%2==1)else(x-y)_mod_97",
        lambda a, b, p: np.where(b % 2 == 1, a * _inverses(p)[b], a - b),
    ),
    "add_or_multiply": ("+*", _mixed(_add, lambda a, b, p: a * b)),
    "add_or_subtract": ("+-", _mixed(_add, lambda a, b, p: a - b)),
}
"""Operations on the numbers below p: by name the source's token, and c before it is taken mod p."""

DIVIDES = ("division", "divide_or_subtract")
"""Those that need an inverse of every number but 0."""

PERMUTATIONS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "s5": ("s5", lambda a, b: b[a]),
    "s5_conjugate": ("s5conj", lambda a, b: np.argsort(a)[b[a]]),
    "s5_aba": ("s5aba", lambda a, b: a[b[a]]),
}
"""Operations on permutations of five, a and b as where each of 0 to 4 goes: first a, then b."""

_SIGNS = sorted(
    [sign for sign, _ in (*NUMBERS.values(), *PERMUTATIONS.values())] + ["sort", "reverse", "copy"]
)


def fetch(name: str, data_dir: Path) -> dict[str, np.ndarray]:
    """The equations of a set, in the source's order: ``tokens`` uint8 [N, 7], end to end.

    Args:
        name: of `samscope.data.SOURCES`.
        data_dir: not needed, nothing is downloaded.

    Raises:
        InputError: for a modulus that the operation does not have.
    """
    from samscope.data import SOURCES

    return {"tokens": equations(SOURCES[name].facts, name)}


def check(arrays: Mapping[str, np.ndarray], where: Path) -> None:
    """Refuse equations that are not those of the set.

    Raises:
        InputError: naming the first that differs.
    """
    found, known = arrays["tokens"], fetch(where.stem, where.parent)["tokens"]
    if len(found) != len(known):
        raise InputError(where, "tokens", f"{len(found)} equations", f"the {len(known)} there are")
    wrong = np.flatnonzero((found != known).any(1))
    if len(wrong):
        value = f"{found[wrong[0]].tolist()} as equation {wrong[0] + 1}"
        raise InputError(where, "tokens", value, str(known[wrong[0]].tolist()))


def equations(facts: Mapping[str, Any], where: str) -> np.ndarray:
    """All equations of an operation, as `fetch` has them.

    Args:
        facts: ``operation``, of `NUMBERS` or `PERMUTATIONS`; ``modulus`` of the former; ``tokens``,
            the size of the vocabulary.
        where: how messages name them.

    Raises:
        InputError: for a modulus that the operation does not have.
    """
    operation, own = facts["operation"], facts["tokens"] < SOURCES_TOKENS
    if operation in PERMUTATIONS:
        sign, a, b, c, first = *_of_permutations(operation), 22 + 97
    else:
        sign, a, b, c, first = *_of_numbers(operation, facts["modulus"], where), 22
    operator, first = (2, 3) if own else (2 + _SIGNS.index(sign), first)
    fixed = [np.full(len(a), token) for token in (END, operator, EQUALS)]
    end, operator_, equals = fixed
    return np.stack([end, a + first, operator_, b + first, equals, c + first, end], 1).astype(
        np.uint8
    )


def _of_numbers(
    operation: str, p: int, where: str
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The operation's token, and a, b and c of its equations."""
    _check_modulus(operation, p, where)
    sign, of = NUMBERS[operation]
    a, b = (axis.ravel() for axis in np.meshgrid(range(p), range(p), indexing="ij"))
    if operation != "division":
        return sign, a, b, of(a, b, p) % p
    # The source goes through the quotients, and has no division by 0.
    c, b = a[b != 0], b[b != 0]
    a = b * c % p
    return sign, a, b, of(a, b, p) % p


def _check_modulus(operation: str, p: int, where: str) -> None:
    if not 2 <= p <= 97:
        raise InputError(where, "modulus", p, "2 to 97")
    if operation in DIVIDES and any(p % factor == 0 for factor in range(2, p)):
        raise InputError(where, "modulus", p, f"a prime, for {operation}")


def _inverses(p: int) -> np.ndarray:
    """Of each number below p, a prime; 0 for 0, by which nothing is divided."""
    return np.array([0] + [pow(b, -1, p) for b in range(1, p)])


def _of_permutations(operation: str) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """The operation's token, and a, b and c of its equations, as places among all permutations."""
    sign, of = PERMUTATIONS[operation]
    elements = list(permutations(range(5)))
    places = {element: place for place, element in enumerate(elements)}
    a, b = (axis.ravel() for axis in np.meshgrid(range(120), range(120), indexing="ij"))
    arrays = np.array(elements)
    c = [places[tuple(of(arrays[i], arrays[j]).tolist())] for i, j in zip(a, b, strict=True)]
    return sign, a, b, np.array(c)
