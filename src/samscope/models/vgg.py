"""VGG-16 for 32 x 32 images (Simonyan and Zisserman, arXiv:1409.1556), without normalisation.

As in timgaripov/dnn-mode-connectivity@f0bf253, models/vgg.py: hidden layers of 512.
"""

import math
from itertools import pairwise

from torch import Tensor, nn


class VGG(nn.Module):
    """Groups of 3x3 convolutions, each ended by a halving of the image; then three linear layers.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images, which the groups bring down to one pixel.
        groups: widths of the convolutions of each.
        hidden: width of the two hidden linear layers, before each of which half is dropped.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        groups: tuple[tuple[int, ...], ...],
        hidden: int = 512,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for widths in groups:
            for into, out in pairwise((channels, *widths)):
                convolution = nn.Conv2d(into, out, 3, padding=1)
                nn.init.normal_(convolution.weight, std=math.sqrt(2 / (9 * out)))
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has one
                layers += [convolution, nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            channels = widths[-1]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(channels, hidden), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of images [N, in_channels, 32, 32]."""
        return self.classifier(self.features(images).flatten(1))
