"""What the curvature tests compare with: exact matrices, and a trained network's dense Hessian."""

from functools import cache

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, jacfwd, jacrev

torch.set_num_threads(1)


class Matrix:
    """A matrix as an operator, which counts."""

    def __init__(self, dense: torch.Tensor) -> None:
        self.dense = dense
        self.size, self.dtype, self.device = len(dense), dense.dtype, dense.device
        self.products = 0

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        self.products += 1
        return self.dense @ vector

    def matmat(self, vectors: torch.Tensor) -> torch.Tensor:
        self.products += len(vectors)
        return vectors @ self.dense.T


def rotated(*eigenvalues: float, seed: int = 0) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    values = torch.tensor(eigenvalues, dtype=torch.float64)
    random = torch.Generator().manual_seed(seed)
    shape = len(values), len(values)
    basis, _ = torch.linalg.qr(torch.randn(shape, generator=random, dtype=torch.float64))
    return (basis * values) @ basis.T


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    x = torch.tensor(data.images[:n, None] / 16 - 0.3, dtype=torch.float32)
    return x, torch.tensor(data.target[:n])


def network() -> nn.Sequential:
    """359 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 5, 3, stride=2, bias=False), nn.BatchNorm2d(5), nn.ReLU(inplace=True)),
        *(nn.Conv2d(5, 4, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 10, bias=False)),
    )


@cache
def _trained() -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y = digits(150)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model, x, y, dense_hessian(model, x, y)


def trained() -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A network in train mode, 150 images, their classes, and its float64 Hessian in eval mode."""
    model, *rest = _trained()
    copy = network()
    copy.load_state_dict(model.state_dict())
    return copy, *rest


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def dense_hessian(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """By forward over reverse, of the mean cross-entropy, in float64 and eval mode."""
    double = network().double().eval()
    double.load_state_dict(model.state_dict())
    named = {k: p.detach() for k, p in double.named_parameters()}

    def loss(vector: torch.Tensor) -> torch.Tensor:
        pieces = vector.split([p.numel() for p in named.values()])
        shaped = {k: v.view_as(named[k]) for k, v in zip(named, pieces, strict=True)}
        return F.cross_entropy(functional_call(double, shaped, (x.double(),)), y)

    return jacfwd(jacrev(loss))(flat(double))
