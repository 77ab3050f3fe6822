"""What 10,000 cells of 5 seeds cost by the number of cores: a simulation of measured parts.

``python -m benchmarks.cores`` prints a table. A run takes as long as one drawn from the committed
records of the profile decide; what comes on top is in `WAYS`, CPU seconds of an Intel Xeon.
"""

import heapq
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

RECORDS = Path(__file__).parents[1] / "results/decide.tar.xz"
CELLS, SEEDS, CORES = 10_000, 5, (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class Way:
    """How cells come to cores, and what that costs in seconds.

    Attributes:
        name: for the table.
        start: once, before the first cell.
        serial: of each cell, in the one process that hands them out.
        beside: of each cell, on the core that makes it.
    """

    name: str
    start: float
    serial: float
    beside: float


# From the CPU time of grids of 10 and 60 cells of one short run (Slurm: of 12), beyond that of the
# runs. The starts, with a plan of 10,000 cells, are set; they hardly count.
WAYS = (
    Way("`snakemake`", 40.0, 0.16, 0.26),
    Way("`snakemake`, a Slurm job a cell", 40.0, 0.16, 8.8),
    Way("`samscope queue` on each core", 12.0, 0.0, 0.05),
)


def seconds(archive: Path) -> list[float]:
    """How long each run of packed records took."""
    with tarfile.open(archive) as packed:
        files = (packed.extractfile(m) for m in packed if m.name.endswith("provenance.json"))
        return [json.load(file)["seconds"] for file in files if file]


def makespan(way: Way, cells: list[float], cores: int) -> float:
    """Seconds until all cells are made, each on the core that is free first."""
    free, handed = [way.start] * cores, way.start
    for took in cells:
        handed += way.serial
        heapq.heapreplace(free, max(free[0], handed) + way.beside + took)
    return max(free)


def main() -> None:
    """Print the table."""
    drawn, known = random.Random(0), seconds(RECORDS)
    cells = [sum(drawn.choices(known, k=SEEDS)) for _ in range(CELLS)]
    print(f"{len(known)} runs of {sum(known) / len(known):.1f} s in the mean;", end=" ")
    print(f"{CELLS} cells of {SEEDS}: {sum(cells) / 3600:.0f} hours of work\n")
    print("| hours on cores |", " | ".join(map(str, CORES)), "|")
    print("| --- |", " --- |" * len(CORES), sep="")
    for way in WAYS:
        hours = (makespan(way, cells, count) / 3600 for count in CORES)
        print(f"| {way.name} |", " | ".join(f"{h:.2g}" for h in hours), "|")


if __name__ == "__main__":
    main()
