"""How sharp is a minimum? Two trained networks, measured with error bounds, on a CPU in seconds.

    python examples/curvature_of_your_model.py

Gradient descent with step lr goes where the largest eigenvalue of the Hessian is near 2 / lr and
stays there, at the edge of stability (Cohen et al. 2021, arXiv:2103.00065).
"""

# %% A network, trained on all samples at once.
import torch
from torch import nn
from torch.nn.functional import mse_loss

from samscope.measure import curvature

torch.manual_seed(0)
x = torch.randn(256, 10)
y = torch.sin(3 * x[:, :1])


def trained(lr: float) -> nn.Module:
    """The network after 2,000 steps of gradient descent."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for _ in range(2000):
        optimizer.zero_grad()
        mse_loss(model(x), y).backward()
        optimizer.step()
    return model


# %% A model, a loss that is a mean over samples, and batches: that is all there is to say.
for lr in (0.2, 0.4):
    batches = [(x[:128], y[:128]), (x[128:], y[128:])]
    found = curvature(trained(lr), mse_loss, batches)
    top, trace = found.spectrum.largest[0], found.trace
    print(f"lr {lr}: lambda_max {top.value:.3f}, right to {top.error:.1e}; 2 / lr is {2 / lr:.0f}")
    print(f"  trace {trace.value:.1f}, 95 % within [{trace.low:.1f}, {trace.high:.1f}]")
    print(
        f"  within rho {found.worst.rho} of the weights the loss rises by {found.worst.value:.4f}"
    )
