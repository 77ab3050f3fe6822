"""Verdicts: what a paper claims, tested on the cells of its tables as ``claims.yaml`` says.

A claim is a family of comparisons, one a rho (and rival), each a t-test over seeds at 5 %, paired
where it compares two variants. *supported*: every comparison is significant on the claimed side.
All must be, so there is nothing to correct (an intersection-union test): a claim that is wrong in
one of them is supported no more often than that one. *contradicted*: one is significant on the
other side. Any one would do, so after Holm's correction over all. *not run*: none has a result.
*inconclusive*: all else.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from samscope.analysis import claims, results
from samscope.analysis.comparisons import Records
from samscope.analysis.effects import Comparison
from samscope.analysis.stats import LEVEL, holm
from samscope.analysis.view import View
from samscope.config.claims import Claim
from samscope.plan.types import Plan

VERDICTS = ("supported", "contradicted", "inconclusive", "not run")
_SAID = ("id", "quote", "location", "test", "reported", "note", "kind")
COLUMNS = (
    *_SAID,
    "verdict", "effect", "ci_low", "ci_high", "unit", "n", "at", "p", "p_holm", "reason",
)  # fmt: skip


def evaluate(plan: Plan, paper: str) -> pd.DataFrame:
    """A line for every claim: columns `COLUMNS`, and ``parts``, all its comparisons.

    ``effect`` with its 95 % t-interval and ``n`` seeds is that of the comparison that supports the
    claim least, ``at`` names it. ``p`` is its two-sided p-value, which must be at most 0.05 in all
    comparisons of a supported claim; ``p_holm`` the same after Holm's correction over them, which
    is at most 0.05 where one contradicts it.

    Raises:
        InputError: for a malformed record.
    """
    known, about, lines = claims.kinds(), plan.papers[paper], []
    of: dict[str, Records] = {}
    for claim in claims.read(about):
        records = of.setdefault(repr(claim.where), Records(View(plan, about, claim.where)))
        lines.append(_line(claim, known[claim.kind].compare(claim, records), records.unlike))
    return pd.DataFrame(lines, columns=[*COLUMNS, "parts"])


def _line(claim: Claim, parts: list[Comparison], unlike: str) -> dict[str, Any]:
    """A claim and its verdict; none of a level where what was trained is ``unlike`` the paper's."""
    line: dict[str, Any] = {name: getattr(claim, name) for name in _SAID}
    done = [part for part in parts if part.n]
    adjusted = holm([part.p for part in done])
    verdict, reason = _verdict(parts, done, adjusted)
    if unlike and claim.of_level and verdict in ("supported", "contradicted"):
        verdict, reason = "inconclusive", f"a level is not decided by another setting: {unlike}"
    line |= {"verdict": verdict, "reason": reason, "parts": [asdict(part) for part in parts]}
    if done:
        worst = min(range(len(done)), key=lambda i: (math.isnan(done[i].rank), done[i].rank))
        part = done[worst]
        line |= {
            "effect": part.effect, "ci_low": part.low, "ci_high": part.high, "unit": part.unit,
            "n": part.n, "at": part.at, "p": part.p, "p_holm": adjusted[worst],
        }  # fmt: skip
    return line


def _verdict(
    parts: list[Comparison], done: list[Comparison], adjusted: list[float]
) -> tuple[str, str]:
    """The verdict and, where it is open, why."""
    alpha = 1 - LEVEL
    missing = _told((part.reason, part.at.partition(",")[0]) for part in parts if not part.n)
    if not done:
        return "not run", missing
    if any(p <= alpha and not part.claimed for part, p in zip(done, adjusted, strict=True)):
        return "contradicted", missing
    lost = missing or _told((part.reason, part.at) for part in done if part.reason)
    if lost:
        return "inconclusive", lost
    held = [part for part in done if not (part.claimed and part.p <= alpha)]
    if not held:
        return "supported", ""
    corrected = f" (Holm over {len(done)})" if any(part.p <= alpha for part in held) else ""
    return "inconclusive", f"not significant at {', '.join(part.at for part in held)}{corrected}"


def _told(reasons: Iterable[tuple[str, str]]) -> str:
    """Reasons, each with the places it is given at; "" where there are none."""
    places: dict[str, dict[str, None]] = {}
    for reason, at in reasons:
        places.setdefault(reason, {})[at] = None
    return "; ".join(f"{reason} at {', '.join(found)}" for reason, found in places.items())


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
