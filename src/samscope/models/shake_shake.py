"""Shake-Shake networks (Gastaldi, arXiv:1705.07485) as google-research/sam has them.

Where its author's code activates what goes into a projecting shortcut, this one does not.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samscope.models.foret import Convolution, initialise
from samscope.models.shaking import ShakeShake as Shaken


class Shortcut(nn.Module):
    """Two 1x1 convolutions to half the width each, of pixels that lie diagonally beside each other.

    The second sees the image moved by one pixel up and to the left.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = Convolution(channels, width // 2, 1)
        self.conv2 = Convolution(channels, width // 2, 1)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, H / stride, W / stride] of features [N, channels, H, W]."""
        moved = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        every = (..., slice(None, None, self.stride), slice(None, None, self.stride))
        return self.bn(torch.cat([self.conv1(x[every]), self.conv2(moved[every])], 1))


class Block(nn.Module):
    """Two branches, activate and twice convolve and normalise, shaken, beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch1, self.branch2 = (
            nn.Sequential(
                nn.ReLU(),
                Convolution(channels, width, 3, stride),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                Convolution(width, width, 3),
                nn.BatchNorm2d(width),
            )
            for _ in range(2)
        )
        self.shaken = Shaken()
        self.shortcut = nn.Identity() if channels == width else Shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, H / stride, W / stride] of features [N, channels, H, W]."""
        return self.shortcut(x) + self.shaken(self.branch1(x), self.branch2(x))


class ShakeShake(nn.Module):
    """Three stages of blocks; the second and third halve the image and double the width.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        depth: 6 n + 2 for n blocks a stage.
        width: of the first stage.
        base: channels of the stem.
    """

    def __init__(
        self, num_classes: int, in_channels: int, depth: int, width: int, base: int = 16
    ) -> None:
        super().__init__()
        self.conv = Convolution(in_channels, base, 3)
        self.bn = nn.BatchNorm2d(base)
        layers: list[nn.Module] = []
        channels = base
        for stage in range(3):
            for index in range((depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(Block(channels, width << stage, stride))
                channels = width << stage
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_classes)
        initialise(self, self.linear)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.blocks(self.bn(self.conv(images))))
        return self.linear(out.mean((2, 3)))
