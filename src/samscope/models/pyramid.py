"""PyramidNet (Han et al., arXiv:1610.02915) with bottlenecks, as google-research/sam has it.

Widths are rounded, not truncated as in the paper, which makes 0.2 million parameters more. That
code has it with ShakeDrop alone; without, the same network.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from samscope.models.foret import Convolution, initialise, padded
from samscope.models.shaking import ShakeDrop

_EXPANSION = 4


class Block(nn.Module):
    """A bottleneck to ``width`` channels and out to four times as many, beside the identity."""

    def __init__(self, channels: int, width: int, stride: int, kept: float) -> None:
        super().__init__()
        self.channels, self.stride = width * _EXPANSION, stride
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels),
            Convolution(channels, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Convolution(width, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Convolution(width, self.channels, 1),
            nn.BatchNorm2d(self.channels),
        )
        self.drop = ShakeDrop(kept) if kept < 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, 4 width, H / stride, W / stride] of features [N, channels, H, W]."""
        return padded(x, self.channels, self.stride) + self.drop(self.residual(x))


class PyramidNet(nn.Module):
    """Three stages of blocks, each of them wider than the one before by the same step.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        depth: 9 n + 2 for n blocks a stage.
        alpha: what all blocks together add to the width.
        base: channels of the stem.
        drop: the last block's probability of ShakeDrop, which rises from block to block; 0: none.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        depth: int,
        alpha: int,
        base: int = 16,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = Convolution(in_channels, base, 3)
        self.bn1 = nn.BatchNorm2d(base)
        count = (depth - 2) // 9
        layers: list[nn.Module] = []
        channels, width = base, float(base)
        for index in range(3 * count):
            width += alpha / (3 * count)
            stride = 2 if index in (count, 2 * count) else 1
            kept = 1 - drop * (index + 1) / (3 * count)
            layers.append(Block(channels, round(width), stride, kept))
            channels = round(width) * _EXPANSION
        self.blocks = nn.Sequential(*layers)
        self.bn2 = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)
        initialise(self, self.linear)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.bn2(self.blocks(self.bn1(self.conv(images)))))
        return self.linear(out.mean((2, 3)))
