"""Libraries of curvature behind one face: products, top eigenvalues and trace of a mean loss.

PyHessian, curvlinops and hessian-eigenthings take part where they are installed, see peers.txt.
"""

import copy
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, nn

from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import spectrum
from samscope.measure.objective import Loss, MeanLoss
from samscope.measure.trace import xtrace

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Peer:
    """A library set up for a model and its data.

    Attributes:
        product: the Hessian times a vector [size].
        top: the k largest eigenvalues at an effort, and the products that took.
        efforts: of ``top``, ascending.
        trace: an estimate from a number of products and a seed.
    """

    product: Callable[[Tensor], Tensor]
    top: Callable[[int, float, int], tuple[list[float], int]]
    efforts: tuple[float, ...]
    trace: Callable[[int, int], float]


STEPS = (10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 50, 60, 80)


def samscope(model: nn.Module, loss: Loss, batches: Batches) -> Peer:
    """Ours: Lanczos, XTrace."""
    hessian = Hessian(MeanLoss(model, loss, batches))

    def top(k: int, effort: float, seed: int) -> tuple[list[float], int]:
        found = spectrum(hessian, k, 0.0, int(effort), seed=seed)
        return list(found.largest.values), found.products

    return Peer(hessian.matvec, top, STEPS, lambda m, seed: xtrace(hessian, m, seed).value)


def pyhessian(model: nn.Module, loss: Loss, batches: Batches) -> Peer:
    """Z. Yao et al., arXiv:1912.07145: power iteration with deflation, Hutchinson."""
    module = import_module("pyhessian")
    count: list[int] = []
    for name in ("hessian_vector_product", "dataloader_hv_product"):
        holder = import_module("pyhessian.hessian") if name[0] == "h" else module.hessian
        _count(holder, name, count)
    model.zero_grad(set_to_none=True)
    one = {"data": batches[0]} if len(batches) == 1 else {"dataloader": batches}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = module.hessian(model, loss, cuda=batches[0][0].is_cuda, **one)

    def product(vector: Tensor) -> Tensor:
        pieces = vector.split([p.numel() for p in found.params])
        shaped = [v.view_as(p) for v, p in zip(pieces, found.params, strict=True)]
        if len(batches) > 1:
            return torch.cat([v.reshape(-1) for v in found.dataloader_hv_product(shaped)[1]])
        multiply = import_module("pyhessian.hessian").hessian_vector_product
        return torch.cat([v.reshape(-1) for v in multiply(found.gradsH, found.params, shaped)])

    def top(k: int, effort: float, seed: int) -> tuple[list[float], int]:
        torch.manual_seed(seed)
        count.clear()
        return found.eigenvalues(maxIter=2000, tol=effort, top_n=k)[0], len(count)

    def trace(products: int, seed: int) -> float:
        torch.manual_seed(seed)
        samples = found.trace(maxIter=products, tol=-math.inf)
        return sum(samples) / len(samples)

    return Peer(product, top, (1e-3, 1e-4, 1e-5, 1e-6, 1e-7), trace)


def curvlinops(model: nn.Module, loss: Loss, batches: Batches) -> Peer:
    """F. Dangel et al., github.com/f-dangel/curvlinops: ARPACK through scipy, XTrace."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    module = import_module("curvlinops")
    model.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    options = {"check_deterministic": False}
    operator = module.HessianLinearOperator(model, loss, parameters, batches, **options)
    count: list[int] = []

    def top(k: int, effort: float, seed: int) -> tuple[list[float], int]:
        count.clear()
        like, size = parameters[0], operator.shape[0]

        def multiply(vector):
            count.append(1)
            product = operator @ torch.from_numpy(vector.reshape(-1)).to(like)
            return product.detach().cpu().numpy()

        start = torch.randn(size, generator=torch.Generator().manual_seed(seed)).numpy()
        linear = LinearOperator((size, size), matvec=multiply, dtype="float32")
        values = eigsh(linear, k, which="LA", tol=effort, v0=start, return_eigenvectors=False)
        return sorted(map(float, values), reverse=True), len(count)

    def trace(products: int, seed: int) -> float:
        torch.manual_seed(seed)
        return float(module.xtrace(operator, products))

    efforts = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    return Peer(lambda v: operator @ v, top, efforts, trace)


def eigenthings(model: nn.Module, loss: Loss, batches: Batches) -> Peer:
    """N. Golmant et al., hessian-eigenthings: Lanczos, Hutch++."""
    module = import_module("hessian_eigenthings")
    model.eval()
    operator = module.HessianOperator(model, batches, lambda m, batch: loss(m(batch[0]), batch[1]))

    def top(k: int, effort: float, seed: int) -> tuple[list[float], int]:
        steps = int(effort)
        found = module.lanczos(
            operator, k=k, max_iter=steps, which="LA", seed=seed, reorthogonalize=True
        )
        return sorted(found.eigenvalues.tolist(), reverse=True), steps

    def trace(products: int, seed: int) -> float:
        return float(module.hutch_plus_plus(operator, num_matvecs=products, seed=seed).estimate)

    return Peer(operator.matvec, top, STEPS, trace)


PEERS: dict[str, Callable[[nn.Module, Loss, Batches], Peer]] = {
    "samscope": samscope,
    "PyHessian": pyhessian,
    "curvlinops": curvlinops,
    "hessian-eigenthings": eigenthings,
}


def installed(model: nn.Module, batches: Batches) -> dict[str, Peer]:
    """The libraries that are there, each with a copy of the model of its own."""
    found = {}
    for name, set_up in PEERS.items():
        try:
            found[name] = set_up(copy.deepcopy(model), nn.CrossEntropyLoss(), batches)
        except ModuleNotFoundError as error:
            print(f"{name}: {error.name} is not installed", file=sys.stderr)
    return found


def _count(holder: object, name: str, count: list[int]) -> None:
    """Let the calls of a function be counted."""
    original = getattr(holder, name)
    original = getattr(original, "uncounted", original)

    def counted(*args: object, **kwargs: object) -> object:
        count.append(1)
        return original(*args, **kwargs)

    counted.uncounted = original
    setattr(holder, name, counted)
