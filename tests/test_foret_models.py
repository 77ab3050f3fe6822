"""The networks of Foret et al.'s code: where layers look, what shortcuts pass, how they start."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from samscope import models
from samscope.errors import InputError
from samscope.models import padded_wide_resnet, pyramid, shake_shake
from samscope.models.foret import Convolution, padded

SMALL = ("wrn10_w8_padded", "wrn10_w8_plain", "shake8_w8", "pyramid11_w8", "pyramid11_w8_drop")


@pytest.mark.parametrize(
    ("size", "stride", "side", "first"),
    # the first pixel of the first window, by TensorFlow's rule: half of what lacks, rounded down
    [(3, 2, 8, 0), (3, 2, 7, -1), (3, 1, 8, -1), (3, 1, 7, -1), (1, 1, 8, 0)],
)
def test_convolutions_see_the_pixels_that_tensorflows_same_padding_shows(size, stride, side, first):
    layer = Convolution(2, 3, size, stride)
    x = torch.randn(4, 2, side, side, dtype=torch.float64)
    found = layer.double()(x)
    count = -(-side // stride)
    assert found.shape == (4, 3, count, count)
    for i in range(count):
        for j in range(count):
            expected = torch.zeros(4, 3, dtype=torch.float64)
            for di in range(size):
                for dj in range(size):
                    row, column = first + i * stride + di, first + j * stride + dj
                    if 0 <= row < side and 0 <= column < side:
                        expected += x[:, :, row, column] @ layer.weight[:, :, di, dj].T
            torch.testing.assert_close(found[:, :, i, j], expected)


def silenced(block):
    """The block with residual branches that are zero."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    return block


@pytest.mark.parametrize("kind", ["wide", "first", "pyramid"])
def test_shortcuts_are_the_identity_averaged_and_filled_up_with_zeros(kind):
    x = torch.randn(2, 4, 8, 8)
    if kind == "pyramid":
        block = silenced(pyramid.Block(4, 3, 2, 0.5))
    else:
        block = silenced(padded_wide_resnet.Block(4, 12, 2, kind == "first", True).eval())
    found = block(x)
    start = x.relu() / (1 + 1e-5) ** 0.5 if kind == "first" else x
    assert torch.allclose(found[:, :4], avg_pool2d(start, 2))
    assert found.shape == (2, 12, 4, 4)
    assert not found[:, 4:].any()
    assert torch.equal(padded(x, 4, 1), x)


def test_the_second_half_of_a_shake_shake_shortcut_sees_the_next_pixels():
    block = shake_shake.Shortcut(1, 2, 2).eval()
    block.bn.reset_running_stats()
    for convolution in (block.conv1, block.conv2):
        nn.init.ones_(convolution.weight)
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    found = block(x)[0] * (1 + block.bn.eps) ** 0.5
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 3.0], [9.0, 11.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[6.0, 8.0], [14.0, 16.0]]))


def test_a_shake_shake_block_is_the_mean_of_its_branches_where_nothing_is_trained():
    block = shake_shake.Block(4, 4, 1).eval()
    x = torch.randn(2, 4, 8, 8)
    expected = x + (block.branch1(x) + block.branch2(x)) / 2
    assert torch.allclose(block(x), expected)


def test_pyramid_widens_by_rounded_steps_and_drops_later_blocks_more():
    with torch.device("meta"):
        model = models.build("pyramid272_drop", 100, 3)
    widths = [block.channels // 4 for block in model.blocks]
    assert widths == [round(16 + 200 * (i + 1) / 90) for i in range(90)]
    assert widths[-1] * 4 == 864  # "output feature dimension" of the PyramidNet paper's table
    assert [block.stride for block in model.blocks].count(2) == 2
    kept = [block.drop.kept for block in model.blocks]
    assert kept == pytest.approx([1 - 0.5 * (i + 1) / 90 for i in range(90)])
    with torch.device("meta"):
        plain = models.build("pyramid272", 100, 3)
    assert all(isinstance(block.drop, nn.Identity) for block in plain.blocks)


def test_weights_start_as_the_autoaugment_codes():
    model = models.build("shake26_w96", 10, 3)
    convolution = model.blocks[4].branch2[1]  # 96 to 192 channels, 3 x 3, by what goes out
    assert convolution.weight.std().item() == pytest.approx((2 / (192 * 9)) ** 0.5, rel=0.02)
    bound = 10**-0.5
    assert 0.98 * bound < model.linear.weight.abs().max() <= bound
    assert model.linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not model.linear.bias.any()
    assert all((m.weight == 1).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_without_normalisation_a_signal_keeps_its_size_through_40_layers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = padded_wide_resnet.WideResNet(10, 3, 40, 1, normalised=False)
        start = model.conv(torch.randn(8, 3, 32, 32))
        blocks = model.blocks(start)[:, :16]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert 0.3 < blocks.var() / start.var() < 3  # pooling takes away, 18 blocks add


@pytest.mark.parametrize("name", [*SMALL, "cnn3_plain"])
def test_small_ones_have_a_gradient_in_every_parameter(name):
    torch.manual_seed(0)
    model = models.build(name, 10, 1).train()
    images = torch.rand(16, 1, 8, 8)
    loss = nn.functional.cross_entropy(model(images), torch.arange(16) % 10)
    for parameter in torch.autograd.grad(loss, list(model.parameters())):
        assert torch.isfinite(parameter).all()
        assert parameter.any()


def test_networks_of_torchvision_refuse_grey_images_and_start_with_identities():
    with pytest.raises(InputError, match="resnet50: channels of the images: 1 is not allowed"):
        models.build("resnet50", 10, 1)
    with torch.device("meta"):
        weights = models.build("resnet50", 10, 3)
    assert weights.fc.out_features == 10
    model = models.vision.network(10, 3, "resnet50", zero_init_residual=True)
    assert not model.layer1[0].bn3.weight.any()
