"""Shifts of the test distribution: images as a trained network does not know them.

After D. Hendrycks and T. Dietterich (arXiv:1903.12261), of whose corruptions noise and contrast are
two, at their third of five strengths; of images in [0, ``scale``], [N, C, H, W], each gives
[versions, N, C, H, W]. Importable without torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

NOISE = 0.18
"""Standard deviation, of white: theirs for ImageNet."""

CONTRAST = 0.4
"""What is left of the difference to an image's mean: theirs for CIFAR-10."""


def pixel(images: "Tensor", scale: float, random: "Generator") -> "Tensor":
    """Moved by one pixel to each of four sides, black where nothing comes from."""
    import torch
    import torch.nn.functional as F

    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1))
    corners = ((0, 1), (2, 1), (1, 0), (1, 2))
    return torch.stack([padded[..., y : y + height, x : x + width] for y, x in corners])


def noise(images: "Tensor", scale: float, random: "Generator") -> "Tensor":
    """With Gaussian noise of `NOISE`, cut off at black and white."""
    import torch

    drawn = torch.randn(images.shape, generator=random).to(images)
    return (images + NOISE * scale * drawn).clamp(0, scale)[None]


def contrast(images: "Tensor", scale: float, random: "Generator") -> "Tensor":
    """Drawn to the mean of each image and channel, to `CONTRAST` of the distance."""
    mean = images.mean((-2, -1), keepdim=True)
    return (mean + CONTRAST * (images - mean))[None]


# No registry: what these do is part of the code that measures.
SHIFTS: dict[str, Callable[["Tensor", float, "Generator"], "Tensor"]] = {
    "pixel": pixel,
    "noise": noise,
    "contrast": contrast,
}
