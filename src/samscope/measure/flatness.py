"""How flat a loss is around some weights: its spectrum, its trace and its sharpness.

For any torch model, loss and data:

    found = curvature(model, torch.nn.functional.cross_entropy, batches, top_n=5, rho=0.05)
    found.spectrum.largest[0], found.spectrum.ratio(5), found.trace, found.worst.value

It is `measure` of a `MeanLoss`, which says how the data are weighed, in what precision and more.

Two quantities go by the name of top eigenvalues. `measure` takes those of one Hessian, that of the
mean over all samples. `pooled` takes those of every mini-batch and pools them (N. Park, S. Kim,
arXiv:2202.06709, and the geometry-SAM study). The largest eigenvalue is a convex function of the
Hessian, so the mean over mini-batches lies above that of their union.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure.batches import count, pairs
from samscope.measure.hessian import Hessian
from samscope.measure.lanczos import Eigenpairs, Estimate, Spectrum, spectrum
from samscope.measure.objective import Loss, MeanLoss
from samscope.measure.sharpness import AverageCase, WorstCase, average_case, worst_case
from samscope.measure.slopes import own_slopes
from samscope.measure.trace import Trace, xtrace
from samscope.seeding import derive

TOLERANCE = 1e-3
"""Residuals over the largest magnitude. Eigenvalues that stand alone are then right to 1e-6."""

STEPS = 10
"""Gradients of the ascent to the worst case: within 1 % of what 50 reach, on the networks of the
quick profile at rho 0.2."""

DIRECTIONS = 10
"""Of the average case: the median of its standard errors is then 7 % in the last epoch of the
profile quick and 10 % in that of cpu, 15 and 18 % before it."""

FILTERED = 0.1
"""Of a filter's norm, how far it moves in filter-normalised directions."""

_DIGITS = 8
"""That are kept of stored nodes and weights: float32 holds no more."""

Backend = Literal["lanczos", "pyhessian"]


@dataclass(frozen=True, eq=False)
class Curvature:
    """What is measured around one vector of weights.

    Attributes:
        loss: at the weights.
        spectrum: of the Hessian: eigenvalues at both ends with bounds, and its density.
        trace: of the Hessian, with its interval.
        worst: the largest rise of the loss within rho.
        average: its mean rise at distance rho.
        filtered: its mean rise over filter-normalised directions, at `FILTERED`.
    """

    loss: float
    spectrum: Spectrum
    trace: Trace
    worst: WorstCase
    average: AverageCase
    filtered: AverageCase

    def record(self) -> dict[str, Any]:
        """All of it as plain values for JSON: numbers, and pairs of a value and its bound."""
        found, k = self.spectrum, len(self.spectrum.largest.values)
        return {
            "loss": self.loss,
            "largest": found.largest.values,
            "largest_residuals": found.largest.residuals,
            "dominant": found.dominant.values,
            "dominant_residuals": found.dominant.residuals,
            "lambda_min": asdict(found.smallest[0]),
            "leading_ratio": {"k": k, **asdict(found.ratio(k))},
            "asymmetry": asdict(found.asymmetry()),
            "trace": asdict(self.trace),
            "worst_case": {k: v for k, v in asdict(self.worst).items() if k != "loss"},
            "average_case": {k: v for k, v in asdict(self.average).items() if k != "loss"},
            "filtered_case": {k: v for k, v in asdict(self.filtered).items() if k != "loss"},
            "density": {"nodes": [_short(found.nodes)], "weights": [_short(found.weights)]},
            "products": found.products,
            "converged": found.converged,
        }


@dataclass(frozen=True)
class Pooled:
    """The eigenvalues of largest magnitude of the Hessian of every mini-batch.

    Attributes:
        values: those of a batch, in descending order of magnitude, with their signs.
        residuals: a bound on the error of each.
        products: Hessian-vector products for them; None where the back end does not count them.
        ends: of each batch the largest and the smallest eigenvalue and |largest / smallest|, with
            bounds; none where the back end finds one end alone.
        more: products with which the ends converged to `TOLERANCE` of their own magnitudes, where
            the products that `spectrum` takes at most were enough.
    """

    values: tuple[tuple[float, ...], ...]
    residuals: tuple[tuple[float, ...], ...]
    products: int | None
    ends: tuple[tuple[Estimate, Estimate, Estimate], ...] = ()
    more: int = 0

    def record(self) -> dict[str, Any]:
        """The values, and what the geometry-SAM study wrote beside their density."""
        every = [value for batch in self.values for value in batch]
        known = all(map(math.isfinite, every))
        positive = [value for value in every if value > 0]
        return {
            "values": [[_rounded(value) for value in batch] for batch in self.values],
            "residual": max(map(max, self.residuals)) if known else math.nan,
            "mean_of_largest": sum(map(max, self.values)) / len(self.values) if known else math.nan,
            "mean_of_positive": sum(positive) / len(positive) if positive and known else math.nan,
            "largest": max(every) if known else math.nan,
            "smallest": min(every) if known else math.nan,
            "negative_percent": 100 * sum(v < 0 for v in every) / len(every) if known else math.nan,
            "products": self.products,
            **({"asymmetry": self._asymmetry()} if self.ends else {}),
        }

    def _asymmetry(self) -> dict[str, Any]:
        """Both ends of every batch's spectrum, and how their ratio scatters over the batches.

        The median is right to the largest ``error`` of a batch, the bound by its residuals.
        """
        largest, smallest, ratios = zip(*self.ends, strict=True)
        values = torch.tensor([ratio.value for ratio in ratios], dtype=torch.float64)
        low, median, high = values.quantile(values.new_tensor([0.25, 0.5, 0.75])).tolist()
        return {
            "median": median,
            "low_quartile": low,
            "high_quartile": high,
            "error": max(ratio.error for ratio in ratios),
            "ratios": [_rounded(ratio.value) for ratio in ratios],
            "errors": [_rounded(ratio.error) for ratio in ratios],
            "largest": [_rounded(end.value) for end in largest],
            "smallest": [_rounded(end.value) for end in smallest],
            "products": self.more,
        }


