"""Verdicts: what a paper claims, tested on the cells of its tables as ``claims.yaml`` says.

A claim is a family of comparisons, one a rho (and rival), each a t-test over seeds at 5 %, paired
where it compares two variants, and a test that it is within the margin that the file declares:

- *supported*: every comparison is significant on the claimed side. All must be, so there is nothing
  to correct (an intersection-union test): a claim that is wrong in one of them is supported no more
  often than that one.
- *equivalent*: every effect is within the margin, by two one-sided tests at 5 % (Schuirmann,
  Journal of Pharmacokinetics and Biopharmaceutics 15, 1987), whatever its sign. All must be, as
  above. One that is significant on a side as well is there, and too small to matter.
- *contradicted*: one is significant on the other side and not within the margin. Any one would do,
  so after Holm's correction over all.
- *not comparable*: a level of the paper's own setting, where another was trained.
- *not run*: none has a result. *inconclusive*: all else, with what would decide it.

A verdict is fragile where the p-value that decides it is within a factor of 2 of the level, or
where it is another without one of the seeds. Nothing is corrected over claims: those of one name
of ``runs`` rest on the same runs.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from samscope.analysis import claims, results
from samscope.analysis.comparisons import Records
from samscope.analysis.effects import Comparison
from samscope.analysis.stats import LEVEL, MOST, holm
from samscope.analysis.view import View
from samscope.config.claims import Claim
from samscope.errors import InputError
from samscope.plan.types import Plan

VERDICTS = (
    *("supported", "contradicted", "equivalent"),
    *("inconclusive", "not comparable", "not run"),
)
DECIDED = VERDICTS[:3]
_SAID = ("id", "quote", "location", "test", "reported", "note", "kind", "asks", "runs")
COLUMNS = (
    *_SAID,
    *("verdict", "effect", "ci_low", "ci_high", "unit", "n", "at", "p", "p_holm", "p_within"),
    *("fragile", "reason", "same_as"),
)
_ALPHA = 1 - LEVEL
_AGAIN = "samscope claims"

Compare = Callable[[Claim, Records], list[Comparison]]


def evaluate(plan: Plan, paper: str, only: Collection[str] = ()) -> pd.DataFrame:
    """A line for every claim: columns `COLUMNS`, ``margins``, and ``parts``, all its comparisons.

    ``effect`` with its 95 % t-interval and ``n`` seeds is that of the comparison that supports the
    claim least, ``at`` names it. ``p`` is its two-sided p-value, which must be at most 0.05 in all
    comparisons of a supported claim; ``p_holm`` the same after Holm's correction over them, which
    is at most 0.05 where one contradicts it. ``p_within`` is the largest p-value of all comparisons
    that the effect is within its margin. ``fragile`` says why a verdict is, ``reason`` why there is
    none, and what would decide. ``same_as`` is an earlier claim on the same runs: of a stand-in
    that does not tell two settings of the paper apart; such a claim is not counted once more.

    Args:
        plan: of the profile.
        paper: whose claims.
        only: ids of some of them; all where none is named.

    Raises:
        InputError: for a malformed record.
    """
    known, about, lines = claims.kinds(), plan.papers[paper], []
    of: dict[str, Records] = {}
    for claim in claims.read(about):
        if only and claim.id not in only:
            continue
        key = repr((claim.where, claim.margins))
        records = of.setdefault(key, Records(View(plan, about, claim.where), claim.margins))
        lines.append(_line(claim, known[claim.kind].compare, records))
    _tell_same(lines)
    return pd.DataFrame(lines, columns=[*COLUMNS, "margins", "parts"])


def _tell_same(lines: list[dict[str, Any]]) -> None:
    """Say of each claim which earlier one of its kind has the same numbers everywhere."""
    first: dict[tuple[str, str], str] = {}
    for line in lines:
        numbers = [
            {k: v for k, v in part.items() if k not in ("at", "printed")} for part in line["parts"]
        ]
        run = any(part["n"] for part in numbers)
        same = first.setdefault((line["asks"], repr(numbers)), line["id"]) if run else line["id"]
        line["same_as"] = "" if same == line["id"] else same


def _line(claim: Claim, compare: Compare, records: Records) -> dict[str, Any]:
    """A claim and its verdict; none of a level where what was trained is unlike the paper's."""
    line: dict[str, Any] = {name: getattr(claim, name) for name in _SAID}
    parts = compare(claim, records)
    done = [part for part in parts if part.n]
    adjusted = holm([part.p for part in done])
    verdict, reason = _verdict(parts)
    if done and claim.of_level and records.unlike:
        verdict, reason = "not comparable", f"a level, and another setting: {records.unlike}"
    fragile = ""
    if verdict in DECIDED:
        told = (_edge(verdict, done, adjusted), _turned(verdict, claim, compare, records))
        fragile = ", ".join(filter(None, told))
    line |= {
        "verdict": verdict,
        "reason": reason,
        "fragile": fragile,
        "margins": asdict(claim.margins),
        "parts": [part.told() for part in parts],
    }
    if done:
        worst = min(range(len(done)), key=lambda i: (math.isnan(done[i].rank), done[i].rank))
        part = done[worst]
        line |= {
            "effect": part.effect, "ci_low": part.low, "ci_high": part.high, "unit": part.unit,
            "n": part.n, "at": part.at, "p": part.p, "p_holm": adjusted[worst],
            "p_within": float(np.max([part.within for part in done])),
        }  # fmt: skip
    return line


