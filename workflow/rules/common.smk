# What the rules need to know of the plan. Paths only; what a job does is in src/samscope.
from samscope.analysis.figures import FIGURES
from samscope.fingerprint import fingerprint
from samscope.provenance import has_gpu

# Jobs on a GPU take turns: the default profile allows as many at a time as its `gpu` says.
GPU = int(has_gpu())


def run_digests(wildcards):
    planned = PLAN.cells[wildcards.cell]
    return [planned.cell.digest(seed) for seed in planned.seeds]


def present(paths):
    """All of them; with `partial: true`, those that exist."""
    return [p for p in paths if not config["partial"] or Path(p).exists()]


def metrics(cells):
    return present(f"{RESULTS}/runs/{cell}/metrics.json" for cell in cells)


def spectra():
    return present(f"{RESULTS}/runs/{cell}/curvature.json" for cell in PLAN.measured())
