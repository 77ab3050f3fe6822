"""Residual networks of pre-activated bottlenecks (He et al., arXiv:1603.05027), for small images.

As in timgaripov/dnn-mode-connectivity@f0bf253, models/preresnet.py: the first shortcut of a stage
is a 1x1 convolution of the block's input, not of its first activation.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    """Normalise, activate, convolve, three times: 1x1, 3x3, and 1x1 to four times the width."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = EXPANSION * width
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or channels != out:
            self.shortcut = nn.Conv2d(channels, out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, 4 width, H / stride, W / stride] of features [N, channels, H, W]."""
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        out = self.conv3(F.relu(self.bn3(out)))
        return out + (x if self.shortcut is None else self.shortcut(x))


class PreResNet(nn.Module):
    """Three stages of bottlenecks; the second and third halve the image and double the width.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        depth: 9 n + 2 for n blocks a stage.
        width: of the stem, and of the first stage's 3x3 convolutions.
    """

    def __init__(self, num_classes: int, in_channels: int, depth: int, width: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        channels = width
        for stage in range(3):
            for index in range((depth - 2) // 9):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(Bottleneck(channels, width << stage, stride))
                channels = EXPANSION * width << stage
        self.blocks = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.bn(self.blocks(self.conv(images))))
        return self.linear(out.mean((2, 3)))
