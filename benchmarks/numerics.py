"""What the pins of `samscope.numerics` cost, and whether MKL's code is all that vendors differ in.

    python -m benchmarks.numerics                       # writes results/<machine>/numerics.md
    python -m benchmarks.numerics as-amd train CELL     # any command of samscope

The second runs a command as on a processor of AMD's: MKL, in the ``auto`` mode, reads who made the
processor once and keeps the answer, which is written over before its first use. What the command
writes can be held against a record made on an AMD processor, file by file.
"""

import argparse
import ctypes
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from samscope import numerics

_ALL = numerics.environment("auto")


def pinned(mkl: str) -> dict[str, str]:
    """What a pinned process has."""
    return {name: value for name, value in numerics.environment(mkl).items() if value}


def settings() -> dict[str, dict[str, str]]:
    """Variables by the name of a setting: threads alone, then one pin after the other."""
    auto = pinned("auto")
    threads = {k: v for k, v in auto.items() if "THREADS" in k or "DYNAMIC" in k}
    aten = {k: v for k, v in auto.items() if k.startswith("ATEN")}
    onednn = {k: v for k, v in auto.items() if k.startswith("ONEDNN")}
    return {
        "one thread": threads,
        "and ATen": threads | aten,
        "and oneDNN": threads | aten | onednn,
        "auto": auto,
        "auto, MKL at AVX2": auto | {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
        "compatible": pinned("compatible"),
    }


def work() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    from samscope import models

    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    def step(name: str, images: torch.Tensor) -> Callable[[], object]:
        model = models.build(name, 10, images.shape[1])
        labels = torch.randint(10, (len(images),), generator=random)
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

        def once() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return once

    square, other = draw(512, 512), draw(512, 512)
    left, right = draw(64, 128, 64), draw(64, 64, 128)
    wide, rows = draw(256, 37400), draw(32, 37400)
    few, layer = draw(60, 128), draw(128, 128)
    double, vector = draw(200, 200).double(), draw(100000)
    array = np.random.default_rng(0).standard_normal((512, 512))
    return {
        "cnn3, step of 60": step("cnn3", draw(60, 1, 8, 8)),
        "resnet8_w8, step of 60": step("resnet8_w8", draw(60, 3, 32, 32)),
        "512 x 512 product": lambda: square @ other,
        "64 of 128 x 64 x 128": lambda: left @ right,
        "linear, 32 x 37400 x 256": lambda: F.linear(rows, wide),
        "linear, 60 x 128 x 128": lambda: F.linear(few, layer),
        "float64 SVD of 200": lambda: torch.linalg.svdvals(double),
        "exp of 100,000": lambda: vector.exp(),
        "NumPy, 512 x 512 float64": lambda: array @ array,
        "NumPy, exp of 262,144": lambda: np.exp(array),
    }


def timed() -> dict[str, float]:
    """CPU seconds of each piece of work: the least of three spans of about 50 ms."""
    found = {}
    for name, once in work().items():
        once()
        begin = time.process_time()
        once()
        count = max(1, int(0.05 / max(time.process_time() - begin, 1e-6)))
        spans = []
        for _ in range(3):
            begin = time.process_time()
            for _ in range(count):
                once()
            spans.append((time.process_time() - begin) / count)
        found[name] = min(spans)
    return found


def as_amd() -> None:
    """Let MKL take the processor for one of AMD's; after the pins, before anything is computed.

    Raises:
        RuntimeError: where MKL's code is not what is known of it.
    """
    import torch

    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib/libtorch_cpu.so"))

    def kept(function: str, before: bytes, value: int) -> None:
        # Found by the instruction that reads it: mov eax, [rip + offset]; test eax, eax.
        start = ctypes.cast(getattr(library, function), ctypes.c_void_p).value
        code = ctypes.string_at(start, 128)
        at = code.find(before + b"\x8b\x05") + len(before)
        if at < len(before) or code[at + 6 : at + 8] != b"\x85\xc0":
            raise RuntimeError(f"{function} is not as it was in MKL 2024.2")
        (offset,) = struct.unpack_from("<i", code, at + 2)
        answer = ctypes.c_int.from_address(start + at + 6 + offset)
        if answer.value != -1:
            raise RuntimeError(f"{function} was asked before")
        answer.value = value

    kept("mkl_serv_intel_cpu_true", b"", 0)
    # The second of its two: the first keeps what follows from it. The bytes before are a jump.
    kept("mkl_serv_cpuiszen", b"\x0f\x89\x9f\x00\x00\x00", 1)


def child(call: str, variables: dict[str, str]) -> object:
    """What a function of this module returns in a process that starts with these variables."""
    clean = {k: v for k, v in os.environ.items() if k not in _ALL}
    code = f"import json, benchmarks.numerics as n; print(json.dumps({call}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | variables, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def costs(rounds: int) -> list[dict[str, object]]:
    """Rows of pieces of work; microseconds, the least of rounds in which settings take turns."""
    chosen, found = settings(), {name: [] for name in settings()}
    order = list(chosen)
    for turn in range(rounds):
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            found[name].append(child("n.timed()", chosen[name]))
    pieces = found[order[0]][0]
    least = lambda name, piece: min(turn[piece] for turn in found[name])  # noqa: E731
    return [{"µs": p, **{name: 1e6 * least(name, p) for name in order}} for p in pieces]


def vendors() -> list[dict[str, object]]:
    """Rows of MKL's modes: the fingerprint of this processor, and as one of AMD's."""
    rows = []
    for mode in numerics.MODES:
        own = child("n.numerics.fingerprint()", pinned(mode))
        told = child("n.as_amd() or n.numerics.fingerprint()", pinned(mode))
        reference = numerics.REFERENCES[mode]
        rows.append({"mkl": mode, "this processor": own, "as AMD's": told, "reference": reference})
    bare = child("n.numerics.fingerprint()", settings()["one thread"])
    return [*rows, {"mkl": "no pins", "this processor": bare}]


def main() -> int:
    """Measure, or run a command of samscope as on a processor of AMD's."""
    if sys.argv[1:2] == ["as-amd"]:
        numerics.pin("auto")
        as_amd()
        from samscope.run.cli import main as samscope

        return samscope(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    import torch
    from benchmarks.timing import _grid, machine, slug, stamp

    cpu = torch.device("cpu")
    about, where = stamp(None), machine(cpu)
    lines = ["# The pins of a CPU's numbers, measured", ""]
    lines += [", ".join(f"{name} {value}" for name, value in where.items()) + ".", ""]
    lines += [f"Commit {about['commit']}, {about['date']}, {chosen.rounds} rounds.", ""]
    lines += ["## Cost", "", *_grid(costs(chosen.rounds)), ""]
    lines += [
        "CPU microseconds, one thread, the least of the rounds; each setting in processes of its "
        "own, in turn. `auto` is all pins, with MKL's own choice of code.",
        "",
    ]
    lines += ["## Fingerprints", "", *_grid(vendors()), ""]
    path = chosen.out / slug(cpu) / "numerics.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
