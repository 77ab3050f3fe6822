"""Gradients that are not the loss's own: refused before a Hessian is made of them."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samscope.errors import InputError
from samscope.measure import curvature, own_loss

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
SETTINGS = {"top_n": 1, "trace_products": 4}


def data(n: int = 40) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=random), torch.randint(3, (n,), generator=random)


class Hooked(nn.Module):
    """A network whose activations have a hook; ``None`` for none."""

    def __init__(self, hook):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.hook = nn.Linear(4, 5), nn.Linear(5, 3), hook

    def forward(self, x):
        x = self.body(x)
        if self.hook and x.requires_grad:
            x.register_hook(self.hook)
        return self.head(x.tanh())


def test_a_hook_that_changes_a_gradient_is_refused():
    """Such as one that clips; its products are symmetric, and of no function."""
    register = Tensor.register_hook
    with pytest.raises(InputError, match=r"operation: the hook .*<lambda>, which changes a grad"):
        curvature(Hooked(lambda slope: slope * 0.5), F.cross_entropy, data(), **SETTINGS)
    assert Tensor.register_hook is register


def test_a_hook_that_looks_on_changes_nothing():
    seen = []
    found = curvature(Hooked(seen.append), F.cross_entropy, data(), **SETTINGS)
    plain = curvature(Hooked(None), F.cross_entropy, data(), **SETTINGS)
    assert seen
    assert found.spectrum.largest[0] == plain.spectrum.largest[0]
    assert found.trace == plain.trace


class Unlearned(Hooked):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (Unlearned(None), F.cross_entropy),
        (Hooked(None), lambda outputs, y: F.cross_entropy(outputs.detach(), y)),
    ],
)
def test_a_loss_without_a_gradient_is_refused(model, loss):
    """Its Hessian came out as 0, and a bound of 0 beside it."""
    with pytest.raises(InputError, match="MeanLoss: loss: one without a gradient is not allowed"):
        curvature(model, loss, data(), **SETTINGS)


class Told(NamedTuple):
    loss: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "form",
    [
        lambda loss, logits: loss,
        lambda loss, logits: {"loss": loss, "logits": logits},
        lambda loss, logits: {"logits": logits, "loss": loss},
        lambda loss, logits: (loss, logits),
        Told,
    ],
)
def test_a_model_tells_its_loss_in_any_form(form):
    class Own(Hooked):
        def forward(self, values, labels):
            logits = super().forward(values)
            return form(F.cross_entropy(logits, labels), logits)

    x, y = data()
    found = curvature(Own(None), own_loss, {"values": x, "labels": y}, **SETTINGS)
    plain = curvature(Hooked(None), F.cross_entropy, (x, y), **SETTINGS)
    assert found.loss == plain.loss
    assert found.spectrum.largest[0] == plain.spectrum.largest[0]
