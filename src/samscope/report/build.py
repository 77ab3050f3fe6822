"""Builds the page: one HTML file that needs nothing else, from the records there are."""

from pathlib import Path

import jinja2

from samscope.analysis import claims, results, scope
from samscope.papers import Plan
from samscope.report import sections, text

_TEMPLATES = Path(__file__).parent / "templates"


def build(plan: Plan, out_dir: Path) -> Path:
    """Write ``index.html`` and return its path; the same records give the same bytes.

    Args:
        plan: of the profile; what has not been run is shown as not run.
        out_dir: folder of the page.

    Raises:
        InputError: for a truncated or malformed record, or a malformed ``claims.yaml``.
    """
    runs = results.provenance(plan)
    page = _environment().get_template("page.html").render(
        plan=plan,
        scale=plan.scale,
        css=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        complete=sections.completeness(plan, runs),
        papers=[_paper(plan, name) for name in plan.papers],
        figures=sections.drawn(plan),
        sharpness=sections.sharpness(plan),
        environments=sections.environments(runs),
        runs=runs.to_dict("records"),
    )  # fmt: skip
    path = out_dir / "index.html"
    results.put(path, page)
    return path


def _paper(plan: Plan, name: str) -> dict:
    paper = plan.papers[name]
    rows = [row for table in paper.tables.values() for row in table.rows]
    errata = paper.folder / "errata.md"
    return {
        "name": name,
        "meta": paper.meta,
        "setting": scope.setting(plan, name, rows),
        "verdicts": sections.verdicts(plan, paper),
        "tables": [sections.table(plan, paper, table) for table in paper.tables],
        "errata": errata.read_text(encoding="utf-8") if errata.exists() else "",
    }


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
    }
    environment.globals["symbols"] = dict(zip(claims.VERDICTS, "✓✕?–", strict=True))
    return environment
