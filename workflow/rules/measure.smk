# What is measured on trained weights. Other settings here rerun this and what follows, no training.

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
            code=fingerprint("samscope.measure.curvature"),
        shell:
            "python -m samscope measure {wildcards.cell} > {log} 2>&1"
