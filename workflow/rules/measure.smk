# What is measured on trained weights. Other settings here rerun this and what follows, no training.


localrules:
    spectra_table,


if not config["partial"]:

    rule curvature:
        input:
            curvature_input,
        output:
            f"{RESULTS}/runs/{{cell}}/curvature.json",
        log:
            f"{RESULTS}/logs/curvature/{{cell}}.log",
        conda:
            "../../environment.yml"
        resources:
            gpu=GPU,
        params:
            settings=lambda w: PLAN.curvature(w.cell),
            code=fingerprint("samscope.stages.curvature"),
        shell:
            "python -m samscope measure curvature {wildcards.cell} > {log} 2>&1"

    rule landscape:
        input:
            landscape_input,
        output:
            f"{RESULTS}/runs/{{cell}}/landscape.json",
        log:
            f"{RESULTS}/logs/landscape/{{cell}}.log",
        conda:
            "../../environment.yml"
        resources:
            gpu=GPU,
        params:
            settings=lambda w: landscape_settings(w.cell),
            code=fingerprint("samscope.stages.landscape"),
        shell:
            "python -m samscope measure landscape {wildcards.cell} > {log} 2>&1"


rule spectra_table:
    input:
        lambda w: metrics(c for c in PLAN.measured() if c.startswith(f"{w.paper}/")),
        spectra(),
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
        scale=PLAN.scale,
        code=fingerprint("samscope.analysis.curvature_table"),
    shell:
        "python -m samscope spectra {wildcards.paper} > {log} 2>&1"
