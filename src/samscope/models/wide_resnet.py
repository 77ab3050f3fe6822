"""Wide residual networks (Zagoruyko and Komodakis, arXiv:1605.07146).

Pre-activation blocks without dropout, as in the geometry-SAM study. Two habits of its code are
kept because they set its numbers: the weights of batch normalisation start uniform on (0, 1), not
at one, and a projecting shortcut starts from the block's first activation, not from its input.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Normalise, activate, convolve, twice; a 1x1 shortcut where the width changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, H / stride, W / stride] of features [N, channels, H, W]."""
        active = F.relu(self.bn1(x), inplace=True)
        out = self.conv2(F.relu(self.bn2(self.conv1(active)), inplace=True))
        return out + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """Three stages of blocks; the second and third halve the image and double the width.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        depth: number of convolutions along the path plus one, 6 n + 4 for n blocks a stage.
        widening: width of the first stage in multiples of ``base``.
        base: channels of the stem.
    """

    def __init__(
        self, num_classes: int, in_channels: int, depth: int, widening: int, base: int = 16
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, base, 3, padding=1, bias=False)
        layers: list[nn.Module] = []
        channels = base
        for stage in range(3):
            width = (base * widening) << stage
            for index in range((depth - 4) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(Block(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.bn(self.blocks(self.conv(images))), inplace=True)
        return self.linear(out.mean((2, 3)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
