"""What the page says first: of each paper's questions, the claims that answer them."""

import math
from typing import Any

from markupsafe import Markup

from samscope.plan.types import Paper

_WIDTH, _HEIGHT = 132, 16
_SVG = (
    '<svg class="strip {verdict}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    "{parts}</svg>"
)


def answers(paper: Paper, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions, each with the lines of its claims; none before there are verdicts.

    Args:
        paper: of which the page says it.
        lines: its claims with their verdicts, see `samscope.analysis.verdicts.evaluate`.
    """
    known = {line["id"]: line for line in lines}
    if not lines:
        return []
    return [
        {"question": answer.question, "lines": [known[claim] for claim in answer.claims]}
        for answer in paper.about.answers
    ]


def strip(line: dict[str, Any]) -> Markup:
    """The effect of a claim and its interval on an axis around no effect; its margin is shaded.

    Empty where nothing was run. Ratios are on a logarithmic axis.
    """
    ratio = line["unit"] == "ratio"
    effect, low, high = (_on(line[key], ratio) for key in ("effect", "ci_low", "ci_high"))
    if math.isnan(effect):
        return Markup("")
    margin = line["margins"].get({"points": "points", "ratio": "ratio"}.get(line["unit"], ""))
    edge = 0.0 if margin is None else _on(margin, ratio)
    reach = 1.1 * max(abs(one) for one in (effect, low, high, edge) if not math.isnan(one)) or 1.0
    x = lambda value: _WIDTH / 2 * (1 + value / reach)  # noqa: E731
    shapes = []
    if edge:
        shapes.append(
            f'<rect class="margin" x="{x(-edge):.1f}" width="{x(edge) - x(-edge):.1f}" y="0" '
            f'height="{_HEIGHT}"/>'
        )
    shapes.append(f'<path class="none" d="M{_WIDTH / 2} 0V{_HEIGHT}"/>')
    middle = _HEIGHT / 2
    if not math.isnan(low):
        shapes.append(f'<path d="M{x(low):.1f} {middle}H{x(high):.1f}"/>')
    shapes.append(f'<circle cx="{x(effect):.1f}" cy="{middle}" r="3"/>')
    told = "effect and 95 % interval around no effect"
    return Markup(_SVG).format(
        verdict=line["verdict"].replace(" ", "-"),
        width=_WIDTH,
        height=_HEIGHT,
        label=told + (", the margin shaded" if edge else ""),
        parts=Markup("".join(shapes)),
    )


def _on(value: float | None, ratio: bool) -> float:
    if value is None or math.isnan(value):
        return math.nan
    return math.log(value) if ratio and value > 0 else math.nan if ratio else value
