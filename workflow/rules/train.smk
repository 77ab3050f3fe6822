# Data sets and runs. One job trains all missing seeds of a cell; records of single seeds lie beside
# the declared files, undeclared, so that a failed or killed job loses none of them.


rule dataset:
    output:
        f"{config['data_dir']}/{{data}}.json",
    log:
        "results/logs/dataset/{data}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m samscope data {wildcards.data} > {log} 2>&1"


if not config["partial"]:

    rule train:
        input:
            training_input,
        output:
            f"{RESULTS}/runs/{{cell}}/metrics.json",
            f"{RESULTS}/runs/{{cell}}/history.csv",
        log:
            f"{RESULTS}/logs/train/{{cell}}.log",
        conda:
            "../../environment.yml"
        threads: lambda w: PLAN.cells[w.cell].cell.threads
        resources:
            gpu=GPU,
        params:
            runs=lambda w: list(digests(w.cell, PLAN.cells[w.cell].seeds).values()),
        shell:
            "python -m samscope train {wildcards.cell} > {log} 2>&1"
