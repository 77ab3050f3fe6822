# samscope: every table of the papers in config.yaml, re-run and compared.
import sys

from snakemake.utils import min_version

import snakemake_logger_plugin_samscope as progress
from samscope import InputError
from samscope.run import warm
from samscope.analysis.figures import FIGURES
from samscope.plan.papers import load_plan

min_version("9.0")


configfile: "config.yaml"


try:
    PLAN = load_plan(config, Path(workflow.basedir))
except InputError as error:
    sys.exit(f"samscope: {error}")

RESULTS = f"results/{PLAN.profile}"

warm.hand_down(PLAN.config)


wildcard_constraints:
    cell="|".join(map(re.escape, PLAN.cells)),
    paper="|".join(PLAN.papers),
    table="|".join({t for p in PLAN.papers.values() for t in p.tables}),
    figure="|".join(FIGURES),


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/aggregate.smk"


# All that is planned is asked for by name: of a file between, Snakemake does not miss what is gone.
rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
        metrics(PLAN.cells),
        spectra(),
        landscapes(),
        TABLES,
        DRAWN,


onstart:
    jobs = [j for j in workflow.dag.needrun_jobs() if j.rule.name == "train"]
    progress.planned.update(
        {j.wildcards.cell: len(PLAN.cells[j.wildcards.cell].seeds) for j in jobs}
    )
    warm.start()
