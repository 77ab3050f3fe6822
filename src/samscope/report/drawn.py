"""The figures of a profile, as the figure rule drew them."""

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from samscope.analysis.figures import FIGURES
from samscope.plan.papers import Plan
from samscope.report import svg

FRONT = ("paired_differences", "region_shares", "lambda_max")
"""The three pictures that matter, shown beside the verdicts."""
LIMIT = 500_000
"""Characters of an SVG beyond which (a surface of many facets) its PNG is set in."""
KINDS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "data (CSV)"}


def pictures(plan: Plan) -> list[dict[str, Any]]:
    """Every figure of the registry: its picture and caption, and links to its files.

    One that has not been drawn has neither; nothing is drawn here.
    """
    return [_picture(plan, name, figure.title) for name, figure in FIGURES.items()]


def _picture(plan: Plan, name: str, title: str) -> dict[str, Any]:
    folder = plan.results / "figures"
    path = folder / f"{name}.svg"
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    return {
        "name": name,
        "title": title,
        "front": name in FRONT,
        "image": _image(path, source, title) if source else "",
        "caption": svg.caption(source),
        "files": {
            label: f"../figures/{name}.{kind}"
            for kind, label in KINDS.items()
            if (folder / f"{name}.{kind}").exists()
        },
        "command": f"results/{plan.profile}/figures/{name}.svg",
    }


def _image(path: Path, source: str, title: str) -> Markup:
    image = svg.inline(source, path.stem, title)
    png = path.with_suffix(".png")
    if len(image) <= LIMIT or not png.exists():
        return image
    data = base64.b64encode(png.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(title, data)
