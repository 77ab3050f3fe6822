"""Verdicts: what a paper claims, tested on the cells of its tables as ``claims.yaml`` says.

A claim is a family of comparisons, one a rho (and rival). Each is a t-test over seeds, paired
where it compares two variants, and Holm's correction holds the family at 5 %. *supported*: every
comparison is significant on the claimed side. *contradicted*: one is significant on the other
side. *not run*: none has a result. *inconclusive*: all else.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from samscope.analysis import comparisons, region_comparisons, results
from samscope.analysis.comparisons import Comparison, Records
from samscope.analysis.spectra import QUANTITIES
from samscope.analysis.stats import LEVEL, holm
from samscope.config import read_yaml
from samscope.errors import InputError
from samscope.measure.bins import BINS
from samscope.papers import Plan
from samscope.reported import METRICS

VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
COLUMNS = (
    "id", "quote", "location", "test", "reported", "note", "kind",
    "verdict", "effect", "ci_low", "ci_high", "unit", "n", "at", "p_holm", "reason",
)  # fmt: skip
_COMMON = ("id", "quote", "location", "test", "reported", "kind")
_WHEN = ("first_epoch", "last_epoch", "mean")
_SIDES = ("a_above_b", "a_below_b")


@dataclass(frozen=True)
class Kind:
    """How a kind of claim is tested: its comparisons, its fields, and the words a field allows."""

    compare: Callable[[Records, dict[str, Any]], list[Comparison]]
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    words: tuple[tuple[str, tuple[str, ...]], ...] = ()


KINDS = {
    "greater": Kind(
        comparisons.greater,
        ("metric", "a", "b", "rhos", "direction"),
        words=(("metric", METRICS), ("direction", _SIDES)),
    ),
    "largest": Kind(
        comparisons.largest, ("metric", "variant", "among", "rhos"), words=(("metric", METRICS),)
    ),
    "share": Kind(
        comparisons.share,
        ("region", "variant", "rhos", "when"),
        ("at_least", "at_most"),
        words=(("when", _WHEN), ("region", (1, 2, 3, 4))),
    ),
    "share_trend": Kind(
        comparisons.share_trend,
        ("region", "variant", "rhos", "from", "to", "direction"),
        words=(
            ("from", _WHEN), ("to", _WHEN), ("region", (1, 2, 3, 4)),
            ("direction", ("rises", "falls", "does_not_fall")),
        ),
    ),
    "curvature": Kind(
        comparisons.greater,
        ("metric", "a", "b", "rhos", "direction"),
        words=(("metric", tuple(QUANTITIES)), ("direction", _SIDES)),
    ),
    "persistence": Kind(
        region_comparisons.persistence,
        ("statistic", "region", "variant", "rhos", "lag"),
        ("at_least", "at_most"),
        words=(("statistic", ("overlap", "unbroken")), ("region", (1, 2, 3, 4))),
    ),
    "rank": Kind(
        region_comparisons.rank,
        ("of", "variant", "rhos"),
        ("at_least", "at_most"),
        words=(("of", ("g", "h")),),
    ),
    "bin_largest": Kind(
        region_comparisons.bin_largest,
        ("bin", "among", "variant", "rhos", "when"),
        words=(("bin", BINS), ("when", _WHEN)),
    ),
    "bin_trend": Kind(
        region_comparisons.bin_trend,
        ("bins", "variant", "rhos", "from", "to", "direction"),
        words=(("from", _WHEN), ("to", _WHEN), ("direction", ("rises", "falls"))),
    ),
    "correlation": Kind(
        region_comparisons.correlation,
        ("region", "variant", "rhos", "over"),
        words=(("region", (1, 2, 3, 4)), ("over", ("across", "within"))),
    ),
    "explained": Kind(
        region_comparisons.explained,
        ("metric", "control", "a", "b", "rhos", "share"),
        words=(("metric", METRICS),),
    ),
    "settings": Kind(
        region_comparisons.settings,
        ("metric", "variant", "a", "b", "direction"),
        words=(("metric", (*METRICS, "grad_norm")), ("direction", _SIDES)),
    ),
    "planned": Kind(lambda _records, _claim: [], ("missing",)),
}  # fmt: skip


LEVEL_OF_A_STAND_IN = "a level is the printed model's and data's own; a stand-in cannot decide it"


def load(plan: Plan, paper: str) -> list[dict[str, Any]]:
    """The claims of a paper, in order; an empty list where it has no ``claims.yaml``.

    Raises:
        InputError: for an unknown kind, an unknown or missing field, or a word not allowed.
    """
    path = plan.papers[paper].folder / "claims.yaml"
    if not path.exists():
        return []
    claims = read_yaml(path).get("claims")
    if not isinstance(claims, list):
        raise InputError(path, "claims", claims, "a list of claims")
    for claim in claims:
        _check(claim, path)
    return claims


def _check(claim: dict[str, Any], path: object) -> None:
    where = f"{path} {claim.get('id', '(no id)')}"
    kind = KINDS.get(claim.get("kind", ""))
    if kind is None:
        raise InputError(where, "kind", claim.get("kind"), ", ".join(KINDS))
    for name in (*_COMMON, *kind.fields):
        if name not in claim:
            raise InputError(where, name, "(missing)", "a value")
    known = (*_COMMON, "note", *kind.fields, *kind.optional)
    for name in claim:
        if name not in known:
            raise InputError(where, name, "an unknown key", ", ".join(known))
    for name, allowed in kind.words:
        if claim[name] not in allowed:
            raise InputError(where, name, claim[name], ", ".join(map(str, allowed)))


def evaluate(plan: Plan, paper: str) -> pd.DataFrame:
    """A line for every claim: columns `COLUMNS`, and ``parts``, all its comparisons.

    ``effect`` with its 95 % t-interval and ``n`` seeds is that of the comparison that supports the
    claim least, ``at`` names it; ``p_holm`` is its adjusted p-value.

    Raises:
        InputError: for a malformed ``claims.yaml`` or record.
    """
    records, stand_in = Records(plan, paper), plan.stand_in(paper)
    lines = [
        _line(claim, KINDS[claim["kind"]].compare(records, claim), stand_in)
        for claim in load(plan, paper)
    ]
    return pd.DataFrame(lines, columns=[*COLUMNS, "parts"])


def _line(claim: dict[str, Any], parts: list[Comparison], stand_in: bool) -> dict[str, Any]:
    line: dict[str, Any] = {name: claim.get(name, "") for name in (*_COMMON, "note")}
    done = [part for part in parts if part.n]
    adjusted = holm([part.p for part in done])
    verdict, reason = _verdict(claim, parts, done, adjusted)
    level = "at_least" in claim or "at_most" in claim
    if stand_in and level and verdict in ("supported", "contradicted"):
        verdict, reason = "inconclusive", LEVEL_OF_A_STAND_IN
    line |= {"verdict": verdict, "reason": reason, "parts": [asdict(part) for part in parts]}
    if done:
        worst = min(range(len(done)), key=lambda i: done[i].rank)
        part = done[worst]
        line |= {
            "effect": part.effect, "ci_low": part.low, "ci_high": part.high, "unit": part.unit,
            "n": part.n, "at": part.at, "p_holm": adjusted[worst],
        }  # fmt: skip
    return line


def _verdict(
    claim: dict[str, Any], parts: list[Comparison], done: list[Comparison], adjusted: list[float]
) -> tuple[str, str]:
    """The verdict and, where it is open, why."""
    if claim["kind"] == "planned":
        return "not run", claim["missing"]
    missing = _missing(parts)
    if not done:
        return "not run", missing
    alpha = 1 - LEVEL
    if any(p <= alpha and not part.claimed for part, p in zip(done, adjusted, strict=True)):
        return "contradicted", missing
    if missing:
        return "inconclusive", missing
    if all(p <= alpha for p in adjusted):
        return "supported", ""
    single = [part.at for part in done if math.isnan(part.p)]
    if single:
        why = "one seed" if done[0].n == 1 else "a diverged run"
        return "inconclusive", f"no interval at {', '.join(single)}: {why}"
    held = [part.at for part, p in zip(done, adjusted, strict=True) if p > alpha]
    family = f" (Holm over {len(done)})" if len(done) > 1 else ""
    return "inconclusive", f"not significant at {', '.join(held)}{family}"


def _missing(parts: list[Comparison]) -> str:
    """Which comparisons have no result, and why; "" where all have one."""
    reasons: dict[str, dict[str, None]] = {}
    for part in parts:
        if not part.n:
            reasons.setdefault(part.reason, {})[part.at.partition(",")[0]] = None
    return "; ".join(f"{reason} at {', '.join(places)}" for reason, places in reasons.items())


def write(plan: Plan, paper: str) -> None:
    """Write the verdicts: ``claims/<paper>.json`` with every comparison, and ``.csv``."""
    frame = evaluate(plan, paper)
    folder = plan.results / "claims"
    record = {"paper": paper, "profile": plan.profile, "claims": _clean(frame.to_dict("records"))}
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    results.put(folder / f"{paper}.json", text + "\n")
    results.put(
        folder / f"{paper}.csv", frame[list(COLUMNS)].to_csv(index=False, lineterminator="\n")
    )


def _clean(value: Any) -> Any:
    """The same with null for NaN and the infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
