# Tables, figures, verdicts and the page, from records alone. They build from a partial grid as well.

PAPERS = "workflow/papers/{paper}"


# On a cluster these run where snakemake was started: seconds each.
localrules:
    table,
    figure,
    claims,
    page,


rule table:
    input:
        lambda w: metrics(PLAN.papers[w.paper].tables[w.table].cells),
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
        scale=PLAN.scale,
        code=fingerprint("samscope.analysis.tables"),
    shell:
        "python -m samscope table {wildcards.paper} {wildcards.table} > {log} 2>&1"


# Printed numbers and levels, which figures draw beside the measured ones.
PRINTED = [
    path
    for folder in expand("workflow/papers/{paper}", paper=PLAN.papers)
    for pattern in ("reported/*.csv", "figures/*.csv", "claims.yaml")
    for path in sorted(map(str, Path(folder).glob(pattern)))
]


rule figure:
    input:
        lambda w: metrics(FIGURES[w.figure].cells(PLAN)),
        lambda w: spectra() if FIGURES[w.figure].curvature else [],
        lambda w: landscapes() if FIGURES[w.figure].landscape else [],
        PRINTED,
    output:
        report(
            f"{RESULTS}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: {"figure": FIGURES[w.figure].title},
        ),
        multiext(f"{RESULTS}/figures/{{figure}}", ".pdf", ".png", ".csv"),
    log:
        f"{RESULTS}/logs/figure/{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        scale=PLAN.scale,
        code=fingerprint("samscope.analysis.figures"),
    shell:
        "python -m samscope figure {wildcards.figure} > {log} 2>&1"


rule claims:
    input:
        metrics(PLAN.cells),
        spectra(),
        f"{PAPERS}/claims.yaml",
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
        scale=PLAN.scale,
        code=fingerprint("samscope.analysis.claims"),
    shell:
        "python -m samscope claims {wildcards.paper} > {log} 2>&1"


TABLES = [
    f"{RESULTS}/tables/{p.name}/{t}.csv" for p in PLAN.papers.values() for t in p.tables
]
DRAWN = expand(f"{RESULTS}/figures/{{figure}}.svg", figure=FIGURES)
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
        DRAWN,
        VERDICTS,
        ELSEWHERE,
        expand(f"{RESULTS}/curvature/{{paper}}.csv", paper=PLAN.papers),
        expand(f"{PAPERS}/errata.md", paper=PLAN.papers),
    output:
        report(
            f"{RESULTS}/report/index.html",
            caption="../report/page.rst",
            category="The page",
            labels={"profile": PLAN.profile},
        ),
    log:
        f"{RESULTS}/logs/page.log",
    conda:
        "../../environment.yml"
    params:
        scale=PLAN.scale,
        code=fingerprint("samscope.report.build"),
    shell:
        "python -m samscope report > {log} 2>&1"


rule train_all:
    input:
        metrics(PLAN.cells),


rule tables:
    input:
        TABLES,


rule figures:
    input:
        DRAWN,
