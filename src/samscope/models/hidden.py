"""One hidden layer on pixels: the networks of Belkin et al.'s double descent, by their width."""

from torch import Tensor, nn


class Hidden(nn.Module):
    """Pixels, a layer of ReLU units, an output for each class; with biases.

    All weights and biases begin normal with variance 0.01, as those of Belkin et al. that do not
    come from a smaller network.

    Args:
        classes: outputs.
        channels: of the images.
        side: of the images, in pixels.
        units: hidden.
    """

    def __init__(self, classes: int, channels: int, side: int, units: int) -> None:
        super().__init__()
        self.near = nn.Linear(channels * side * side, units)
        self.out = nn.Linear(units, classes)
        for weights in self.parameters():
            nn.init.normal_(weights, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [N, classes] of images [N, channels, side, side]."""
        return self.out(self.near(images.flatten(1)).relu())
