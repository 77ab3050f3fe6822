"""The figures of a profile, as the figure rule drew them."""

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from samscope.analysis import figures, scope, selection
from samscope.config.paper import FigureEntry
from samscope.plan.types import Plan
from samscope.report import svg

LIMIT = 500_000
"""Characters of an SVG beyond which (a surface of many facets) its PNG is set in."""
KINDS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "data (CSV)"}


def pictures(plan: Plan, paper: str) -> list[dict[str, Any]]:
    """Every figure that a paper lists: its picture and caption, and links to its files.

    One that has not been drawn has neither; nothing is drawn here.
    """
    return [_picture(plan, paper, entry) for entry in plan.papers[paper].about.figures]


def _picture(plan: Plan, paper: str, entry: FigureEntry) -> dict[str, Any]:
    folder, title = plan.results / "figures" / paper, figures.title(entry)
    path = folder / f"{entry.id}.svg"
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    anchor, cells = f"{paper}-{entry.id}", figures.inputs(plan, paper, entry.id).cells
    rows = selection.rows_of(figures.view(plan, paper, entry), cells)
    return {
        "anchor": anchor,
        "title": title,
        "front": entry.front,
        "level": scope.level(plan, paper, rows) if rows else "",
        "image": _image(path, source, anchor, title) if source else "",
        "caption": svg.caption(source),
        "files": {
            label: f"../figures/{paper}/{entry.id}.{kind}"
            for kind, label in KINDS.items()
            if (folder / f"{entry.id}.{kind}").exists()
        },
        "command": f"results/{plan.profile}/figures/{paper}/{entry.id}.svg",
    }


def _image(path: Path, source: str, anchor: str, title: str) -> Markup:
    image = svg.inline(source, anchor, title)
    png = path.with_suffix(".png")
    if len(image) <= LIMIT or not png.exists():
        return image
    data = base64.b64encode(png.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(title, data)
