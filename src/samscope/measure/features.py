"""Random features, and the fit of least norm among those of least squares. All in float64.

Belkin, Hsu, Ma and Mandal, Reconciling modern machine-learning practice and the classical
bias-variance trade-off, PNAS 116, 2019: with N features of n samples the fit interpolates from
N = n on; beyond it is the one of least norm.
"""

import torch
from torch import Tensor

from samscope.seeding import stream


def directions(seed: int, count: int, inputs: int, scale: float, mean: float = 0.0) -> Tensor:
    """Directions with entries of N(mean, scale^2), float64 [count, inputs].

    Of a seed the first are the same, however many there are.
    """
    random = stream(seed, "features")
    return mean + scale * torch.randn(count, inputs, generator=random, dtype=torch.float64)


def fourier(x: Tensor, v: Tensor) -> Tensor:
    """Features cos <v, x> and sin <v, x>, [n, 2M], of inputs [n, d] and M directions [M, d].

    Rahimi and Recht, NeurIPS 2007. Over M, the mean product of the features of two inputs tends to
    exp(-scale^2 |x - x'|^2 / 2), a Gaussian kernel.
    """
    angles = x @ v.T
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def least_norm(features: Tensor, targets: Tensor) -> Tensor:
    """A of least ||A|| among those of least ||features A - targets||: [N, K] for [n, N], [n, K].

    By QR; where features or samples repeat, so that none of the two has full rank, by SVD.
    """
    n, count = features.shape
    wide = count > n
    q, r = torch.linalg.qr(features.T if wide else features)
    scales = r.diagonal().abs()
    if scales.min() <= max(n, count) * torch.finfo(r.dtype).eps * scales.max():
        return torch.linalg.pinv(features) @ targets
    if wide:
        return q @ torch.linalg.solve_triangular(r.T, targets, upper=False)
    return torch.linalg.solve_triangular(r, q.T @ targets, upper=True)
