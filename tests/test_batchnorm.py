import pytest
import torch
from torch import nn

from samscope.optim import SAM, batchnorm_frozen


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batchnorm_records_the_first_pass_alone(momentum):
    def build():
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(4, momentum=momentum, affine=False)
        return nn.Sequential(nn.Linear(5, 4), norm)

    model, once = build(), build()
    x = torch.randn(8, 5)
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.5, lr=0.1)
    frozen, outputs = batchnorm_frozen(model), []

    def closure():
        optimizer.zero_grad()
        outputs.append(model(x))
        outputs[-1].pow(3).mean().backward()

    optimizer.step(closure, second_pass=frozen)
    assert not torch.equal(*outputs)
    once(x)
    for ours, theirs in zip(model.buffers(), once.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    for output in outputs:  # the statistics of the batch normalise in both passes
        torch.testing.assert_close(output.mean(0), torch.zeros(4), rtol=0, atol=1e-5)


def test_batchnorm_frozen_nests_survives_errors_and_leaves_eval_alone():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False))
    x, frozen = torch.randn(6, 3), batchnorm_frozen(model)
    with pytest.raises(ZeroDivisionError), frozen, frozen, batchnorm_frozen(model):
        raise ZeroDivisionError
    with frozen:
        with frozen:
            model(x)
        model(x)
        assert model[0].num_batches_tracked == 0
    assert [layer.track_running_stats for layer in model] == [True, False]
    model(x)
    assert model[0].num_batches_tracked == 1
    model.eval()
    expected = model(x)
    with frozen:
        assert torch.equal(model(x), expected)
