# Tables, figures, verdicts and the page, from records alone. They build from a partial grid as well.
PAPERS = "workflow/papers/{paper}"


# On a cluster these run where snakemake was started: seconds each, or a download.
localrules:
    dataset,
    table,
    spectra_table,
    figure,
    claims,
    page,


rule table:
    input:
        of_table,
        f"{PAPERS}/reported/{{table}}.csv",
        f"{PAPERS}/paper.yaml",
    output:
        report(
            f"{RESULTS}/tables/{{paper}}/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"paper": "{paper}", "table": "{table}"},
        ),
        multiext(f"{RESULTS}/tables/{{paper}}/{{table}}", ".md", ".tex"),
    log:
        f"{RESULTS}/logs/table/{{paper}}/{{table}}.log",
    conda:
        "../../environment.yml"
    params:
        said=lambda w: said_of(w.paper),
        code=digest("samscope.analysis.tables:write"),
    shell:
        "python -m samscope table {wildcards.paper} {wildcards.table} > {log} 2>&1"


rule spectra_table:
    input:
        of_paper,
    output:
        report(
            f"{RESULTS}/curvature/{{paper}}.csv",
            caption="../report/curvature.rst",
            category="Tables",
            labels={"paper": "{paper}", "table": "curvature"},
        ),
        f"{RESULTS}/curvature/{{paper}}.md",
    log:
        f"{RESULTS}/logs/spectra_table/{{paper}}.log",
    conda:
        "../../environment.yml"
    params:
        said=lambda w: said_of(w.paper),
        code=digest("samscope.analysis.curvature_table:write"),
    shell:
        "python -m samscope spectra {wildcards.paper} > {log} 2>&1"


rule figure:
    input:
        of_figure,
        printed,
    output:
        report(
            f"{RESULTS}/figures/{{paper}}/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: {
                "paper": w.paper,
                "figure": drawing.title(FIGURES[w.paper, w.figure]),
            },
        ),
        multiext(f"{RESULTS}/figures/{{paper}}/{{figure}}", ".pdf", ".png", ".csv"),
    log:
        f"{RESULTS}/logs/figure/{{paper}}/{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        said=lambda w: said_of(w.paper),
        entry=lambda w: repr(FIGURES[w.paper, w.figure]),
        code=lambda w: digest(*drawing.code(PLAN, w.paper, w.figure)),
    shell:
        "python -m samscope figure {wildcards.paper}/{wildcards.figure} > {log} 2>&1"


rule claims:
    input:
        of_paper,
        lambda w: said_by(w.paper, "claims.yaml"),
    output:
        report(
            f"{RESULTS}/claims/{{paper}}.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"paper": "{paper}"},
        ),
        f"{RESULTS}/claims/{{paper}}.json",
    log:
        f"{RESULTS}/logs/claims/{{paper}}.log",
    conda:
        "../../environment.yml"
    params:
        said=lambda w: said_of(w.paper),
        code=lambda w: digest(*claiming.code(PLAN.papers[w.paper])),
    shell:
        "python -m samscope claims {wildcards.paper} > {log} 2>&1"


TABLES = [
    f"{RESULTS}/tables/{p.name}/{t}.csv" for p in PLAN.papers.values() for t in p.tables
]
SPECTRA = [
    f"{RESULTS}/curvature/{p.name}.csv"
    for p in PLAN.papers.values()
    if "curvature" in p.scale.stages
]
DRAWN = [f"{RESULTS}/figures/{paper}/{name}.svg" for paper, name in FIGURES]
VERDICTS = expand(f"{RESULTS}/claims/{{paper}}.json", paper=PLAN.papers)


# What other profiles found stands beside this one's verdicts.
ELSEWHERE = [
    path
    for paper in PLAN.papers
    for path in sorted(map(str, Path("results").glob(f"*/claims/{paper}.csv")))
    if not path.startswith(f"{RESULTS}/")
]


rule page:
    input:
        TABLES,
        SPECTRA,
        DRAWN,
        VERDICTS,
        ELSEWHERE,
        [path for paper in PLAN.papers for path in said_by(paper, "errata.md")],
    output:
        # Not removed before: while the page is made, one that says how far it is stands there.
        update(
            report(
                f"{RESULTS}/report/index.html",
                caption="../report/page.rst",
                category="The page",
                labels={"profile": PLAN.profile},
            )
        ),
        [f"{RESULTS}/report/{paper}.html" for paper in PLAN.papers],
        multiext(f"{RESULTS}/report/", "cells-0.js", "provenance.csv"),
        f"{RESULTS}/datapackage.json",
    log:
        f"{RESULTS}/logs/page.log",
    conda:
        "../../environment.yml"
    params:
        said=[said_of(paper) for paper in PLAN.papers],
        code=digest(
            "samscope.report.build:build",
            "samscope.report.templates/",
        ),
    shell:
        "python -m samscope report > {log} 2>&1"


rule train_all:
    input:
        records(PLAN.specs, MADE),


rule tables:
    input:
        TABLES,


rule figures:
    input:
        DRAWN,
