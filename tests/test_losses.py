"""Losses against torch's own, entropy, and finite differences."""

import doctest

import pytest
import torch
import torch.nn.functional as F

from samscope import losses
from samscope.errors import InputError
from samscope.losses import LOSSES, loss

NAMES = [(name, smoothing) for name in LOSSES for smoothing in (0.0, 0.1) if name != "squared"]
NAMES += [("squared", 0.0)]


@pytest.fixture
def samples():
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(12, 5, dtype=torch.float64, generator=random)
    return outputs, torch.randint(5, (12,), generator=random)


def test_cross_entropy_is_torchs_to_the_bit(samples):
    outputs, targets = samples[0].float().requires_grad_(), samples[1]
    twin = outputs.detach().clone().requires_grad_()
    ours, theirs = loss("cross_entropy")(outputs, targets), F.cross_entropy(twin, targets)
    assert torch.equal(ours, theirs)
    assert torch.equal(
        *(torch.autograd.grad(x, w)[0] for x, w in ((ours, outputs), (theirs, twin)))
    )
    smoothed = F.cross_entropy(outputs, targets, label_smoothing=0.1)
    assert torch.equal(loss("cross_entropy", 0.1)(outputs, targets), smoothed)


def test_smoothed_kl_is_cross_entropy_less_the_entropy_of_its_target(samples):
    outputs, targets = samples
    target = torch.full_like(outputs, 0.1 / 4)
    target[range(12), targets] = 0.9
    entropy = -(target * target.log()).sum(1).mean()
    expected = F.cross_entropy(outputs, target) - entropy
    assert loss("smoothed_kl", 0.1)(outputs, targets).item() == pytest.approx(expected.item())
    # Without smoothing the target has no entropy.
    expected = F.cross_entropy(outputs, targets)
    assert loss("smoothed_kl")(outputs, targets).item() == pytest.approx(expected.item())
    # Its least value, where the model gives the target.
    assert loss("smoothed_kl", 0.1)(target.log(), targets).item() == pytest.approx(0.0, abs=1e-15)


def test_smoothed_kl_weighs_classes_unlike_torchs_smoothing(samples):
    # torch: 1 - s + s/K on the class, s/K elsewhere; here s/(K-1) elsewhere: s is s' (K-1)/K.
    kl, entropies = loss("smoothed_kl", 0.1)(*samples), []
    for size in (0.9, *[0.1 / 4] * 4):
        entropies.append(-size * torch.tensor(size, dtype=torch.float64).log())
    same = loss("cross_entropy", 0.1 * 5 / 4)(*samples) - sum(entropies)
    assert kl.item() == pytest.approx(same.item(), rel=1e-7)


def test_squared_is_over_outputs_summed_and_over_samples_averaged(samples):
    outputs, targets = samples
    one_hot = torch.eye(5, dtype=torch.float64)[targets]
    expected = sum(((o - t) ** 2).sum() for o, t in zip(outputs, one_hot, strict=True)) / 12
    for target in (targets, one_hot):
        assert loss("squared")(outputs, target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("name", "smoothing"), NAMES)
def test_tokens_are_samples(name, smoothing, samples):
    outputs, targets = samples
    function = loss(name, smoothing)
    found = function(outputs.view(4, 3, 5), targets.view(4, 3))
    assert found.item() == pytest.approx(function(outputs, targets).item())


@pytest.mark.parametrize(("name", "smoothing"), NAMES)
def test_a_sum_is_the_mean_times_the_samples(name, smoothing, samples):
    mean, total = (loss(name, smoothing, how)(*samples).item() for how in ("mean", "sum"))
    assert total == pytest.approx(12 * mean)


@pytest.mark.parametrize(("name", "smoothing"), NAMES)
def test_gradients_are_those_of_finite_differences(name, smoothing, samples):
    outputs, targets = samples[0].requires_grad_(), samples[1]
    assert torch.autograd.gradcheck(lambda x: loss(name, smoothing)(x, targets), outputs)


@pytest.mark.parametrize(("name", "smoothing"), NAMES)
def test_a_loss_compiles_whole(name, smoothing, samples):
    outputs, targets = samples[0].float(), samples[1]
    function = loss(name, smoothing)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(outputs, targets), function(outputs, targets))


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("loss", ("hinge",)),
        ("smoothing", ("squared", 0.1)),
        ("smoothing", ("smoothed_kl", 1.0)),
        ("smoothing", ("cross_entropy", -0.1)),
        ("smoothing", ("cross_entropy", float("nan"))),
    ],
)
def test_a_bad_loss_is_told(field, arguments):
    with pytest.raises(InputError) as told:
        loss(*arguments)
    assert told.value.field == field


def test_the_examples_run():
    result = doctest.testmod(losses, optionflags=doctest.ELLIPSIS)
    assert result.attempted > result.failed == 0
