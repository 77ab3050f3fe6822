"""What the page says first: of each paper's questions, the claims that answer them."""

import math
import re
from typing import Any

from markupsafe import Markup

from samscope.plan.types import Paper
from samscope.report.text import effect, number

LEADS = {
    "supported": "Holds wherever it was tested.",
    "contradicted": "The opposite holds somewhere.",
    "equivalent": "No difference that matters.",
    "inconclusive": "Not decided.",
    "not comparable": "Another setting than the paper’s, so its level is not compared.",
    "not run": "Not run in this profile.",
}
"""By verdict, all that a sentence may say of a claim."""
_WIDTH, _BAND, _HEIGHT = 220, 14, 28
_SVG = (
    '<svg class="strip {verdict}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    "{parts}</svg>"
)
_FACTORS = (1.02, 1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100)


def answers(paper: Paper, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions, each with the lines of its claims; none before there are verdicts.

    Args:
        paper: of which the page says it.
        lines: its claims with their verdicts, see `samscope.analysis.verdicts.read`.
    """
    known = {line["id"]: line for line in lines}
    if not lines:
        return []
    return [
        {"question": answer.question, "lines": [known[claim] for claim in answer.claims]}
        for answer in paper.about.answers
    ]


def found(line: dict[str, Any]) -> str:
    """What was found of a claim: no more than its verdict, the effect, where, and how sure.

    The effect is that of the comparison which supports the claim least.
    """
    told = [LEADS[line["verdict"]]]
    if not math.isnan(line["n"]):
        several = sum(part["n"] > 0 for part in line["parts"]) > 1
        least = f", the least favourable of {len(line['parts'])}" if several else ""
        at = f" at {place(line['at'])}" if line["at"] else ""
        told.append(f"{effect(line)}{at}{least}, over {line['n']:.0f} seeds.")
    if line["fragile"]:
        told.append(f"Fragile: {line['fragile']}.")
    if line["verdict"] == "inconclusive" and line["reason"]:
        deciding = line["reason"].rpartition("; ")[2]
        told.append(f"{deciding[0].upper()}{deciding[1:]}.")
    return " ".join(told)


def place(at: str) -> str:
    """Where a comparison was made, its leaves in words.

    >>> place("rho=best,val_size=5000 and variant=sgd,epochs=800")
    'rho chosen, val size 5000 and variant sgd, epochs 800'
    """
    told = re.sub(r"(\w+)=([^,\s]+)", lambda m: f"{m[1].replace('_', ' ')} {m[2]}", at)
    return re.sub(r",(?=\S)", ", ", told).replace(" best", " chosen")


def strip(line: dict[str, Any]) -> Markup:
    """The effect of a claim and its interval on an axis around no effect; its margin is shaded.

    Small dots are the effect in each seed, hollow diamonds that of the paper's own numbers, once
    for each of its tables. Empty where nothing was run. Ratios are on a logarithmic axis.
    """
    ratio, unit = line["unit"] == "ratio", line["unit"]
    mean, low, high = (_on(line[key], ratio) for key in ("effect", "ci_low", "ci_high"))
    if math.isnan(mean):
        return Markup("")
    margin = line["margins"].get({"points": "points", "ratio": "ratio"}.get(unit, ""))
    edge = 0.0 if margin is None else _on(margin, ratio)
    weakest: dict[str, Any] = next((part for part in line["parts"] if part["at"] == line["at"]), {})
    seeds = [_on(pair, ratio) for pair in weakest.get("pairs", [])]
    printed = [_on(effect, ratio) for effect in weakest.get("printed", [])]
    shown = [one for one in (mean, low, high, edge, *seeds, *printed) if not math.isnan(one)]
    reach = _reach(max(map(abs, shown)), ratio)
    x = lambda value: _WIDTH / 2 * (1 + value / reach)  # noqa: E731
    shapes = []
    if edge:
        shapes.append(
            f'<rect class="margin" x="{x(-edge):.1f}" width="{x(edge) - x(-edge):.1f}" y="0" '
            f'height="{_BAND}"/>'
        )
    middle = _BAND / 2
    shapes.append(f'<path class="none" d="M0 {_BAND}H{_WIDTH}M{_WIDTH / 2:.0f} 0V{_BAND}"/>')
    if seeds:
        dots = "".join(f"M{x(seed):.1f} {middle}h0" for seed in seeds)
        shapes.append(f'<path class="seeds" d="{dots}"/>')
    if not math.isnan(low):
        shapes.append(f'<path d="M{x(low):.1f} {middle}H{x(high):.1f}"/>')
    shapes.append(f'<circle cx="{x(mean):.1f}" cy="{middle}" r="3"/>')
    shapes += [f'<path class="printed" d="M{x(one):.1f} 1l4 6 -4 6 -4 -6z"/>' for one in printed]
    ends = [_label(value, reach, ratio) for value in (-reach, 0.0, reach)]
    ends[2] += f" {unit}" if unit in ("points", "%") else ""
    for place, anchor, words in zip((0, _WIDTH / 2, _WIDTH), _ANCHORS, ends, strict=True):
        shapes.append(
            f'<text x="{place:.0f}" y="{_HEIGHT - 3}" text-anchor="{anchor}">{words}</text>'
        )
    return Markup(_SVG).format(
        verdict=line["verdict"].replace(" ", "-"),
        width=_WIDTH,
        height=_HEIGHT,
        label=f"effect and 95 % interval on an axis from {ends[0]} to {ends[2]}"
        + (", the margin shaded" if edge else "")
        + (", the paper’s own effect marked" if printed else ""),
        parts=Markup("".join(shapes)),
    )


_ANCHORS = ("start", "middle", "end")


def _on(value: float | None, ratio: bool) -> float:
    if value is None or math.isnan(value):
        return math.nan
    return math.log(value) if ratio and value > 0 else math.nan if ratio else value


def _reach(most: float, ratio: bool) -> float:
    """The end of an axis that holds ``most``: 1, 2 or 5 times a power of ten, or a plain factor."""
    if ratio:
        found = next((f for f in _FACTORS if math.log(f) >= most), 10 ** math.ceil(most / _TEN))
        return math.log(found)
    if not most:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= most)


_TEN = math.log(10)


def _label(value: float, reach: float, ratio: bool) -> str:
    if ratio:
        return f"×{math.exp(value):.3g}"
    digits = max(0, -math.floor(math.log10(reach)))
    return number(value, digits, sign=True) if value else "0"
