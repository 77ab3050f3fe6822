"""What makes the numbers of a CPU repeat: pins that a process starts with, and their fingerprint.

The libraries below choose their instructions by the processor they find, and with them the order in
which they add. Pinned, they take AVX2 wherever there is AVX2. MKL, which does torch's matrix
products and exponentials, looks at who made the processor as well: left to itself (``auto``) it has
code of its own for AMD's, whatever their instructions, and several for Intel's. ``compatible`` is
one code for all of them. Convolutions are oneDNN's and cost the same under both; a matrix product
costs two to six times as much under ``compatible``. So a profile of convolutions, whose verdicts
are to be the same everywhere, asks for ``compatible``, one of matrix products for ``auto``.

The same bits are promised within one `fingerprint`, which every run records. Between two, runs part
in the last digit and then go their own ways: what is significant by a margin stays so, a verdict at
its edge may change. Only processors that were tried are called equal, see `REFERENCES`. An ARM
processor, or one without AVX2, takes instructions of its own and has a fingerprint of its own.

Importing this, or the library, changes nothing: each entry (workflow, command line, warm start,
queue, tests) calls `pin`.
"""

import functools
import hashlib
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from samscope.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

MODE = "SAMSCOPE_MKL"
"""Environment variable that hands a process's MKL mode to those it starts."""

Mode = Literal["auto", "compatible"]

MODES: tuple[Mode, ...] = get_args(Mode)
"""Of MKL. A process has one: MKL reads it when it first computes."""

REFERENCES = {"auto": "21839a9dd61d6528", "compatible": "4ecb7e5a5e97d9cd"}
"""The fingerprints within which bits are promised, by MKL mode; of torch 2.15.0 and NumPy 2.4.6.

``auto`` stands for the AMD EPYC with AVX2 of the committed records. It was found on an Intel Xeon
with AVX-512 whose MKL was told that it is AMD's, as ``python -m benchmarks.numerics as-amd`` tells
it. So told, the Xeon trained three of the records again, of SGD, SAM and ckpt12, to the last byte
of weights and tables, and measured a curvature to the last digit; not told, it has
5f4d5431b65fc85c. ``compatible`` is that of the Xeon, told or not. An AMD processor has `OTHERS`."""

OTHERS = {"auto": "6a6b514bc55408ae", "compatible": "d240813fcd7e2c8e"}
"""The same of an AMD EPYC of family 25, model 17 (with AVX-512), in neither mode those of the Xeon.

In ``compatible`` mode the histories of the small convolutional networks that were trained on both
(2 cells, 3 seeds each) are the same to the last byte; those of the perceptron on equations,
products of matrices in full batches, are not."""

_THREADS = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")},
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
}
# Each library's way to say: AVX2, whatever else the processor has.
_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    # torch.compile follows ATen's, but would take code that it kept from before, made for AVX-512,
    # and count wrong; code for a named processor is kept apart.
    "TORCHINDUCTOR_CPP_MARCH": "haswell",
}
# Would undo the others, or make NumPy refuse to start.
_UNSET = (
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_DEFAULT_FPMATH_MODE",
)
_COMPATIBLE = {"MKL_CBWR": "COMPATIBLE"}


def environment(mkl: str) -> dict[str, str | None]:
    """The variables of a pinned process on this machine; None: not set.

    Raises:
        InputError: for a mode that is not in `MODES`.
    """
    if mkl not in MODES:
        raise InputError("numerics", "mkl", mkl, ", ".join(MODES))
    pinned: dict[str, str | None] = {MODE: mkl, **dict.fromkeys((*_UNSET, *_AVX2)), **_THREADS}
    if _has_avx2():
        pinned |= _AVX2
    return pinned | (_COMPATIBLE if mkl == "compatible" else {})


def pin(mkl: str | None = None) -> None:
    """Pin this process and those it starts; to be called before torch and NumPy are imported.

    What the user has set is overridden: it was meant for other programs, and a run's numbers must
    follow from its profile, not from a shell. Threads are one until `samscope.seeding` sets a run's
    own number.

    Args:
        mkl: one of `MODES`; None: that of the process which started this one, else ``auto``.

    Raises:
        InputError: for an unknown mode, and when a library that reads the variables was imported
            under others.
    """
    wanted = environment(mkl or os.environ.get(MODE) or "auto")
    changed = {name: value for name, value in wanted.items() if os.environ.get(name) != value}
    read_by = {"torch": changed, "numpy": [n for n in changed if n.startswith(("NPY", "OPENBLAS"))]}
    late = [library for library, names in read_by.items() if names and library in sys.modules]
    if late:
        found = f"imported before {', '.join(sorted(changed))} could be set"
        raise InputError("numerics", late[0], found, "a process that samscope starts with")
    for name, value in changed.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def pins() -> dict[str, str]:
    """Those variables of `environment` that this process has, for its provenance."""
    return {name: os.environ[name] for name in sorted(environment("auto")) if name in os.environ}


