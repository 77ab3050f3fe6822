"""Measures the training engine: ``python -m benchmarks.engine``, or `make bench`.

Every section is written to ``results/<machine>/engine.json`` and ``engine.md`` when it is done.
"""

import gc
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence

import torch
from benchmarks import parts, precision, runs, steps, throughput, update, wrappers
from benchmarks.problem import SIZES, Size, repeatable
from benchmarks.timing import Findings, Table, keep, options, slug, stamp

SECTIONS: dict[str, Callable[[Size, torch.device], Findings]] = {
    "runs": runs.runs,
    "throughput": throughput.throughput,
    "sam": steps.sam,
    "upkeep": runs.upkeep,
    "update": update.update,
    "wrappers": wrappers.wrappers,
    "parts": parts.parts,
    "precision": precision.precision,
    "growth": steps.growth,
    # Last, for on a GPU it compiles the largest network.
    "peak": steps.peak,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns 1 where a section failed."""
    chosen = options(__doc__, SECTIONS, SIZES, arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = SIZES[chosen.size or ("gpu" if device.type == "cuda" else "cpu")]
    folder = chosen.out / slug(device)
    failed = False
    repeatable()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces every use
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        # Nothing compiled before is found, so that what compilation costs is seen.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name in chosen.sections:
            # What the section before leaves must not run beside this one.
            gc.collect()
            print(f"{name}:", flush=True)
            begin = time.perf_counter()
            try:
                findings = SECTIONS[name](size, device)
            except Exception as error:
                traceback.print_exc()
                failed = True
                line = f"{type(error).__name__}: {error}".splitlines()[0]
                findings = Findings([Table("Not measured", [{"error": line}])])
            seconds = time.perf_counter() - begin
            keep(folder, name, {**stamp(chosen.commit), "seconds": seconds}, findings, device)
            print(f"{name}: {seconds:.1f} s", flush=True)
    print(folder / "engine.md")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
