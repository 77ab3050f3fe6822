"""The spectrum of a symmetric operator from one Lanczos run: both ends, and the density.

k products with an operator H span a Krylov space with the orthonormal basis V, in which H is the
tridiagonal matrix T. Its eigenvalues near the ends of the spectrum are those of H to many digits
long before the rest (B. Parlett, The Symmetric Eigenvalue Problem, chapter 13), each with a bound
on its error; and with the squared first components of its eigenvectors as weights, all of them are
a quadrature of the spectral density (stochastic Lanczos quadrature: G. Golub and G. Meurant, 1994;
B. Ghorbani, S. Krishnan, Y. Xiao, arXiv:1901.10159). So one run serves for all three.

The basis is orthogonalised anew at each step, which needs all of it in memory: products x size
numbers, 1.3 GB for 30 products with the 11 million parameters of a ResNet-18 in float32.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from samscope.errors import InputError
from samscope.measure.products import Operator
from samscope.measure.symmetry import check_symmetric
from samscope.measure.undisturbed import full_precision
from samscope.measure.vectors import orthogonalise, random_direction, rounding

_ROWS = 16
"""Basis vectors allocated at a time."""


@dataclass(frozen=True)
class Estimate:
    """A number and a bound on its error, infinite where nothing is known."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Some eigenvalues of an operator H.

    Attributes:
        values: NaN when the operator is not finite.
        residuals: ``|H v - value v|`` for each: an eigenvalue lies within that distance. They
            include the rounding of the products: as measured, as far as it makes H unsymmetric,
            and 8 units in the last place of the largest eigenvalue, 1e-6 of it in float32.
        vectors: unit eigenvectors [k, size] as rows, if asked for.
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]
    vectors: Tensor | None = None

    def __getitem__(self, index: int) -> Estimate:
        """One eigenvalue with its bound."""
        return Estimate(self.values[index], self.residuals[index])


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a Lanczos run tells of an operator.

    Attributes:
        largest: the k algebraically largest eigenvalues, descending: lambda_1 ... lambda_k.
        dominant: the k of largest magnitude, in descending order of it, with their signs.
        smallest: the algebraically smallest one, lambda_min.
        ends: the largest and the smallest of all, each to its own magnitude if asked for.
        nodes: of the spectral density that the start vector sees, float64 [steps], ascending.
        weights: of the nodes, not negative, their sum 1.
        products: with the operator, without those for the ``ends``.
        converged: all eigenvalues above ``ends`` have residuals within the tolerance.
    """

    largest: Eigenpairs
    dominant: Eigenpairs
    smallest: Eigenpairs
    ends: tuple[Estimate, Estimate]
    nodes: Tensor
    weights: Tensor
    products: int
    converged: bool

    def ratio(self, k: int = 5) -> Estimate:
        """lambda_1 / lambda_k: near 1 where no direction of the loss leads.

        Raises:
            InputError: for k that is not 1 to the number of eigenvalues that were asked for.
        """
        if not 1 <= k <= len(self.largest.values):
            raise InputError("Spectrum.ratio", "k", k, f"1 to {len(self.largest.values)}")
        return _quotient(self.largest[0], self.largest[k - 1])

    def asymmetry(self) -> Estimate:
        """|lambda_max / lambda_min|, large where the loss is nearly convex."""
        return _quotient(*self.ends, absolute=True)

    def concavity(self) -> Estimate:
        """|lambda_min / lambda_max|, near 0 where the loss is nearly convex."""
        return _quotient(*self.ends[::-1], absolute=True)

    def density(self, grid: Tensor, width: float | None = None) -> Tensor:
        """The spectral density on a grid of values, float64 as ``grid``; its integral is 1.

        Each node is a normal distribution of standard deviation ``width``, which by default is a
        hundredth of the range of the nodes. Ask `spectrum` for ``tol=0`` and products enough.

        Raises:
            InputError: for a width that is not positive.
        """
        low, high = self.nodes.min().item(), self.nodes.max().item()
        width = (high - low) / 100 or 1e-3 * abs(high) or 1e-3 if width is None else width
        if not 0 < width < math.inf:
            raise InputError("Spectrum.density", "width", width, "a positive number")
        away = (torch.as_tensor(grid, dtype=torch.float64)[..., None] - self.nodes) / width
        bells = torch.exp(-away.square() / 2) / (width * math.sqrt(2 * math.pi))
        return (bells * self.weights).sum(-1)


@full_precision()
def spectrum(
    operator: Operator,
    k: int = 5,
    tol: float = 1e-4,
    max_products: int = 100,
    seed: int = 0,
    eigenvectors: bool = False,
    ends: float | None = None,
) -> Spectrum:
    """Eigenvalues at both ends and the spectral density of a symmetric operator.

    An eigenvalue's error is about the square of its residual over the distance to the next one, so
    far below its bound where it stands alone. What converges is an eigenvalue; that no larger one
    was missed is as good as certain where the tolerance is small, but a multiple eigenvalue may
    count once.

    Args:
        operator: for instance a `samscope.measure.hessian.Hessian`.
        k: how many of the largest eigenvalues.
        tol: stop where the residuals are at most this times the largest magnitude; 0 takes all
            products, as a finely resolved density needs.
        max_products: with the operator.
        seed: of the start vector, uniform on the sphere.
        eigenvectors: give the eigenvectors too, 2 k + 1 of them.
        ends: go on from there until the largest and the smallest eigenvalue have residuals of at
            most this times their own magnitudes, as a ratio of the two needs.

    Raises:
        InputError: for k that is not 1 to the size of the operator and the products, a negative
            tolerance, or an operator that is not symmetric.
    """
    steps = min(max_products, operator.size)
    if not 1 <= k <= steps:
        allowed = f"1 to {steps}, the size of the operator and the products"
        raise InputError("spectrum", "k", k, allowed)
    if not tol >= 0:
        raise InputError("spectrum", "tol", tol, "0 or more")
    asked: list[_Krylov] = []

    def enough(run: _Krylov) -> bool:
        if not asked and run.converged(k, tol):
            asked.append(run)
        return bool(asked) and (ends is None or run.ends_converged(ends))

    last = _lanczos(operator, steps, seed, enough)
    check_symmetric(operator, last.asymmetry, float(last.values.abs().max()))
    run = asked[0] if asked else last
    largest, dominant, smallest = (run.pairs(chosen, eigenvectors) for chosen in run.wanted(k))
    nodes, weights = run.quadrature()
    known = run.products, run.converged(k, tol)
    return Spectrum(largest, dominant, smallest, last.ends, nodes, weights, *known)


@dataclass(frozen=True, eq=False)
class _Krylov:
    """What some steps of Lanczos on H have found.

    Attributes:
        basis: V as rows, in blocks.
        values: eigenvalues of T, ascending.
        rotation: its eigenvectors S, as columns.
        residuals: ``|H V s - value V s|`` for each.
        asymmetry: norm of what V'HV has above the diagonals of T, and T has not.
        products: with H.
    """

    basis: list[Tensor]
    values: Tensor
    rotation: Tensor
    residuals: Tensor
    asymmetry: float
    products: int

    @property
    def steps(self) -> int:
        return len(self.values)

    def wanted(self, k: int) -> tuple[list[int], list[int], list[int]]:
        """Indices of the k largest, the k of largest magnitude and the smallest eigenvalue."""
        dominant = self.values.abs().argsort(descending=True, stable=True)[:k]
        return [*range(self.steps)][::-1][:k], dominant.tolist(), [0]

    def converged(self, k: int, tol: float) -> bool:
        """Whether all of `wanted` are there with residuals of ``tol`` of the largest magnitude."""
        enough = self.residuals <= tol * self.values.abs().max()
        return self.steps >= k and all(bool(enough[i].all()) for i in self.wanted(k))

    @property
    def ends(self) -> tuple[Estimate, Estimate]:
        """The largest and the smallest eigenvalue."""
        values, residuals = self.values.tolist(), self.residuals.tolist()
        return Estimate(values[-1], residuals[-1]), Estimate(values[0], residuals[0])

    def ends_converged(self, tol: float) -> bool:
        """Whether the residuals of both are at most ``tol`` of their magnitudes."""
        return all(end.error <= tol * abs(end.value) for end in self.ends)

    def quadrature(self) -> tuple[Tensor, Tensor]:
        """Nodes and weights of the density that the start vector sees, [steps] each."""
        return self.values, self.rotation[0].square()

    def pairs(self, chosen: list[int], vectors: bool) -> Eigenpairs:
        """The eigenvalues with the indices ``chosen``, and their eigenvectors."""
        found = None
        if vectors:
            parts = self.rotation[:, chosen].to(self.basis[0]).split([len(b) for b in self.basis])
            found = sum(s.T @ rows for s, rows in zip(parts, self.basis, strict=True))
        return Eigenpairs(
            tuple(self.values[chosen].tolist()), tuple(self.residuals[chosen].tolist()), found
        )


def _lanczos(
    operator: Operator, steps: int, seed: int, enough: Callable[[_Krylov], bool]
) -> _Krylov:
    """Lanczos from a random vector, until it is ``enough`` or ``steps`` are done.

    With basis vectors v_j, H v_j = sum_i (T + E)_ij v_i + left_j v_(j+1). T is tridiagonal; E, the
    rest of what was taken out of H v_j, would be zero without rounding.
    """
    like = torch.empty(0, dtype=operator.dtype, device=operator.device)
    v = random_direction(operator.size, like, seed, "lanczos", 0)
    matrix, rest = torch.zeros(2, steps, steps, dtype=torch.float64)
    blocks: list[Tensor] = []
    for j in range(steps):
        if j % _ROWS == 0:
            blocks.append(like.new_empty(min(_ROWS, steps - j), operator.size))
        blocks[-1][j % _ROWS] = v
        basis = [*blocks[:-1], blocks[-1][: j % _ROWS + 1]]
        v = operator.matvec(v)
        taken, left = orthogonalise(v, basis)
        if not math.isfinite(left):
            return _not_finite(like.new_full((1, operator.size), math.nan), steps, j + 1)
        matrix[j, j] = taken[j]
        rest[:j, j] = taken[:j] - matrix[:j, j]
        run = _ritz(basis, matrix, rest, left)
        if enough(run) or j + 1 == steps:
            return run
        if left <= rounding(like.dtype, float(matrix.abs().max())):
            # The space of the start vector is exhausted: go on with another, apart from it.
            v = random_direction(operator.size, like, seed, "lanczos", 0, j)
            _, left = orthogonalise(v, basis)
        else:
            matrix[j, j + 1] = matrix[j + 1, j] = left
        v /= left
    raise AssertionError("unreachable")


def _ritz(basis: list[Tensor], matrix: Tensor, rest: Tensor, left: float) -> _Krylov:
    """The eigenpairs of the matrix that the steps so far have filled."""
    n = sum(len(rows) for rows in basis)
    values, rotation = torch.linalg.eigh(matrix[:n, :n])
    seen = torch.cat([rest[:n, :n] @ rotation, left * rotation[-1:]])
    residuals = torch.linalg.vector_norm(seen, dim=0) + rounding(
        basis[0].dtype, float(values.abs().max())
    )
    asymmetry = float(torch.linalg.vector_norm(rest[:n, :n]))
    return _Krylov(basis, values, rotation, residuals, asymmetry, products=n)


def _not_finite(row: Tensor, steps: int, products: int) -> _Krylov:
    """The result for an operator with an infinite or undefined product."""
    unknown = torch.full((steps, steps), math.nan, dtype=torch.float64)
    return _Krylov([row.expand(steps, -1)], unknown[0], unknown, unknown[0], math.nan, products)


def _quotient(a: Estimate, b: Estimate, absolute: bool = False) -> Estimate:
    """The quotient a / b, with the largest error that those of a and b allow."""
    if b.value == 0:
        return Estimate(math.nan, math.inf)
    value = a.value / b.value
    certain = abs(b.value) > b.error
    furthest = (abs(a.value) + a.error) / (abs(b.value) - b.error) if certain else math.inf
    return Estimate(abs(value) if absolute else value, furthest - abs(value))
