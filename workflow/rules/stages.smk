# Data sets, and one rule for each stage. One job makes all missing runs of a spec; records of single
# runs lie beside the declared files, undeclared, so that a failed or killed job loses none of them.


rule dataset:
    output:
        f"{PLAN.config.data_dir}/{{data}}.json",
    log:
        "results/logs/dataset/{data}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m samscope data {wildcards.data} > {log} 2>&1"


if PLAN.trains:
    for STAGE in STAGES.values():

        rule:
            name:
                STAGE.name
            input:
                of_stage(stage_input, STAGE.name),
            output:
                [
                    f"{RESULTS}/runs/{{cell}}/{file}"
                    for file in (STAGE.record, *STAGE.beside)
                ],
            log:
                f"{RESULTS}/logs/{STAGE.name}/{{cell}}.log",
            conda:
                "../../environment.yml"
            threads: of_stage(stage_threads, STAGE.name)
            resources:
                gpu=GPU,
            params:
                stage=STAGE.name,
                code=of_stage(stage_code, STAGE.name),
            shell:
                "python -m samscope make {params.stage} {wildcards.cell} > {log} 2>&1"
