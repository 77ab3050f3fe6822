"""Mistakes put into a copy of the source, one at a time: some test must see each of them.

Run by ``make test-mutants``. One whose tests all pass has survived: a test is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """A mistake.

    Attributes:
        file: below ``src/samscope``.
        old: a piece of it that stands there once.
        new: what takes its place.
        tests: that should see it, as pytest names them.
    """

    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    # Marks without a correction for how many there are.
    Mutant(
        "analysis/agreement.py",
        "_agreement(tolerance, adjusted, gap)",
        "_agreement(tolerance, found.get(_printed_cell(row), (0, math.nan))[1], gap)",
        "test_agreement.py",
    ),
    Mutant(
        "analysis/agreement.py",
        "p = _corrected({key: (key[2], gap.p) for key, gap in gaps.items()})",
        "p = {key: gap.p for key, gap in gaps.items()}",
        "test_tables.py",
    ),
    Mutant(
        "analysis/stats.py",
        "largest = max(largest, min(1.0, (len(known) - rank) * value))",
        "largest = min(1.0, (len(known) - rank) * value)",
        "test_stats.py",
    ),
    # Of two tables that share a cell, the seeds of one alone.
    Mutant("plan/load.py", "sorted({*old, *seeds})", "sorted(seeds)", "test_plan.py"),
    Mutant("plan/load.py", "sorted({*old, *seeds})", "sorted(old or seeds)", "test_plan.py"),
    # Randomness that is shared, or not paired.
    Mutant("train/feed.py", '"augment_val", row', '"augment", row', "test_data.py"),
    Mutant("train/feed.py", '"order", epoch', '"order"', "test_data.py"),
    Mutant(
        "analysis/stats.py",
        "seeds = a.index.intersection(b.index)",
        "seeds = a.index[: len(b)]",
        "test_stats.py",
    ),
    # Verdicts that one comparison decides for all, or a level that is not the claim's.
    Mutant(
        "analysis/verdicts.py",
        "if not missing and all(part.within <= _ALPHA for part in done):",
        "if not missing and any(part.within <= _ALPHA for part in done):",
        "test_verdicts.py",
    ),
    Mutant(
        "analysis/verdicts.py",
        "if not (part.claimed and part.p <= _ALPHA)]",
        "if not part.claimed]",
        "test_claims.py",
    ),
    # Records that are believed.
    Mutant(
        "store/records.py",
        "or checksums.get(name) != _checksum(folder / name)",
        "or name not in checksums",
        "test_records.py",
    ),
    Mutant("run/packed.py", "or name in seen or", "or", "test_foreign_archive.py"),
    Mutant("store/state.py", "            check(found)\n", "", "test_resume.py"),
    Mutant(
        "run/archive.py",
        "with records.locked(plan.results, report):",
        "if True:",
        "test_overwrite.py",
    ),
    # The method itself.
    Mutant(
        "optim/mixes.py",
        "G: Row = (0.0, 1.0, 0.0, 0.0)",
        "G: Row = (0.0, 0.9, 0.0, 0.0)",
        "test_mixes.py",
    ),
    Mutant(
        "optim/ascent.py",
        "norm = global_norm([g])",
        "norm = global_norm([g]) * 1.001",
        "test_ascent.py",
    ),
)


def survives(mutant: Mutant) -> bool:
    """Whether the tests pass on a source with the mistake in it.

    Raises:
        ValueError: where the source has no such piece, or the tests could not be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        path = source / "samscope" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise ValueError(
                f"{mutant.file}: {mutant.old!r} stands there {text.count(mutant.old)} times"
            )
        path.write_text(text.replace(mutant.old, mutant.new))
        env = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
        tests = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{mutant.tests}"]
        done = subprocess.run([sys.executable, *tests], cwd=ROOT, env=env, capture_output=True)
    if done.returncode not in (0, 1):
        raise ValueError(f"{mutant.tests}: pytest ended with {done.returncode}")
    return done.returncode == 0


def main() -> int:
    """Try all of them; 1 where one survived."""
    left = 0
    for mutant in MUTANTS:
        lives = survives(mutant)
        left += lives
        told = "SURVIVED" if lives else "killed"
        print(f"{told}  {mutant.file}: {mutant.old} -> {mutant.new or '(nothing)'}", flush=True)
    print(f"{len(MUTANTS) - left} of {len(MUTANTS)} killed")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
