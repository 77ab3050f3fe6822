# What the rules need to know of the plan. Paths only; what a job does is in src/samscope.
import os

from samscope.plan import keep as keeping
from samscope.store.fingerprint import fingerprint
from samscope.stages import landscape as cell_landscape
from samscope.stages.curvature import used_settings
from samscope.store.provenance import has_gpu
from samscope.store import records

# Jobs on a GPU take turns: the default profile allows as many at a time as its `gpu` says.
GPU = int(has_gpu())


def digests(cell, seeds):
    return {seed: PLAN.cells[cell].cell.digest(seed) for seed in seeds}


def built(name, dated, seeds_of, settings_of=lambda cell: None):
    """The cells whose record holds the runs that the plan asks for.

    Such a record is built whatever its time and whoever made it: git and archives keep no times,
    and a fresh clone has no memory of jobs. Where a record is of other runs, an output of its job
    is dated back: of files it has no memory of, Snakemake looks at the times alone.
    """
    found = set()
    for cell in PLAN.cells:
        folder = Path(f"{RESULTS}/runs/{cell}")
        if records.holds(
            folder / name, digests(cell, seeds_of(cell)), settings_of(cell)
        ):
            found.add(cell)
        elif (folder / dated).exists() and not config["partial"]:
            os.utime(folder / dated, (1, 1))
    return found


def landscape_settings(cell):
    paper = PLAN.cells[cell].cell.paper
    return cell_landscape.used_settings(PLAN.scale["papers"][paper]["landscape"])


# No table is made from history.csv alone: its time is that of the training job and no more.
TRAINED = built("metrics.json", "history.csv", lambda cell: PLAN.cells[cell].seeds)
MEASURED = built(
    "curvature.json",
    "curvature.json",
    lambda cell: PLAN.cells[cell].seeds[: PLAN.curvature(cell)["seeds"]],
    lambda cell: used_settings(PLAN.curvature(cell)),
)
LANDSCAPES = keeping.landscapes(PLAN)
MAPPED = built(
    "landscape.json",
    "landscape.json",
    lambda cell: [LANDSCAPES[cell][0]] if cell in LANDSCAPES else [],
    lambda cell: cell in LANDSCAPES and landscape_settings(cell),
)


def training_input(wildcards):
    """Data set and protocol, whose times decide nothing where the cell is built."""
    cell = PLAN.cells[wildcards.cell].cell
    manifest = f"{config['data_dir']}/{cell.data}.json"
    protocol = f"workflow/papers/{cell.paper}/paper.yaml"
    if wildcards.cell not in TRAINED:
        return [manifest, protocol]
    # A cell from elsewhere does without its data set; of one trained here, as a log says, Snakemake
    # remembers the inputs.
    log = Path(f"{RESULTS}/logs/train/{wildcards.cell}.log")
    known = [manifest] if log.exists() or Path(manifest).exists() else []
    return [ancient(path) for path in (*known, protocol)]


def curvature_input(wildcards):
    """The cell's record, whose time decides nothing where the spectra are of its runs."""
    path = f"{RESULTS}/runs/{wildcards.cell}/metrics.json"
    return ancient(path) if wildcards.cell in MEASURED else path


def landscape_input(wildcards):
    """The record of the cell, and of the cell that a line begins from."""
    cells = [c for c in (wildcards.cell, LANDSCAPES[wildcards.cell][1]) if c]
    paths = [f"{RESULTS}/runs/{cell}/metrics.json" for cell in cells]
    # Weights of earlier epochs are there once training is done; no other file is read.
    return [ancient(path) for path in paths] if wildcards.cell in MAPPED else paths


def present(paths):
    """All of them; with `partial: true`, those that exist."""
    return [p for p in paths if not config["partial"] or Path(p).exists()]


def metrics(cells):
    return present(f"{RESULTS}/runs/{cell}/metrics.json" for cell in cells)


def spectra():
    return present(f"{RESULTS}/runs/{cell}/curvature.json" for cell in PLAN.measured())


def landscapes():
    return present(f"{RESULTS}/runs/{cell}/landscape.json" for cell in LANDSCAPES)
