# What the rules need to know of the plan. Paths only; what a job does is in src/samscope.
from functools import cache
from inspect import signature

from samscope import stages
from samscope.analysis import claims as claiming
from samscope.analysis import figures as drawing
from samscope.digests import digest
from samscope.errors import InputError
from samscope.metrics import METRICS
from samscope.stages import STAGES
from samscope.store.provenance import has_gpu

# Jobs on a GPU take turns: the default profile allows as many at a time as its `gpu` says.
GPU = int(has_gpu())

# By stage and spec, what the plan asks for. MADE are the stages that make what tables name.
RUNS = {name: stages.runs(PLAN, name) for name in STAGES}
MADE = [name for name, stage in STAGES.items() if not stage.settings]


# By paper and id, what papers draw.
FIGURES = drawing.planned(PLAN)


def record(stage, cell):
    return f"{RESULTS}/runs/{cell}/{STAGES[stage].record}"


def present(paths):
    """All of them; where nothing is made, those that exist."""
    return [path for path in paths if PLAN.trains or Path(path).exists()]


def records(cells, names=tuple(STAGES)):
    """Of specs, the records of these stages that the plan asks for."""
    asked = [(name, cell) for cell in cells for name in names if cell in RUNS[name]]
    return present(record(*one) for one in asked)


def runs_of(stage, wildcards):
    """What the plan asks for; a path that asks for something else is told so."""
    PLAN.find(wildcards.cell)
    if wildcards.cell not in RUNS[stage]:
        raise ValueError(f"this profile has no {stage} of {wildcards.cell}")
    return RUNS[stage][wildcards.cell]


@cache
def is_built(stage, cell):
    """Whether a record holds the runs that the plan asks for, as their digests tell.

    What is made at some cost is made again for another meaning, never for a file's time: git and
    archives keep no times, and a fresh clone has no memory of jobs.
    """
    return STAGES[stage].is_built(RUNS[stage][cell])


def is_of_old_code(stage, run):
    """Whether a run should be measured again; of one that is not here nothing is known."""
    try:
        return not STAGES[stage].is_made(run)
    except InputError:
        return False


def stage_input(stage, wildcards):
    """Data set and records that a job reads; where it is built, their times decide nothing.

    A record that is there but of other runs is made again: by force, as with `--forcerun`, for of a
    file that it has no memory of Snakemake knows the time alone. This function is called only for
    jobs that what was asked for needs, so no other is forced.
    """
    runs, own = runs_of(stage, wildcards), record(stage, wildcards.cell)
    built = is_built(stage, wildcards.cell)
    if not built and Path(own).exists():
        workflow.dag.forcefiles.add(own)
    task = getattr(runs[0].spec, "task", None)
    paths = (
        [f"{PLAN.config.data_dir}/{task.data}.json"] if task and stage in MADE else []
    )
    # A record from elsewhere does without its data set; of one made here, as a log says, Snakemake
    # remembers the inputs.
    if built and not Path(f"{RESULTS}/logs/{stage}/{wildcards.cell}.log").exists():
        paths = [path for path in paths if Path(path).exists()]
    needs = {
        (stages.maker(n.spec).name, n.spec.id): None for run in runs for n in run.needs
    }
    paths += [record(*need) for need in needs]
    # Of a job whose input is made in the same call Snakemake compares no code: there the input's
    # time has to count, or what was measured by old code would stand.
    if built and not all(is_built(*need) for need in needs):
        built = not any(is_of_old_code(stage, run) for run in runs)
    return [ancient(path) for path in paths] if built else paths


def stage_threads(stage, wildcards):
    numerics = getattr(runs_of(stage, wildcards)[0].spec, "numerics", None)
    return numerics.threads if numerics else 1


def stage_code(stage, wildcards):
    return STAGES[stage].code(runs_of(stage, wildcards)[0].spec)


def of_stage(function, stage):
    """A function of a rule's wildcards.

    Snakemake asks for its signature at each of ten calls a job: it is found out once.
    """

    def of_wildcards(wildcards):
        return function(stage, wildcards)

    of_wildcards.__signature__ = signature(of_wildcards)
    return of_wildcards


def said_by(paper, *patterns):
    """Files of a paper's folder, those that it has."""
    folder = Path(f"workflow/papers/{paper}")
    return [str(path) for pattern in patterns for path in sorted(folder.glob(pattern))]


def said_of(paper):
    """What is read of the profile and of metrics, of a paper: another's changes nothing here."""
    scale, rows = PLAN.papers[paper].scale, PLAN.papers[paper].rows
    named = {row.metric for row in rows}
    shown = {n: m for n, m in METRICS.items() if n in named or m.stage in scale.stages}
    return repr((PLAN.about, PLAN.config.seeds, scale, shown))


def of_table(wildcards):
    """The records of the stages whose metrics a table has."""
    table = PLAN.papers[wildcards.paper].tables[wildcards.table]
    names = {METRICS[row.metric].stage for row in table.rows} | {table.about.stage}
    return records(table.cells, [name for name in STAGES if name in names])


def of_paper(wildcards):
    """The records of all stages that have metrics, of a paper's cells."""
    names = {metric.stage for metric in METRICS.values()}
    return records(
        PLAN.papers[wildcards.paper].cells, [n for n in STAGES if n in names]
    )


def printed(wildcards):
    """Printed numbers and levels, which figures draw beside the measured ones."""
    return said_by(wildcards.paper, "reported/*.csv", "figures/*.csv", "claims.yaml")


def of_figure(wildcards):
    """The records of the cells it shows, and of the stages whose measurements it reads."""
    shown = drawing.inputs(PLAN, wildcards.paper, wildcards.figure)
    return records(shown.cells, (*MADE, *shown.needs))
