"""Builds the page: a first page of answers and claims, and one of tables and figures a paper."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import yaml

from samscope.analysis import exports, results, scope, verdicts
from samscope.analysis.agreement import AGREEMENTS
from samscope.plan.types import Plan
from samscope.report import answers, cells, drawn, errata, package, sections, tables, text

GLOSSARY: dict[str, str] = yaml.safe_load((text.TEMPLATES / "glossary.yaml").read_text("utf-8"))
"""Words of the project and what they mean, in Markdown."""

_LABELS = {*verdicts.VERDICTS, *scope.LEVELS, *AGREEMENTS, "cell"}
PROSE = [word for word in GLOSSARY if word not in _LABELS]
"""Those looked for in sentences; the others are everyday words, and linked where they label."""


def build(plan: Plan, out_dir: Path) -> Path:
    """Write ``index.html``, a page for each paper and their pictures; return the path of the first.

    The same records and files give the same bytes. Figures are those that the figure rule drew,
    verdicts those that were written, and exports of tables are linked: what has not been made is
    said to be missing. ``datapackage.json`` beside the folder describes the exports. All opens
    from disk, and goes on opening when the folder is copied.

    Args:
        plan: of the profile; what has not been run is shown as not run.
        out_dir: folder of the page, beside those of figures and tables.

    Raises:
        InputError: for a truncated or malformed record, ``claims.yaml`` or ``errata.md``.
    """
    _put(out_dir, _files(plan))
    results.put(plan.results / "datapackage.json", package.described(plan))
    return out_dir / "index.html"


def _files(plan: Plan) -> Iterator[tuple[str, str]]:
    """Name and content of each file, the first page last."""
    runs = results.provenance(plan)
    yield "provenance.csv", runs.to_csv(index=False, lineterminator="\n")
    of_runs = {
        "complete": sections.completeness(plan, runs),
        "arithmetic": sections.arithmetic(runs),
        "cost": sections.cost(runs),
        "environments": sections.environments(runs),
    }
    del runs  # of many cells the largest of what is held
    papers = [_paper(plan, name) for name in plan.papers]
    mentions: dict[str, list[dict]] = {}
    for paper in papers:
        for made in paper["tables"]:
            for cell, mention in tables.mentions(made):
                mentions.setdefault(cell, []).append(mention)
    parts = cells.parted([id_ for id_ in plan.specs if id_ in mentions])
    for at, ids in enumerate(parts):
        held = {id_: cells.behind(plan, id_, mentions[id_]) for id_ in ids}
        yield f"cells-{at}.js", f"Object.assign((globalThis.CELLS ??= {{}}), {_json(held)});\n"
    common = {
        "plan": plan,
        "cell_files": len(parts),
        "papers": papers,
        "profiles": sections.profiles(plan),
        **of_runs,
    }
    environment = _environment()
    render = lambda name, **more: environment.get_template(name).render(common | more)  # noqa: E731
    for paper in papers:
        yield from ((f["place"], f["image"]) for f in paper["figures"] if f["image"])
        about = {"paper": paper, "shown": tables.shown([paper])}
        for table in paper["tables"]:
            for part, one in enumerate(table["parts"][1:], 1):
                more = {"here": one["page"], "table": table, "part": part}
                yield one["page"], render("part.html", **about, **more)
        yield paper["page"], render("paper.html", here=paper["page"], **about)
    yield "index.html", render("index.html", here="index.html")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _put(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Write the files, each as it comes; those of papers and figures that are gone go."""
    written = set()
    for name, content in files:
        results.put(folder / name, content)
        written.add(name)
    for old in (*folder.glob("*.html"), *folder.glob("*.js"), *folder.glob("pictures/*.svg")):
        if str(old.relative_to(folder)) not in written:
            old.unlink()


def _paper(plan: Plan, name: str) -> dict[str, Any]:
    paper = plan.papers[name]
    told = sections.verdicts(plan, paper)
    made = {table: tables.table(plan, paper, table) for table in paper.tables}
    figures = drawn.pictures(plan, name, told["lines"])
    pictures = [figure for figure in figures if figure["run"]]
    return {
        "name": name,
        "page": f"{name}.html",
        "about": paper.about,
        "setting": scope.setting(plan, name, paper.rows),
        "level": scope.level(plan, name, paper.rows),
        "asked": sections.asked(paper),
        "verdicts": told,
        "answers": answers.answers(paper, told["lines"]),
        "verdict_files": {
            label: f"../claims/{name}.{kind}"
            for kind, label in (("csv", "CSV"), ("json", "JSON"))
            if (plan.results / "claims" / f"{name}.{kind}").exists()
        },
        "tables": list(made.values()),
        "figures": pictures,
        "front": [figure for figure in pictures if figure["front"]],
        "more": [figure for figure in pictures if not figure["front"]],
        "unrun": [figure["title"] for figure in figures if not figure["run"]],
        "curvature": sections.curvature(plan, name),
        "errata": errata.pieces(plan, paper, made, told["lines"]),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(text.TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "markdown": text.markdown,
        "inline": text.inline,
        "pvalue": text.pvalue,
        "tidy": text.tidy,
        "number": text.number,
        "effect": text.effect,
        "strip": answers.strip,
        "found": answers.found,
        "place": answers.place,
        "seconds": text.seconds,
        "counted": text.counted,
        "cited": text.cited,
        "terms": lambda told: text.terms(told, PROSE),
        "word": text.word,
    }
    css, css_hash = text.source("page.css")
    js, js_hash = text.source("page.js")
    environment.globals |= {
        "symbols": dict(zip(verdicts.VERDICTS, "✓✕≈?∅–", strict=True)),
        "marks": exports.MARKS,
        "glossary": GLOSSARY,
        "verdict_names": verdicts.VERDICTS,
        "css": css,
        "css_hash": css_hash,
        "js": js,
        "js_hash": js_hash,
    }
    return environment
