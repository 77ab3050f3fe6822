"""Randomness from (seed, purpose, epoch or step) alone, drawn on the CPU.

The draws are the same for every variant of a seed, on every device and after a resume, so that
differences between variants are paired. Only random layers draw where they compute, from the seed
of a step. Purposes in use: of training ``init``, ``nudge``, ``order``, ``augment``,
``augment_val``, ``label_noise``, ``layers``, ``direction``, ``ire``; of a fit ``features``; of
measuring ``curvature``, ``landscape`` and ``shifts``, and below them ``lanczos``, ``xtrace``,
``pooled``, ``worst_case``, ``average_case``.
"""

import hashlib
import json
import os

import torch


def derive(seed: int, *names: str | int) -> int:
    """The 64-bit seed of one purpose: the first bytes of a SHA-256 of ``[seed, *names]``.

    Neighbouring run seeds give unrelated streams. (torch's CPU generator keeps the low 32 bits.)
    """
    text = json.dumps([seed, *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A fresh CPU generator for one purpose of one run, e.g. ``stream(3, "order", epoch)``."""
    return torch.Generator().manual_seed(derive(seed, *names))


def make_deterministic(threads: int) -> None:
    """Make this process repeat its numbers bit for bit: algorithms, and the number of CPU threads.

    Floating-point sums depend on the number of threads, so it comes from the spec and never from
    the environment (Snakemake sets ``OMP_NUM_THREADS`` from its own core count). They depend on
    instructions too, which are settled before torch is imported, see `samscope.numerics`.
    """
    # MKL's vector functions choose their code when first called; several threads would race for it.
    torch.ones(1).exp()
    torch.set_num_threads(threads)
    # Weights that decay where no gradient comes any more end as numbers too small for float32's
    # full precision, with which an x86 computes four times as slowly. They count as 0.
    torch.set_flush_denormal(True)
    # cuBLAS reads this when it starts; without it deterministic algorithms refuse to run there.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As torch.use_deterministic_algorithms(True), which imports the compiler for it: two seconds.
    torch.set_deterministic_debug_mode("error")
    allow_tf32(False)
    torch.backends.cudnn.benchmark = False
    # Deterministic mode fills every new tensor with NaN to expose reads of unset memory: the
    # numbers are the same without, and steps this small would feel the cost.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def allow_tf32(allowed: bool) -> None:
    """Whether a GPU may round the factors of float32 products to 10 bits, from now on."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
