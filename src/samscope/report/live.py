"""The page while it is made: it says how far the workflow is, and what is there already."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jinja2

from samscope import stages
from samscope.plan.types import Paper, Plan
from samscope.report.text import TEMPLATES, source

EVERY = 5.0
"""Seconds between two looks of the workflow at itself, and of the page at the workflow."""
_MARK = "data-live"


def follow(plan: Plan, told: Callable[[], str]) -> Callable[[str], None]:
    """Keep the page up to date until the page itself is made; return what ends that.

    What it returns takes what there is to say in the end: "" where the page was made, for then
    nothing is said. News that cannot be written, as to a full disk, is left out: the jobs say why.

    Args:
        plan: of the profile.
        told: how far the workflow is, in words; "" once it makes the page.
    """
    ended = threading.Event()

    def news(words: str, going: bool) -> None:
        with suppress(OSError):
            write(plan, words, going)

    def look() -> None:
        while not ended.wait(EVERY):
            if how_far := told():
                news(how_far, going=True)

    def end(why: str) -> None:
        ended.set()
        watching.join()
        if why:
            news(why, going=False)

    news(told(), going=True)
    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    return end


def write(plan: Plan, told: str, going: bool) -> None:
    """Write the page as far as it is. A finished one of before stays beside it.

    Its time is that of long ago, so that the workflow never takes it for the page.

    Args:
        plan: of the profile.
        told: how far the workflow is, or why it has ended.
        going: whether there will be news.
    """
    folder = plan.results / "report"
    path, before = folder / "index.html", folder / "before.html"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and _MARK not in path.read_text(encoding="utf-8"):
        path.replace(before)
    (css, css_hash), (js, js_hash) = source("page.css"), source("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = environment.get_template("live.html").render(
        plan=plan, told=told, going=going, written=round(1000 * time.time()),
        every=round(1000 * EVERY), before=before.exists(),
        papers=[_paper(plan, paper) for paper in plan.papers.values()],
        css=css, css_hash=css_hash, js=js, js_hash=js_hash,
    )  # fmt: skip
    part = folder / ".index.html.part"
    part.write_text(text, encoding="utf-8")
    os.utime(part, (0, 0))
    part.replace(path)


def _paper(plan: Plan, paper: Paper) -> dict[str, Any]:
    """What there is of a paper: cells, tables, pictures in front, verdicts."""
    made = [
        cell
        for cell in paper.cells
        if (plan.run_dir(cell) / stages.maker(plan.specs[cell].cell).record).exists()
    ]
    verdicts = plan.results / "claims" / f"{paper.name}.json"
    lines = json.loads(verdicts.read_text())["claims"] if verdicts.exists() else []
    front = [figure for figure in paper.about.figures if figure.front]
    return {
        "about": paper.about,
        "cells": len(paper.cells),
        "made": len(made),
        "tables": {
            table: (plan.results / "tables" / paper.name / f"{table}.md").exists()
            for table in paper.tables
        },
        "verdicts": dict(Counter(line["verdict"] for line in lines)),
        "pictures": [
            f"../figures/{paper.name}/{figure.id}.svg"
            for figure in front
            if (plan.results / "figures" / paper.name / f"{figure.id}.svg").exists()
        ],
        "front": len(front),
        "name": paper.name,
    }
