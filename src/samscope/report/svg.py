"""A figure set into the page: own ids, the page's fonts, and greys that follow light and dark."""

import html
import re

from markupsafe import Markup

GREYS = {"#1b1b1b": "var(--ink)", "#767676": "var(--muted)", "#dcdcdc": "var(--rule)"}
"""The greys of ``analysis/style.mplstyle`` and the page's colours that take their place."""
PANES = ("#f2f2f2", "#e6e6e6", "#ececec")
"""Behind a surface, matplotlib's own."""
BLUE = "#0072b2"
"""Too dark for the dark page, which has a lighter one."""


def inline(svg: str, name: str, title: str) -> Markup:
    """The ``<svg>`` element for a page that holds several.

    Args:
        svg: a file drawn by matplotlib with text kept as text.
        name: of the figure; its ids start with it, so that figures cannot meet.
        title: read aloud in place of the picture.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    shown = rf'<svg viewBox="\1" role="img" aria-label="{html.escape(title)}" data-figure="{name}">'
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', shown, text, count=1)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r'\b(d|points)="[^"]*"', _rounded, text)
    for grey, variable in GREYS.items():
        text = text.replace(grey, variable)
    for grey in PANES:
        text = text.replace(grey, "var(--raised)")
    text = text.replace(BLUE, "var(--blue)")
    text = text.replace("'DejaVu Sans'", "var(--sans)")
    return Markup(re.sub(r"\s*\n\s*", " ", text))


def caption(svg: str) -> str:
    """The caption that the figure was drawn with, "" where the file has none."""
    found = re.search(r"<dc:description>(.*?)</dc:description>", svg, flags=re.DOTALL)
    return html.unescape(" ".join(found[1].split())) if found else ""


def _rounded(match: re.Match) -> str:
    """Coordinates to a hundredth of a point, which no screen shows."""
    return re.sub(r"(\.\d\d)\d+", r"\1", match[0])
