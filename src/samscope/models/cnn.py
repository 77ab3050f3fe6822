"""A plain stack of convolutions for 8 x 8 images: the quick profile's stand-ins."""

from torch import Tensor, nn


class CNN(nn.Module):
    """3x3 convolutions with batch normalisation and ReLU, then a linear layer on all features.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images.
        layers: width and stride of each convolution.
        side: height and width of the images in pixels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        layers: tuple[tuple[int, int], ...],
        side: int = 8,
    ) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        channels = in_channels
        for width, stride in layers:
            stack += [
                nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            nn.init.kaiming_normal_(stack[-3].weight)  # type: ignore[arg-type]  # a Conv2d's
            channels, side = width, -(-side // stride)
        self.features = nn.Sequential(*stack)
        self.linear = nn.Linear(channels * side * side, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, side, side]."""
        return self.linear(self.features(images).flatten(1))


class PlainCNN(nn.Module):
    """The same without batch normalisation: convolutions have a bias in its place.

    The arguments are those of `CNN`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        layers: tuple[tuple[int, int], ...],
        side: int = 8,
    ) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        channels = in_channels
        for width, stride in layers:
            convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1)
            nn.init.kaiming_normal_(convolution.weight)
            stack += [convolution, nn.ReLU()]
            channels, side = width, -(-side // stride)
        self.features = nn.Sequential(*stack)
        self.linear = nn.Linear(channels * side * side, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, side, side]."""
        return self.linear(self.features(images).flatten(1))


class PooledCNN(CNN):
    """The same for 32 x 32 images, with the mean of each channel in the place of all features.

    Of the convolutions of a residual network it is that network without its shortcuts, as
    tomgoldstein/loss-landscape@510fa3a has it: its initial weights too (cifar10/main.py).
    """

    def __init__(
        self, num_classes: int, in_channels: int, layers: tuple[tuple[int, int], ...]
    ) -> None:
        super().__init__(num_classes, in_channels, layers)
        self.linear = nn.Linear(layers[-1][0], num_classes)
        nn.init.normal_(self.linear.weight, std=1e-3)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, side, side]."""
        return self.linear(self.features(images).mean((2, 3)))
