"""Wide residual networks with zero-padded identity shortcuts, as google-research/sam has them.

The source's code has them with batch normalisation alone. Its WRN-40-10 without, of the spectra, is
not published, and what stood in place of the normalisation is not said. Here convolutions have a
bias then, and the last of every block starts smaller by the root of the number of blocks: together
they multiply the variance of a signal by e at most, where 18 blocks would do so by 2^18.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from samscope.models.foret import Convolution, initialise, padded


class Block(nn.Module):
    """Normalise, activate, convolve, twice, beside the identity.

    The shortcut starts from the block's input; in the network's ``first`` block from what the first
    activation makes of it.
    """

    def __init__(
        self, channels: int, width: int, stride: int, first: bool, normalised: bool
    ) -> None:
        super().__init__()
        self.width, self.stride, self.first = width, stride, first
        self.bn1 = nn.BatchNorm2d(channels) if normalised else nn.Identity()
        self.conv1 = Convolution(channels, width, 3, stride, bias=not normalised)
        self.bn2 = nn.BatchNorm2d(width) if normalised else nn.Identity()
        self.conv2 = Convolution(width, width, 3, bias=not normalised)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, H / stride, W / stride] of features [N, channels, H, W]."""
        active = F.relu(self.bn1(x))
        x = active if self.first else x
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if x.shape[1] == self.width else padded(x, self.width, self.stride))


class WideResNet(nn.Module):
    """Three stages of blocks; the second and third halve the image and double the width.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        depth: 6 n + 4 for n blocks a stage.
        widening: width of the first stage in multiples of ``base``.
        base: channels of the stem.
        normalised: whether there is batch normalisation.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        depth: int,
        widening: int,
        base: int = 16,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        self.conv = Convolution(in_channels, base, 3, bias=not normalised)
        layers: list[Block] = []
        channels = base
        for stage in range(3):
            width = (base * widening) << stage
            for index in range((depth - 4) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(Block(channels, width, stride, not layers, normalised))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels) if normalised else nn.Identity()
        self.linear = nn.Linear(channels, num_classes)
        initialise(self, self.linear)
        if not normalised:
            for block in layers:
                block.conv2.weight.data.mul_(len(layers) ** -0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, H, W]."""
        out = F.relu(self.bn(self.blocks(self.conv(images))))
        return self.linear(out.mean((2, 3)))
