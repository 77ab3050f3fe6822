# What the rules need to know of the plan. Paths only; what a job does is in src/samscope.
import json

from samscope.fingerprint import fingerprint

# Handed to every command, so that a job sees the configuration this workflow was started with.
CONFIG = json.dumps(PLAN.config, sort_keys=True)


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