def measure(
    mean_loss: MeanLoss,
    top_n: int = 5,
    rho: float = 0.05,
    products: int = 100,
    trace_products: int = 100,
    tol: float = TOLERANCE,
    seed: int = 0,
) -> Curvature:
    """The curvature of a mean loss at its weights.

    One Lanczos run gives eigenvalues and density. Where the loss is not finite, neither are the
    numbers.

    Args:
        mean_loss: the function; neither its model nor anything else of the caller changes.
        top_n: how many of the largest eigenvalues.
        rho: radius of the sharpness, in the units of the weights.
        products: at most, for the spectrum.
        trace_products: for the trace, an even number.
        tol: the spectrum's residuals over the largest magnitude; 0 takes all ``products``, as a
            finely resolved density needs.
        seed: of all random vectors.

    Raises:
        InputError: for settings out of range.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 1)
    >>> found = measure(MeanLoss(model, torch.nn.functional.mse_loss, data), top_n=2)
    >>> [round(value, 4) for value in found.spectrum.largest.values], round(found.trace.value, 4)
    ([9.0, 1.0], 10.0)
    """
    most = min(products, mean_loss.size)
    if not 1 <= top_n <= most:
        allowed = f"1 to {most}, the number of variables and the products"
        raise InputError("measure", "top_n", top_n, allowed)
    hessian = Hessian(mean_loss)
    return Curvature(
        mean_loss(mean_loss.weights),
        spectrum(hessian, top_n, tol, products, seed=seed),
        xtrace(hessian, trace_products, seed),
        worst_case(mean_loss, rho, STEPS, restarts=0, seed=seed),
        average_case(mean_loss, rho, DIRECTIONS, seed),
        average_case(mean_loss, FILTERED, DIRECTIONS, seed, filtered=True),
    )


def curvature(model: nn.Module, loss: Loss, batches: Any, **settings: Any) -> Curvature:
    """The curvature of a model's mean loss on some data, at its weights.

    Args:
        model: stays as it is.
        loss: mean over the samples of a batch.
        batches: one or several, such as a DataLoader.
        settings: those of `MeanLoss` and of `measure`, by keyword.

    Raises:
        InputError: for settings out of range, for what `MeanLoss` and `Hessian` refuse, and for a
            gradient that is not the loss's own.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.zeros(2, 1)
    >>> found = curvature(model, torch.nn.functional.mse_loss, data, top_n=2)
    >>> round(found.spectrum.largest[0].value, 4)
    9.0
    """
    own = signature(measure).parameters.keys() & settings.keys()
    of_loss = {name: value for name, value in settings.items() if name not in own}
    mean_loss = MeanLoss(model, loss, batches, **of_loss)
    with own_slopes(mean_loss):
        return measure(mean_loss, **{name: settings[name] for name in own})


def pooled(
    model: nn.Module,
    loss: Loss,
    batches: Iterable[Any],
    top_n: int = 5,
    seed: int = 0,
    backend: Backend = "lanczos",
    weight: Callable[[Any], float | Tensor] | None = None,
) -> Pooled:
    """The eigenvalues of largest magnitude of every batch's own Hessian, in eval mode.

    Args:
        model: on the device of the batches.
        loss: mean over the batch.
        batches: as of `MeanLoss`.
        top_n: how many of each.
        seed: of the start vectors.
        backend: ``lanczos`` for ours, to `TOLERANCE`; ``pyhessian`` for the library of the
            geometry-SAM study, see `samscope.measure.pyhessian_backend`.
        weight: as of `MeanLoss`, for a loss that is no mean over samples.

    Raises:
        InputError: for an unknown back end or settings out of range.
        ModuleNotFoundError: where PyHessian is asked for and not installed.
    """
    if backend not in get_args(Backend):
        raise InputError("pooled", "backend", backend, " or ".join(get_args(Backend)))
    values, residuals, ends, products, more = [], [], [], 0, 0
    for index, (x, y) in enumerate(pairs(batches)):
        drawn = derive(seed, "pooled", index)
        if backend == "pyhessian":
            from samscope.measure.pyhessian_backend import TopEigenvalues, top_eigenvalues

            found: TopEigenvalues | Eigenpairs = top_eigenvalues(
                model, loss, x, y, top_n, seed=drawn
            )
        else:
            hessian = Hessian(MeanLoss(model, loss, [(x, y)], weight=weight, held=count((x, y))))
            whole = spectrum(hessian, top_n, TOLERANCE, seed=drawn, ends=TOLERANCE)
            found = whole.dominant
            ends.append((*whole.ends, whole.asymmetry()))
            products += whole.products
            more += hessian.products - whole.products
        values.append(found.values)
        residuals.append(found.residuals)
    counted = products if backend == "lanczos" else None
    return Pooled(tuple(values), tuple(residuals), counted, tuple(ends), more)


def _short(values: Tensor) -> list[float]:
    """A vector as numbers of `_DIGITS` digits."""
    return [_rounded(value) for value in values.tolist()]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