def _verdict(parts: list[Comparison]) -> tuple[str, str]:
    """The verdict and, where it is open, why, and what would decide."""
    done = [part for part in parts if part.n]
    missing = _told((part.reason, part.at.partition(",")[0]) for part in parts if not part.n)
    if not done:
        return "not run", missing
    if _against(done, holm([part.p for part in done])):
        return "contradicted", missing
    if not missing and all(part.within <= _ALPHA for part in done):
        return "equivalent", ""
    lost = missing or _told((part.reason, part.at) for part in done if part.reason)
    if lost:
        return "inconclusive", lost
    held = [part for part in done if not (part.claimed and part.p <= _ALPHA)]
    if not held:
        return "supported", ""
    where = ", ".join(part.at for part in held)
    corrected = f" (Holm over {len(done)})" if any(part.p <= _ALPHA for part in held) else ""
    return "inconclusive", f"not significant at {where}{corrected}; {_deciding(done)}"


def _against(done: list[Comparison], adjusted: list[float]) -> list[float]:
    """The corrected p-values of the comparisons that contradict a claim."""
    return [
        p
        for part, p in zip(done, adjusted, strict=True)
        if p <= _ALPHA and not part.claimed and not part.within <= _ALPHA
    ]


def _deciding(done: list[Comparison]) -> str:
    """What would decide, if the effects are what they were found to be."""
    small = [part.seeds_within < math.inf for part in done]  # the effect found is in the margin
    beyond = [part.seeds for part, s in zip(done, small, strict=True) if not (s or part.claimed)]
    if beyond:
        needed, what = min(beyond), "contradict"
    elif all(small):
        needed, what = max(part.seeds_within for part in done), "show no difference that matters"
    elif all(part.claimed for part in done):
        needed, what = max(part.seeds for part in done), "support"
    else:
        return "effects as found decide it at no number of seeds"
    if math.isinf(needed):
        return f"effects as found take more than {MOST} seeds"
    return f"effects as found take about {needed:.0f} seeds to {what}"


def _edge(verdict: str, done: list[Comparison], adjusted: list[float]) -> str:
    """The p-value that decides, where it is within a factor of 2 of the level; else ""."""
    decides = {
        "supported": lambda: max(part.p for part in done),
        "contradicted": lambda: min(_against(done, adjusted)),
        "equivalent": lambda: max(part.within for part in done),
    }
    p = decides[verdict]()
    return f"p {p:.3f}" if 2 * p >= _ALPHA else ""


def _turned(verdict: str, claim: Claim, compare: Compare, records: Records) -> str:
    """Without which seed the verdict is another; "" where without none."""
    turned = [
        seed
        for seed in records.seeds
        if _verdict(compare(claim, records.without(seed)))[0] != verdict
    ]
    return f"another without seed {' or '.join(map(str, turned))}" if turned else ""


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


def read(plan: Plan, paper: str) -> list[dict[str, Any]]:
    """The lines that `write` wrote, with NaN for what they do not have; none where it has not.

    Raises:
        InputError: for a file of other claims than the paper's.
    """
    path = plan.results / "claims" / f"{paper}.json"
    if not path.exists():
        return []
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))["claims"]
        found = [line["id"] for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, "content", repr(error), f"what `{_AGAIN} {paper}` writes") from None
    ours = [claim.id for claim in claims.read(plan.papers[paper])]
    if found != ours:
        other = ", ".join(sorted(set(found) ^ set(ours))) or "another order"
        allowed = f"the claims of claims.yaml; `{_AGAIN} {paper}` writes them"
        raise InputError(path, "claims", other, allowed)
    return [{**_known(line), "parts": [_known(part) for part in line["parts"]]} for line in lines]


def _known(line: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in line.items()}


def _clean(value: Any) -> Any:
    """The same with null for NaN and the infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
