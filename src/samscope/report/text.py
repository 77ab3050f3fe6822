"""Words and numbers as the page sets them."""

import base64
import hashlib
import math
import re
from collections.abc import Collection
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from samscope.config.paper import PaperFile

TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "typographer": True})
_MARKDOWN.enable(["table", "smartquotes"])
_MATH = (
    (r"\\rho", "ρ"),
    (r"\\times", "×"),
    (r"\\%", "%"),
    (r"\^\{?(\d+)\}?", lambda m: m[1].translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))),
)


def source(name: str) -> tuple[str, str]:
    """A style sheet or script, and its hash as a content security policy names it."""
    content = (TEMPLATES / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return content, f"'sha256-{digest}'"


def markdown(text: str, shift: int = 0, caption: str = "") -> Markup:
    """Markdown as HTML; raw HTML in it is shown, not interpreted. Its tables scroll and sort.

    Args:
        text: CommonMark with tables.
        shift: how many levels lower its headings are set.
        caption: of its tables, read aloud.
    """
    html = _MARKDOWN.render(_plain_math(text))
    lower = lambda m: f"<{m[1]}h{min(6, int(m[2]) + shift)}>"  # noqa: E731
    html = re.sub(r"<(/?)h([1-6])>", lower, html)
    said = f'<caption class="unseen">{escape(caption)}</caption>' if caption else ""
    html = html.replace("<table>", f'<div class="scroll"><table class="plain sortable">{said}')
    html = re.sub(r'<(t[hd]) style="[^"]*"', r"<\1", html).replace("<th>", '<th scope="col">')
    return Markup(html.replace("</table>", "</table></div>"))


def inline(text: str) -> Markup:
    """One line of Markdown as HTML, without a paragraph around it."""
    return Markup(_MARKDOWN.renderInline(_plain_math(text)))


def _plain_math(text: str) -> str:
    """Put plain signs in place of the little TeX that quotations have, outside code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"\$([^$]*)\$", _sign, p) for p in pieces)


def _sign(match: re.Match) -> str:
    body = match[1]
    for pattern, replacement in _MATH:
        body = re.sub(pattern, replacement, body)
    return re.sub(r"(?<=\d)%", " %", body).strip()


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with a real minus sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def tidy(text: str) -> str:
    """The same with real minus signs, and percent signs that stay with their number."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text).replace(" %", "\u00a0%")


def pvalue(value: float) -> str:
    """A p-value to two digits that count."""
    if math.isnan(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def effect_digits(line: dict) -> int:
    """After the point: so many that an interval which leaves out no effect is seen to.

    >>> effect_digits({"unit": "points", "ci_low": -0.06, "ci_high": -0.009})
    2
    >>> effect_digits({"unit": "points", "ci_low": -0.06, "ci_high": 0.009})
    1
    """
    digits = {"points": 1, "%": 1, "ratio": 2}.get(line["unit"], 3)
    none = 1.0 if line["unit"] == "ratio" else 0.0
    low, high = line["ci_low"], line["ci_high"]
    if low > none or high < none:
        while digits < 6 and none in (round(low, digits), round(high, digits)):
            digits += 1
    return digits


def effect(line: dict) -> str:
    """The effect of a claim's weakest comparison and its interval, in its own unit."""
    if line["effect"] is None or math.isnan(line["effect"]):
        return "–"
    unit = line["unit"]
    digits = effect_digits(line)
    sign = unit in ("points", "")
    mean = ("×\u2009" if unit == "ratio" else "") + number(line["effect"], digits, sign)
    suffix = "" if unit in ("ratio", "") else f" {unit}"
    if math.isnan(line["ci_low"]):
        return mean + suffix
    low, high = (number(line[k], digits, sign) for k in ("ci_low", "ci_high"))
    return f"{mean}{suffix} [{low}, {high}]"


def counted(count: int, thing: str) -> str:
    """``Three pictures``: a count in words, as far as words are short."""
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    told = words[count] if count < len(words) else str(count)
    return f"{told} {thing}{'' if count == 1 else 's'}"


def cited(about: PaperFile) -> str:
    """``Foret et al., 2021``: a source as short as it can be told."""
    authors = re.split(r", | and ", about.authors)
    return f"{authors[0].split()[-1]}{' et al.' if len(authors) > 1 else ''}, {about.year}"


def seconds(value: float) -> str:
    """A duration in the largest unit that keeps it readable."""
    for unit, length in (("h", 3600), ("min", 60)):
        if value >= length:
            return f"{value / length:.1f} {unit}"
    return f"{value:.0f} s"


def word(name: str) -> str:
    """Id of a word of the glossary on the page."""
    return "word-" + re.sub(r"[^a-z0-9]+", "-", name.lower())


def terms(told: str, words: Collection[str]) -> Markup:
    """A text in which each word of the glossary, where it comes first, leads to its meaning.

    Args:
        told: plain, or HTML without links and controls; in code no word is looked for.
        words: of the glossary.
    """
    pieces = re.split(r"(<code>.*?</code>|<[^>]*>|&[#\w]+;)", str(escape(told)))
    named = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    left = set(words)

    def linked(match: re.Match) -> str:
        name = match[1]
        if name not in left:
            return match[0]
        left.remove(name)
        return f'<a class="term" href="#{word(name)}">{match[0]}</a>'

    wanted = re.compile(rf"(?<![\w-])({named})(?:s|\d+)?(?![\w-])")
    return Markup("".join(p if p.startswith(("<", "&")) else wanted.sub(linked, p) for p in pieces))
