"""What a paper claims, as its ``claims.yaml`` says: kinds of claims, their fields, what each holds.

Read with the plan, so that a mistake stops before anything trains; no torch and no pandas here. How
each kind is tested is in `samscope.analysis.claims`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samscope.config.reading import read_yaml
from samscope.config.reported import METRICS, SETTINGS
from samscope.errors import InputError
from samscope.optim.bins import BINS, LAGS
from samscope.optim.mixes import VARIANTS, named_mix

QUANTITIES = (
    "lambda_max", "leading_ratio", "trace", "lambda_min", "asymmetry", "worst_case",
    "average_case", "pooled_max", "pooled_mean",
)  # fmt: skip
"""Of a spectrum, see `samscope.analysis.spectra.QUANTITIES`."""


@dataclass(frozen=True)
class Check:
    """Whether a value may stand in a field, and in words what may."""

    fits: Callable[[Any], bool]
    allowed: str


@dataclass(frozen=True)
class Kind:
    """The fields of a kind of claim: those it needs and those it may have."""

    needed: dict[str, Check]
    optional: dict[str, Check] = field(default_factory=dict)


def _one_of(*words: str | int) -> Check:
    return Check(lambda value: value in words, ", ".join(map(str, words)))


def _number(low: float, high: float, allowed: str) -> Check:
    return Check(lambda value: type(value) in (int, float) and low <= value <= high, allowed)


def _each(check: Check) -> Check:
    def fits(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(map(check.fits, value))

    return Check(fits, f"a list; each entry: {check.allowed}")


def _names_variant(value: Any) -> bool:
    name, _, condition = str(value).partition(" condition=")
    try:
        named_mix(name, float(condition) if condition else None)
    except ValueError:
        return False
    return True


def _names_settings(value: Any) -> bool:
    pairs = [pair.partition("=") for pair in str(value).split(",")]
    return value == "" or all(name in SETTINGS and setting for name, _, setting in pairs)


_TEXT = Check(lambda value: isinstance(value, str), "text")
_VARIANT = Check(_names_variant, f"{VARIANTS}; sameckpt<S> condition=<number>")
_SETTING = Check(
    _names_settings, f'{", ".join(SETTINGS)} as a table prints them, such as lr=0.1, or ""'
)
_METRIC, _REGION, _BIN = _one_of(*METRICS), _one_of(1, 2, 3, 4), _one_of(*BINS)
_WHEN = _one_of("first_epoch", "last_epoch", "first_half", "second_half", "mean")
_SIDE, _WAY = _one_of("a_above_b", "a_below_b"), _one_of("rises", "falls")
_GRADIENT = _one_of("g", "h")
_PERCENT = _number(0, 100, "a number from 0 to 100")
_AT = {"variant": _VARIANT, "rhos": _each(_number(0, math.inf, "a number >= 0"))}
_FROM_TO = {"from": _WHEN, "to": _WHEN}
_BOUNDS = {"at_least": _PERCENT, "at_most": _PERCENT}
_TWO = {"a": _VARIANT, "b": _VARIANT, "rhos": _AT["rhos"], "direction": _SIDE}

COMMON = dict.fromkeys(("id", "quote", "location", "test", "reported", "kind"), _TEXT)
KINDS = {
    "greater": Kind({"metric": _METRIC, **_TWO}),
    "largest": Kind({"metric": _METRIC, "among": _each(_VARIANT), **_AT}),
    "share": Kind({"region": _REGION, "when": _WHEN, **_AT}, _BOUNDS),
    "share_trend": Kind(
        {
            "region": _REGION, **_AT, **_FROM_TO,
            "direction": _one_of("rises", "falls", "does_not_fall"),
        },
        {"margin": _number(0, 100, "a number of points, with does_not_fall alone")},
    ),
    "curvature": Kind({"metric": _one_of(*QUANTITIES), **_TWO}),
    "persistence": Kind(
        {
            "statistic": _one_of("overlap", "unbroken"), "region": _REGION, **_AT,
            "lag": _one_of(*LAGS, "last"),
        },
        _BOUNDS,
    ),
    "rank": Kind({"of": _GRADIENT, **_AT}, _BOUNDS),
    "rank_trend": Kind({"of": _GRADIENT, **_AT, **_FROM_TO, "direction": _WAY}),
    "bin_largest": Kind({"bin": _BIN, "among": _each(_BIN), "when": _WHEN, **_AT}),
    "bin_trend": Kind({"bins": _each(_BIN), **_AT, **_FROM_TO, "direction": _WAY}),
    "correlation": Kind({"region": _REGION, **_AT, "over": _one_of("across", "within")}),
    "explained": Kind(
        {
            "metric": _METRIC, "control": _VARIANT, "a": _VARIANT, "b": _VARIANT,
            "rhos": _AT["rhos"], "share": _number(0, 1, "a number from 0 to 1"),
        }
    ),
    "settings": Kind(
        {
            "metric": _one_of(*METRICS, "grad_norm"), "variant": _VARIANT, "a": _SETTING,
            "b": _SETTING, "direction": _SIDE,
        }
    ),
}  # fmt: skip


def read(path: Path) -> tuple[dict[str, Any], ...]:
    """The claims of a ``claims.yaml``, in order; none where there is no such file.

    Raises:
        InputError: for an unknown kind, an unknown or missing field, or a value that a field does
            not allow; naming file, claim, field and value.
    """
    if not path.exists():
        return ()
    where = f"{path.parent.name}/{path.name}"
    claims = read_yaml(path).get("claims")
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise InputError(where, "claims", claims, "a list of claims, each with its fields")
    seen: set[str] = set()
    for claim in claims:
        _check(claim, f"{where} {claim.get('id', '(no id)')}")
        if claim["id"] in seen:
            raise InputError(where, "id", claim["id"], "an id of its own for each claim")
        seen.add(claim["id"])
    return tuple(claims)


def _check(claim: dict[str, Any], where: str) -> None:
    kind = KINDS.get(str(claim.get("kind")))
    if kind is None:
        raise InputError(where, "kind", claim.get("kind", "(missing)"), ", ".join(KINDS))
    needed = COMMON | kind.needed
    known = {**needed, "note": _TEXT, **kind.optional}
    for name in needed:
        if name not in claim:
            raise InputError(where, name, "(missing)", needed[name].allowed)
    for name, value in claim.items():
        if name not in known:
            raise InputError(where, str(name), "an unknown key", ", ".join(known))
        if not known[name].fits(value):
            raise InputError(where, name, value, known[name].allowed)
    _check_together(claim, where)


def _check_together(claim: dict[str, Any], where: str) -> None:
    """What only several fields show."""
    low, high = claim.get("at_least"), claim.get("at_most")
    if claim["kind"] == "share" and low is None and high is None:
        raise InputError(where, "at_least", "(missing)", "a bound, here or in at_most")
    if None not in (low, high) and low >= high:
        raise InputError(where, "at_most", high, f"more than at_least, {low}")
    if (claim.get("direction") == "does_not_fall") != ("margin" in claim):
        allowed = "a number of points, with does_not_fall alone"
        raise InputError(where, "margin", claim.get("margin", "(missing)"), allowed)
    one = claim.get("bin", claim.get("variant"))
    if one not in claim.get("among", [one]):
        raise InputError(where, "among", claim["among"], f"a list with {one} in it")
