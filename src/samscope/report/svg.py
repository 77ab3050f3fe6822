"""A figure as a picture of the page: its fonts, greys that follow light and dark, no scripts."""

import re
from xml.etree import ElementTree

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DRAWS = {
    *("svg", "defs", "g", "path", "use", "text", "tspan", "clipPath", "rect", "image", "circle"),
    *("line", "polyline", "polygon", "linearGradient", "stop"),
}
"""Elements that stay: they draw, and can neither run nor load anything."""

COLOURS = {
    "#1b1b1b": ("ink", "#e4e2dc"),
    "#767676": ("muted", "#a9a7a0"),
    "#dcdcdc": ("rule", "#3a3b3c"),
    "#0072b2": ("blue", "#3d9fdc"),
    **dict.fromkeys(("#f2f2f2", "#e6e6e6", "#ececec"), ("raised", "#1e2124")),
}
"""Of ``analysis/style.mplstyle`` and of matplotlib's panes behind a surface: the page's name for
each, and what it is in the dark."""
_FONTS = '"Helvetica Neue", "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif'


def picture(source: str) -> str:
    """The figure for an ``<img>`` of the page.

    Args:
        source: a file drawn by matplotlib with text kept as text.
    """
    root = ElementTree.fromstring(source)
    _tame(root)
    light = {name: colour for colour, (name, _) in reversed(COLOURS.items())}
    dark = dict(COLOURS.values())
    style = (
        f"* {{ stroke-linejoin: round; stroke-linecap: butt }} :root {{ {_variables(light)} }} "
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(dark)} }} }}"
    )
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r'\b(d|points)="[^"]*"', _rounded, text)
    colours = "|".join(map(re.escape, COLOURS))
    text = re.sub(rf"(?<=: )({colours})(?=[;\"])", lambda m: f"var(--{COLOURS[m[1]][0]})", text)
    text = text.replace("'DejaVu Sans'", _FONTS.replace('"', "'"))
    # Last, so that the colours of the style are not taken for the figure's.
    return f"{text.rstrip().removesuffix('</svg>')}<style>{style}</style></svg>\n"


def _variables(colours: dict[str, str]) -> str:
    return "; ".join(f"--{name}: {colour}" for name, colour in colours.items())


def _tame(element: ElementTree.Element) -> None:
    """Take out what draws nothing, handlers of events, and references out of the file."""
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(f"{{{_SVG}}}") not in _DRAWS:
            element.remove(child)
        else:
            _tame(child)
    for name, value in list(element.items()):
        refers = name.rpartition("}")[2] == "href"
        loads = refers and not value.startswith(("#", "data:image/png;"))
        if name.startswith("on") or loads or re.search(r"url\((?!#)|@import", value):
            del element.attrib[name]


def size(picture: str) -> tuple[int, int]:
    """Its width and height, in the units of its box."""
    box = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', picture)
    return (round(float(box[1])), round(float(box[2]))) if box else (0, 0)


def caption(source: str) -> str:
    """The caption that the figure was drawn with, "" where the file has none."""
    told = ElementTree.fromstring(source).find(".//{http://purl.org/dc/elements/1.1/}description")
    return " ".join((told.text or "").split()) if told is not None else ""


def _rounded(match: re.Match) -> str:
    """Coordinates to a hundredth of a point, which no screen shows."""
    return re.sub(r"(\.\d\d)\d+", r"\1", " ".join(match[0].split()))
