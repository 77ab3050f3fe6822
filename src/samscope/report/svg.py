"""A figure set into the page: own ids, the page's fonts, and greys that follow light and dark."""

import re

from markupsafe import Markup

GREYS = {"#1b1b1b": "var(--ink)", "#767676": "var(--muted)", "#dcdcdc": "var(--rule)"}
"""The greys of ``analysis/style.mplstyle`` and the page's colours that take their place."""
BLUE = "#0072b2"
"""Too dark for the dark page, which has a lighter one."""


def inline(svg: bytes, name: str, title: str) -> Markup:
    """The ``<svg>`` element for a page that holds several.

    Args:
        svg: a file drawn by matplotlib with text kept as text.
        name: of the figure; its ids start with it, so that figures cannot meet.
        title: read aloud in place of the picture.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" '
                  rf'aria-label="{title}" data-figure="{name}">', text, count=1)  # fmt: skip
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    for grey, variable in GREYS.items():
        text = text.replace(grey, variable)
    text = text.replace(BLUE, "var(--blue)")
    text = text.replace("'DejaVu Sans'", "var(--sans)")
    return Markup(re.sub(r"\s*\n\s*", " ", text))
