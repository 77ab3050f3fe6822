"""Builds the page: one HTML file that needs nothing else, from the records there are."""

from pathlib import Path

import jinja2

from samscope.analysis import claims, exports, results, scope
from samscope.plan.papers import Plan
from samscope.report import cells, drawn, errata, sections, tables, text

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
        scale=plan.scale,
        css=_source("page.css"),
        js=_source("page.js"),
        profiles=sections.profiles(plan),
        complete=sections.completeness(plan, runs),
        papers=papers,
        figures=drawn.pictures(plan),
        cells=cells.behind(plan, mentions),
        curvature=sections.curvature(plan),
        cost=sections.cost(runs),
        environments=sections.environments(runs),
        runs=runs.to_dict("records"),
    )  # fmt: skip
    path = out_dir / "index.html"
    results.put(path, page)
    return path


def _paper(plan: Plan, name: str) -> dict:
    paper = plan.papers[name]
    rows = [row for table in paper.tables.values() for row in table.rows]
    verdicts = sections.verdicts(plan, paper)
    made = {table: tables.table(plan, paper, table) for table in paper.tables}
    return {
        "name": name,
        "meta": paper.meta,
        "setting": scope.setting(plan, name, rows),
        "asked": sections.asked(paper),
        "verdicts": verdicts,
        "verdict_files": {
            label: f"../claims/{name}.{kind}"
            for kind, label in (("csv", "CSV"), ("json", "JSON"))
            if (plan.results / "claims" / f"{name}.{kind}").exists()
        },
        "tables": list(made.values()),
        "errata": errata.pieces(plan, paper, made, verdicts["lines"]),
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
        "seconds": text.seconds,
        "anchor": cells.anchor,
    }
    environment.globals |= {
        "symbols": dict(zip(claims.VERDICTS, "✓✕?–", strict=True)),
        "marks": exports.MARKS,
        "metric_names": exports.METRIC_NAMES,
        "sparkline": {"width": cells.WIDTH, "height": cells.HEIGHT},
    }
    return environment