def verdicts_only(fingerprint: str | None) -> bool:
    """Whether runs with a fingerprint do not repeat the bits of `REFERENCES`.

    A verdict at the edge may then turn.

    Args:
        fingerprint: as recorded. None, of records made before there was one: the committed ones,
            which ``auto`` is taken from.
    """
    return fingerprint is not None and fingerprint not in REFERENCES.values()


@functools.cache
def fingerprint() -> str:
    """16 hexadecimal digits of what this process's CPU computes; a tenth of a second, once.

    A SHA-256 over ten updates of a small network (convolutions, batch and layer normalisation, an
    embedding, attention, linear layers), its losses and weights, and over functions that
    measurements and tables use. One thread; the global random state and torch's settings stay as
    they are.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        total = hashlib.sha256()
        with torch.enable_grad():
            for value in (*_training(), *_functions()):
                total.update(value.detach().contiguous().numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    return total.hexdigest()[:16]


def _training() -> "list[Tensor]":
    """Losses and weights of ten updates, by SGD and then by Adam."""
    import torch
    import torch.nn.functional as F

    random = torch.Generator().manual_seed(0)
    count, channels, classes = 12, 16, 10

    def draw(*shape: int) -> "Tensor":
        values = torch.randn(shape, generator=random, dtype=torch.float32, device="cpu")
        return (values / max(4, math.prod(shape[1:])) ** 0.5).requires_grad_()

    images = draw(count, 3, 8, 8).detach() * 14  # of about unit variance
    labels = torch.randint(classes, (count,), generator=random, device="cpu")
    names = torch.randint(7, (count, 16), generator=random, device="cpu")
    shapes = [(8, 3, 3, 3), (channels, 8, 3, 3), (channels, 8, 1, 1), (7, channels)]
    shapes += [(3 * channels, channels), (300, channels), (classes, 300), (channels,), (channels,)]
    weights = [draw(*shape) for shape in shapes]
    first, second, short, embedding, mixing, wide, linear, scale, shift = weights
    moving = [[torch.zeros_like(w) for w in weights] for _ in range(2)]
    seen: list[Tensor] = []
    for step in range(1, 11):
        x = F.relu(F.batch_norm(F.conv2d(images, first, padding=1), None, None, training=True))
        x = F.conv2d(x, second, stride=2, padding=1) + F.conv2d(x, short, stride=2)
        x = F.batch_norm(x, None, None, 1 + scale, shift, training=True).flatten(2).transpose(1, 2)
        x = F.layer_norm(x + F.embedding(names, embedding), (channels,))
        q, k, v = F.linear(x, mixing).chunk(3, dim=-1)
        x = x + (q @ k.transpose(1, 2) / channels**0.5).softmax(-1) @ v
        x = F.gelu(F.linear(x.mean(1), wide)).tanh()
        loss = F.cross_entropy(F.linear(x, linear), labels)
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, g, m, s in zip(weights, gradients, *moving, strict=True):
                m.mul_(0.9).add_(g)
                s.mul_(0.9).addcmul_(g, g, value=0.1)
                w.sub_(0.05 * m if step <= 5 else 0.01 * m / (s.sqrt() + 1e-8))
        seen += [loss, *(w.detach().clone() for w in weights)]
    return seen


def _functions() -> "list[Tensor]":
    """Functions, sums and products, in torch and in NumPy, and the eigenvalues of a matrix."""
    import numpy as np
    import torch

    x = torch.linspace(0.1, 9, 1003, dtype=torch.float64, device="cpu")
    square = torch.outer(x[:40], x[-40:]).sin()
    symmetric = square + square.T
    values = [f(x) for f in (torch.exp, torch.log, torch.sin, torch.erf)]
    values += [f(x.float()) for f in (torch.exp, torch.log, torch.sigmoid)]
    values += [x.float().norm(), x.var(), square @ square, square @ x[:40], x @ x]
    values += [torch.linalg.eigvalsh(symmetric)]
    a, s = x.numpy(), symmetric.numpy()
    found = (np.exp(a), np.log(a), a.std(), s @ s, np.linalg.eigvalsh(s))
    return values + [torch.from_numpy(np.asarray(value)) for value in found]


@functools.cache
def _has_avx2() -> bool:
    """Whether the processor has AVX2, told without a library; only where Linux says so."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any("avx2" in line.split() for line in lines if line.startswith("flags"))
