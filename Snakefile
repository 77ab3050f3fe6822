# samscope: every table of the papers in config.yaml, re-run and compared.
import sys

from snakemake.utils import min_version

import snakemake_logger_plugin_samscope as progress
from samscope import InputError
from samscope.config.profile import read_config
from samscope.report import live
from samscope.run import warm
from samscope.run.project import open_project

min_version("9.0")


# Read here, as commands read it: Snakemake's own reader takes a key twice. `--config` counts before.
try:
    here, own = Path().resolve(), Path(workflow.basedir).resolve()
    if here != own:
        raise InputError(
            "snakemake", "folder", str(here), f"that of the Snakefile, {own}"
        )
    if set("{}") & set(str(own)):
        allowed = "one without braces, which Snakemake takes for wildcards"
        raise InputError("snakemake", "folder", str(own), allowed)
    config = {**read_config("config.yaml"), **config}
    PLAN = open_project(config, Path(workflow.basedir))
except InputError as error:
    sys.exit(f"samscope: {error}")

RESULTS = f"results/{PLAN.profile}"

warm.hand_down(config, PLAN.about.mkl)


include: "workflow/rules/common.smk"


# By their shape: an alternation of thousands of cells would be matched against every path.
wildcard_constraints:
    cell="[^/]+/[^/]+/[^/]+",
    data="[^/]+",
    paper="|".join(PLAN.papers),
    table="|".join({t for p in PLAN.papers.values() for t in p.tables}),
    figure="|".join({"-"} | {figure for _, figure in FIGURES}),


report: "workflow/report/workflow.rst"


include: "workflow/rules/stages.smk"
include: "workflow/rules/aggregate.smk"


# All that is planned is asked for by name: of a file between, Snakemake does not miss what is gone.
rule all:
    default_target: True
    input:
        f"{RESULTS}/report/index.html",
        records(PLAN.specs),
        TABLES,
        SPECTRA,
        DRAWN,


# What ends the page's news, once they have begun.
FOLLOWED = []


onstart:
    making = [j for j in workflow.dag.needrun_jobs() if j.rule.name in MADE]
    for stage, cell in ((job.rule.name, job.wildcards.cell) for job in making):
        progress.planned[stage, cell] = len(RUNS[stage][cell])
    if any(job.rule.name == "page" for job in workflow.dag.needrun_jobs()):
        print(
            f"the page, from now on: {RESULTS}/report/index.html", file=sys.stderr
        )
        FOLLOWED.append(live.follow(PLAN, lambda: progress.how_far))
    warm.start()


onsuccess:
    for end in FOLLOWED:
        end("")


onerror:
    for end in FOLLOWED:
        end(f"The workflow stopped: {progress.how_far or 'the page failed'}.")
