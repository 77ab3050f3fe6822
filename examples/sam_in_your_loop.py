"""SAM beside SGD in a plain training loop: blobs with wrong labels, on a CPU in seconds.

python examples/sam_in_your_loop.py
"""

# %% Data: two Gaussian blobs in 20 dimensions; a fifth of the training labels are wrong.
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from samscope.optim import SAM


def blobs(count: int, seed: int, wrong: float) -> tuple[Tensor, Tensor]:
    """Points [count, 20] and their labels, of which a fraction is flipped."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=random)
    x = torch.randn(count, 20, generator=random) + 0.7 * (2 * y[:, None] - 1)
    flipped = torch.rand(count, generator=random) < wrong
    return x, torch.where(flipped, 1 - y, y)


train_x, train_y = blobs(256, 0, wrong=0.2)
test_x, test_y = blobs(4096, 1, wrong=0.0)


# %% The loop. SAM asks for a closure that may be called twice; nothing else changes.
def train(rho: float) -> float:
    """Test accuracy in percent after 40 epochs; rho 0 is SGD."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 2))
    settings = {"lr": 0.1, "momentum": 0.9}
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=rho, model=model, **settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    for _ in range(40):
        for batch in torch.randperm(len(train_y)).split(32):

            def closure(batch: Tensor = batch) -> Tensor:
                optimizer.zero_grad()
                loss = cross_entropy(model(train_x[batch]), train_y[batch])
                loss.backward()
                return loss

            optimizer.step(closure)
        schedule.step()
    model.eval()
    return 100 * (model(test_x).argmax(1) == test_y).double().mean().item()


# %% How much of the wrong labels is learned by heart?
for rho in (0.0, 0.05, 0.2, 0.5):
    print(f"rho {rho:4.2f}: test accuracy {train(rho):.1f} %")
