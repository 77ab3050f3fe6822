"""Residual networks for small images (He et al., arXiv:1512.03385).

As in github.com/kuangliu/pytorch-cifar: the stem is one 3x3 convolution without pooling; weights
keep PyTorch's default initialisation.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def _convolution(channels: int, width: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected by 1x1 where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                _convolution(channels, width, 1, stride), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, H / stride, W / stride] of features [N, channels, H, W]."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """Stages of basic blocks; each stage but the first halves the image and doubles the width.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        width: channels of the stem and the first stage.
        blocks: number of blocks of each stage.
    """

    def __init__(
        self, num_classes: int, in_channels: int, width: int, blocks: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, width, 3, 1)
        self.bn1 = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(BasicBlock(channels, width << stage, stride))
                channels = width << stage
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.bn1(self.conv1(images)), inplace=True)
        return self.linear(self.blocks(out).mean((2, 3)))
