"""Builds the page: one HTML file that needs nothing else, from the records there are."""

from pathlib import Path

import jinja2

from samscope.analysis import exports, results, scope, verdicts
from samscope.plan.types import Plan
from samscope.report import answers, cells, drawn, errata, sections, tables, text

LEVELS = {
    "full": "the paper’s own protocol, but for the deviations listed",
    "reduced": "the paper’s data and family of models, smaller or shorter",
    "stand-in": "other data or another family of models: it speaks to mechanisms, not to levels",
}
"""What each of `samscope.analysis.scope.LEVELS` means, as the page says it."""
_TEMPLATES = Path(__file__).parent / "templates"


def build(plan: Plan, out_dir: Path) -> Path:
    """Write ``index.html`` and return its path; the same records and files give the same bytes.

    Figures are set in as the figure rule drew them, and exports of tables are linked: what has not
    been made is said to be missing.

    Args:
        plan: of the profile; what has not been run is shown as not run.
        out_dir: folder of the page, beside those of figures and tables.

    Raises:
        InputError: for a truncated or malformed record, ``claims.yaml`` or ``errata.md``.
    """
    runs = results.provenance(plan)
    papers = [_paper(plan, name) for name in plan.papers]
    mentions: dict[str, list[dict]] = {}
    for paper in papers:
        for made in paper["tables"]:
            for cell, mention in tables.mentions(made):
                mentions.setdefault(cell, []).append(mention)
    page = _environment().get_template("page.html").render(
        plan=plan,
        css=_source("page.css"),
        js=_source("page.js"),
        profiles=sections.profiles(plan),
        complete=sections.completeness(plan, runs),
        papers=papers,
        shown=tables.shown(papers),
        cells=cells.behind(plan, mentions),
        arithmetic=sections.arithmetic(runs),
        cost=sections.cost(runs),
        environments=sections.environments(runs),
        runs=runs.to_dict("records"),
    )  # fmt: skip
    path = out_dir / "index.html"
    results.put(path, page)
    return path


def _paper(plan: Plan, name: str) -> dict:
    paper = plan.papers[name]
    told = sections.verdicts(plan, paper)
    made = {table: tables.table(plan, paper, table) for table in paper.tables}
    return {
        "name": name,
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
        "figures": drawn.pictures(plan, name),
        "curvature": sections.curvature(plan, name),
        "errata": errata.pieces(plan, paper, made, told["lines"]),
    }


def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
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
        "seconds": text.seconds,
        "anchor": cells.anchor,
        "counted": text.counted,
    }
    environment.globals |= {
        "symbols": dict(zip(verdicts.VERDICTS, "✓✕≈?∅–", strict=True)),
        "marks": exports.MARKS,
        "levels": LEVELS,
        "verdict_names": verdicts.VERDICTS,
        "sparkline": {"width": cells.WIDTH, "height": cells.HEIGHT},
    }
    return environment
