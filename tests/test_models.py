"""Models: the papers' architectures by their published sizes, and initial weights by seed alone."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from samscope import models
from samscope.errors import InputError
from samscope.models.wide_resnet import Block

PUBLISHED = {
    "resnet18": (100, 11_220_132),
    "resnet34": (100, 21_328_292),
    "wrn28_10": (100, 36_536_884),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name):
    classes, expected = PUBLISHED[name]
    model = models.build(name, classes, 3)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_resnet18_costs_the_multiplications_of_the_cifar_stem():
    # 0.555 G multiplications an image: a stem of stride 2 or a pooling would take a quarter or less
    with torch.device("meta"):
        model = models.build("resnet18", 100, 3)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 32, 32))
    assert counter.get_total_flops() == pytest.approx(2 * 0.555e9, rel=0.01)


@pytest.mark.parametrize("name", [n for n, m in models.MODELS.items() if m.takes == "images"])
def test_every_model_of_images_gives_logits(name):
    size, channels = (32, 3) if name in PUBLISHED else (8, 1)
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
