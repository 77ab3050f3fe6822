import pytest
import torch
from torch import nn

from samscope.optim import SAM, batchnorm_frozen


@pytest.mark.parametrize("form", ["closure", "two calls", "three passes"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batchnorm_records_the_first_pass_alone(momentum, form):
    def build():
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(4, momentum=momentum, affine=False)
        return nn.Sequential(nn.Linear(5, 4), norm)

    model, once = build(), build()
    x = torch.randn(8, 5)
    steps = 2 if form == "three passes" else 1
    settings = {"rho": 0.5, "lr": 0.1, "model": model, "ascent_steps": steps}
    optimizer = SAM(model.parameters(), torch.optim.SGD, **settings)
    outputs = []

    def closure():
        optimizer.zero_grad()
        outputs.append(model(x))
        outputs[-1].pow(3).mean().backward()

    if form == "two calls":
        closure()
        optimizer.first_step()
        closure()
        optimizer.second_step()
    else:
        optimizer.step(closure)
    assert len(outputs) == steps + 1
    assert not torch.equal(*outputs[-2:])
    once(x)
    for ours, theirs in zip(model.buffers(), once.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    for output in outputs:  # the statistics of the batch normalise in all passes
        torch.testing.assert_close(output.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    assert model[1].track_running_stats


def test_layers_are_those_that_the_model_has_by_then():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    optimizer = SAM(model.parameters(), torch.optim.SGD, model=model, lr=0.1)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # the parameters stay
    with batchnorm_frozen(model):
        assert not model[1].track_running_stats

    def closure():
        optimizer.zero_grad()
        # A SyncBatchNorm trains on GPUs alone; what counts is whether it would record.
        recorded.append(model[1].track_running_stats)
        model[0](torch.ones(1, 5)).sum().backward()

    recorded = []
    optimizer.step(closure)
    assert recorded == [True, False]


@pytest.mark.parametrize("ending", ["abort", "error"])
def test_a_step_that_fails_thaws(ending):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    optimizer = SAM(model.parameters(), torch.optim.SGD, model=model, lr=0.1)
    model(torch.randn(6, 5)).pow(3).sum().backward()
    if ending == "abort":
        optimizer.first_step()
        assert not model[1].track_running_stats
        optimizer.abort()
    else:
        losses = iter([lambda: model(torch.randn(6, 5)).pow(3).sum().backward()])
        with pytest.raises(StopIteration):
            optimizer.step(lambda: next(losses)())
    assert model[1].track_running_stats


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


@pytest.mark.parametrize("training", [True, False])
def test_instance_norm_records_the_first_pass_alone(training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.InstanceNorm1d(3, affine=True, track_running_stats=True))
    x = torch.randn(4, 3, 5)
    model(x)
    model.train(training)
    optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, model=model)
    seen, outputs = [], []

    def closure():
        optimizer.zero_grad()
        outputs.append(model(x))
        outputs[-1].pow(3).mean().backward()
        if len(outputs) == 1:
            seen.extend(buffer.clone() for buffer in model.buffers())

    before = model(x).detach()
    optimizer.step(closure)
    assert len(seen) == len(list(model.buffers())) == 3
    assert all(map(torch.equal, model.buffers(), seen))
    assert all(torch.allclose(output, before, atol=0.2) for output in outputs)
