"""Kill -9 at instants drawn at random, over all stages of a small workflow, and two at once.

Run by ``make test-chaos``. What is left in the end must have the bytes of a workflow that nobody
disturbed, but for logs, times and where it ran. A workflow that is killed is started again in the
same folder; where one ends before its instant, the next begins in a new folder.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from conftest import Project

TIMES = ("provenance.json", "provenance.csv", "before.html")


def digests(project: Project) -> dict[str, str]:
    """Of every result but what tells times and hosts, and what Snakemake logs."""
    found, results = {}, project.folder / "results/tiny"
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        name = path.relative_to(results).as_posix()
        told = name.startswith(("logs/", "report/")) or path.name in TIMES
        if not told and not path.name.startswith("."):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def fresh(folder: Path) -> Project:
    """A small project in which nothing is built."""
    folder.mkdir()
    project = Project(folder)
    project.few_figures()
    return project


def finish(project: Project) -> dict[str, str]:
    """The digests of a project once its workflow has gone on to its end."""
    project.snakemake("--unlock")
    done = project.snakemake()
    if done.returncode:
        sys.exit(f"{project.folder}: the workflow did not go on:\n{done.stdout[-3000:]}")
    return digests(project)


def compare(expected: dict[str, str], found: dict[str, str], where: str) -> None:
    """Leave where something differs, naming it."""
    names = [n for n in sorted({*expected, *found}) if expected.get(n) != found.get(n)]
    if names:
        sys.exit(f"{where}: other bytes in {', '.join(names[:10])}")


def stage(project: Project) -> str:
    """How far a killed workflow came, by what it left."""
    results = project.folder / "results/tiny"
    for name in ("tables", "curvature", "figures", "claims"):
        if any(results.glob(f"{name}/**/*.*")):
            return name
    for name in ("landscape", "curvature", "metrics"):
        if any(results.glob(f"runs/*/*/*/seed=*/{name}*.json")):
            return {"metrics": "trained"}.get(name, f"{name} measured")
    return "training" if any(results.glob("runs/**/state.bin")) else "starting"


def kill(root: Path, expected: dict[str, str], took: float, count: int, seed: int) -> None:
    """Kill workflows at so many instants, as long from their start as a whole one takes at most."""
    drawn, number, new = random.Random(seed), 0, True
    project = fresh(root / "killed-0")
    for done in range(count):
        wait = drawn.uniform(0, took)
        job = project.start("snakemake", "--cores", "2")
        begin = time.perf_counter()
        with suppress(subprocess.TimeoutExpired):
            job.wait(wait)
        ended = job.poll() is not None
        if ended and new:  # a whole one, on a machine that is less busy now
            took = min(took, time.perf_counter() - begin)
        if not ended:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        print(f"{done + 1} after {wait:.1f} s: {'ended' if ended else stage(project)}", flush=True)
        project.snakemake("--unlock")
        new = ended or done == count - 1
        if new:
            compare(expected, finish(project), project.folder.name)
            number += 1
            project = fresh(root / f"killed-{number}")


def both(root: Path, expected: dict[str, str]) -> None:
    """A workflow, a second one, which is told to wait, and a queue in one folder."""
    project = fresh(root / "two")
    jobs = [project.start("snakemake", "--cores", "1"), project.start("samscope", "queue")]
    while not (project.folder / ".snakemake/locks").exists() and jobs[0].poll() is None:
        time.sleep(0.05)
    second = project.run("snakemake", "--cores", "1")
    told = "Directory cannot be locked" in second.stdout
    ended = [job.wait() for job in jobs]
    print(f"two at once ended with {ended}, the third {'was told to wait' if told else 'ran'}")
    if any(ended):
        sys.exit("one of two that worked in a folder at once failed")
    compare(expected, finish(project), "two at once")


def main() -> None:
    """Try all of it; leaves with 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="instants, 50 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        whole, begin = fresh(Path(folder) / "whole"), time.perf_counter()
        expected = finish(whole)
        took = time.perf_counter() - begin
        print(f"undisturbed: {took:.0f} s, {len(expected)} files", flush=True)
        both(Path(folder), expected)
        kill(Path(folder), expected, took, args.count, args.seed)
    print(f"{args.count} instants, the same {len(expected)} files each time")


if __name__ == "__main__":
    main()
