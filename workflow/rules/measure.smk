# What is measured on trained weights. Other settings here rerun this and what follows, no training.


rule curvature:
    input:
        f"{RESULTS}/runs/{{cell}}/metrics.json",
    output:
        f"{RESULTS}/runs/{{cell}}/curvature.json",
    log:
        f"{RESULTS}/logs/curvature/{{cell}}.log",
    params:
        settings=lambda w: PLAN.scale["papers"][w.cell.split("/")[0]]["curvature"],
        code=fingerprint("samscope.measure.curvature"),
    resources:
        gpu=1,
    conda:
        "../../environment.yml"
    shell:
        "python -m samscope measure {wildcards.cell} --config {CONFIG:q} > {log} 2>&1"
