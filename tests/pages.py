"""The page of a small study, and how the tests read it."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from samscope.analysis import verdicts
from samscope.plan.types import Plan
from samscope.report.build import build
from small_study import OWN, REAL, record, study

CLAIMS = [
    {
        "id": "C1", "quote": "over $60 \\%$ of <b>parameters</b> | $6 \\times 10^6$",
        "location": "somewhere", "test": "SAM is above SGD.", "reported": "-0.5", "kind": "greater",
        "metric": "test_acc_percent", "a": "sam", "b": "sgd", "rhos": [0.1],
        "direction": "a_above_b",
    },
    {
        "id": "C2", "quote": "q", "location": "l", "test": "t", "reported": "r", "kind": "greater",
        "metric": "test_acc_percent", "a": "ckpt3", "b": "sgd", "rhos": [0.1],
        "direction": "a_above_b",
    },
]  # fmt: skip
VOID = {"meta", "br", "link", "img", "input", "hr", "col", "wbr"}


class Page(HTMLParser):
    """Ids, targets, links and tags of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.tags, self.open = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pages(plan) -> dict[str, str]:
    """The pages, the first one first, after the verdicts."""
    for paper in plan.papers:
        verdicts.write(plan, paper)
    first = build(plan, plan.results / "report")
    paths = [first, *(first.with_name(f"{paper}.html") for paper in plan.papers)]
    return {path.name: path.read_text() for path in paths}


def page(plan) -> str:
    """All of them, one after the other."""
    return "".join(pages(plan).values())


def behind(plan, cell: str) -> dict:
    """What a cell opens to."""
    return next(part[cell] for part in files(plan) if cell in part)


def files(plan) -> list[dict]:
    """What the files beside the page hold of the cells."""
    texts = [path.read_text() for path in sorted((plan.results / "report").glob("cells-*.js"))]
    return [json.loads(text.partition(" {}), ")[2].removesuffix(");\n")) for text in texts]


def words(text: str) -> str:
    """What a reader sees, with single spaces."""
    text = re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    return " ".join(unescape(text).split())


def own_study(root: Path) -> Plan:
    """The paper's own model and data; ckpt1 is nearer to its printed numbers than SAM is."""
    plan = study(root, CLAIMS, **OWN)
    record(plan, f"{REAL}/sgd/base", [77.0, 77.4, 77.8], [0.91, 0.92, 0.93])
    record(plan, f"{REAL}/sam/rho=0.1", [78.5, 79.0, 79.2])
    record(plan, f"{REAL}/sam/rho=0.2", [79.0, 79.4, 79.9])
    record(plan, f"{REAL}/sam/rho=0.4", [60.0, 60.4, 60.8])
    record(plan, f"{REAL}/ckpt1/rho=0.1", [78.5, 78.7, 79.0])
    record(plan, f"{REAL}/ckpt1/rho=0.2", [79.0, 79.4, 79.9])
    record(plan, f"{REAL}/ckpt1/rho=0.4", [79.5, 79.7, 79.9])
    return plan
