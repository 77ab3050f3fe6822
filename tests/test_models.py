"""Models: the papers' architectures by their published sizes, and initial weights by seed alone."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from samscope import models
from samscope.errors import InputError
from samscope.models import wide_resnet
from samscope.models.wide_resnet import Block

PUBLISHED = {
    "resnet18": (100, 11_220_132),
    "resnet34": (100, 21_328_292),
    "wrn28_10": (100, 36_536_884),
    # google-research/sam, sam_jax/models/load_model_test.py, from the AutoAugment paper's models
    "wrn28_10_padded": (100, 36_278_324),
    "shake26_w96": (100, 26_227_572),
    "pyramid272_drop": (100, 26_288_692),
    "pyramid272": (100, 26_288_692),  # ShakeDrop has none
    # torchvision's documentation of its weights
    "resnet50": (1000, 25_557_032),
    "resnet101": (1000, 44_549_160),
    "resnet152": (1000, 60_192_808),
    "efficientnet_b7": (1000, 66_347_960),
}
LARGE = {*PUBLISHED, "wrn40_2_padded", "wrn40_10_plain", "preresnet164", "vgg16"}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name):
    classes, expected = PUBLISHED[name]
    with torch.device("meta"):
        assert parameters(models.build(name, classes, 3)) == expected


def test_wrn40_differs_from_zagoruykos_by_its_shortcuts_and_its_normalisation():
    """Their paper prints 2.2 million for WRN-40-2; nobody a number for WRN-40-10 without it."""
    with torch.device("meta"):
        for widening, name in ((2, "wrn40_2_padded"), (10, "wrn40_10_plain")):
            theirs = wide_resnet.WideResNet(10, 3, 40, widening)
            shortcuts = sum(m.weight.numel() for m in theirs.modules() if is_projection(m))
            norms = [m for m in theirs.modules() if isinstance(m, nn.BatchNorm2d)]
            ours = models.build(name, 10, 3)
            plain = not any(isinstance(m, nn.BatchNorm2d) for m in ours.modules())
            biases = sum(m.bias.numel() for m in ours.modules() if isinstance(m, nn.Conv2d) * plain)
            removed = shortcuts + plain * sum(map(parameters, norms))
            assert parameters(ours) == parameters(theirs) - removed + biases
            if widening == 2:
                assert round(parameters(theirs) / 1e6, 1) == 2.2
            assert plain == (widening == 10)


def is_projection(module):
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)


def test_resnet18_costs_the_multiplications_of_the_cifar_stem():
    # 0.555 G multiplications an image: a stem of stride 2 or a pooling would take a quarter or less
    with torch.device("meta"):
        model = models.build("resnet18", 100, 3)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 32, 32))
    assert counter.get_total_flops() == pytest.approx(2 * 0.555e9, rel=0.01)


@pytest.mark.parametrize("name", [n for n, m in models.MODELS.items() if m.takes == "images"])
def test_every_model_of_images_gives_logits(name):
    size, channels = (32, 3) if name in LARGE else (8, 1)
    size = models.MODELS[name].settings.get("side", size)
    with torch.device("meta"):
        model = models.build(name, 10, channels)
        assert model(torch.empty(2, channels, size, size)).shape == (2, 10)


def test_wide_resnet_starts_with_uniform_batchnorm_weights_and_fan_in_convolutions():
    model = models.build("wrn10_w8", 10, 1)
    norms = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert 0 <= norms.min() < 0.1
    assert 0.9 < norms.max() <= 1
    convolution = model.blocks[2].conv2  # 32 channels in, 3 x 3
    assert convolution.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not model.linear.bias.any()


def test_projecting_block_starts_its_shortcut_from_the_activation():
    block = Block(3, 5, stride=2).eval()
    x = torch.randn(2, 3, 8, 8)
    active = block.bn1(x).relu()
    residual = block.conv2(block.bn2(block.conv1(active)).relu())
    assert torch.allclose(block(x), residual + block.shortcut(active))


def test_initial_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = models.build("cnn3", 10, 1, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = models.build("cnn3", 10, 1, seed=3), models.build("cnn3", 10, 1, seed=4)
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)


def test_a_nudge_moves_every_weight_by_rounding():
    plain, nudged, again = (models.build("cnn3", 10, 1, seed=3, nudge=n) for n in (0, 1e-6, 1e-6))
    for name, w in plain.named_parameters():
        moved, size = nudged.get_parameter(name), w.abs().max().item()
        assert torch.equal(moved, again.get_parameter(name))
        assert torch.allclose(moved, w, rtol=1e-5, atol=0)
        assert (moved != w).any() == (size > 0)


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(InputError, match=r"model: resnet19 is not allowed; allowed: .*resnet18"):
        models.build("resnet19", 10, 3)


def test_names_of_models_and_data_need_no_torch():
    code = (
        "import sys, samscope.models, samscope.data, samscope.tasks, samscope.train\n"
        "assert samscope.models.MODELS and samscope.data.SOURCES and samscope.tasks.TASKS\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
