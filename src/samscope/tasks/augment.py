"""Crop, flip and cutout of a whole batch at once, from draws made beforehand on the CPU.

Everywhere a random crop of the image padded by 4 pixels, a horizontal flip with probability 1/2,
and normalisation; then, in some, a 16 x 16 square of zeros (the mean colour, since it comes after
normalisation) whose corner is uniform on [-8, 24) and which may therefore leave the image.

The geometry-SAM code pads with raw black pixels and cuts with probability 1/2. Foret et al. pad by
reflection and always cut: in each image, as Cutout is described, or at one place of a batch, as
their code does it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from samscope.digests import Registry
from samscope.tasks import autoaugment

PAD = 4
HOLE = 16


def draw(count: int, size: int, random: torch.Generator) -> Tensor:
    """Draws for ``count`` images of ``size`` x ``size`` pixels, int64 [count, 6] on the CPU.

    Columns: top and left of the crop (0 to 8), flip (0 or 1), cut (0 or 1), top and left of the
    hole (-8 to size - 9).
    """
    integers = lambda low, high: torch.randint(low, high, (count,), generator=random)  # noqa: E731
    corner = (-HOLE // 2, size - HOLE // 2)
    columns = [
        integers(0, 2 * PAD + 1),
        integers(0, 2 * PAD + 1),
        integers(0, 2),
        integers(0, 2),
        integers(*corner),
        integers(*corner),
    ]
    return torch.stack(columns, 1)


def draw_with_policy(count: int, size: int, random: torch.Generator) -> Tensor:
    """As `draw`, and two columns more, of `samscope.tasks.autoaugment.draw`."""
    return torch.cat([draw(count, size, random), autoaugment.draw(count, size, random)], 1)


Normalise = Callable[[Tensor], Tensor]
"""From raw to float images, see `samscope.tasks.images.prepare`."""


def crop_flip_cutout(images: Tensor, draws: Tensor, normalise: Normalise) -> Tensor:
    """The augmented, normalised batch of the geometry-SAM code.

    Args:
        images: raw, uint8 [N, C, H, W].
        draws: one row an image, [N, 6], see `draw`.
        normalise: from raw to float images.

    Returns:
        float32 [N, C, H, W], bit for bit what the same operations give image by image.
    """
    top, left, flip, cut, hole_top, hole_left = draws[:, :, None].unbind(1)
    black = F.pad(images, (PAD, PAD, PAD, PAD))
    out = normalise(_taken(black, *_places(images, top, left, flip)))
    return _cut(out, hole_top, hole_left, cut == 1)


def basic(images: Tensor, draws: Tensor, normalise: Normalise) -> Tensor:
    """Foret et al.'s: crop and flip. The arguments are those of `crop_flip_cutout`."""
    top, left, flip = draws[:, :3, None].unbind(1)
    places = zip(_places(images, top, left, flip), images.shape[2:], strict=True)
    return normalise(_taken(images, *(_reflected(place - PAD, size) for place, size in places)))


def cutout(images: Tensor, draws: Tensor, normalise: Normalise) -> Tensor:
    """`basic`, and a hole in each image."""
    hole_top, hole_left = draws[:, 4:6, None].unbind(1)
    return _cut(basic(images, draws, normalise), hole_top, hole_left)


def cutout_batch(images: Tensor, draws: Tensor, normalise: Normalise) -> Tensor:
    """`basic`, and in each image the hole that the first one draws."""
    hole_top, hole_left = draws[:1, 4:6, None].unbind(1)
    return _cut(basic(images, draws, normalise), hole_top, hole_left)


def policy(images: Tensor, draws: Tensor, normalise: Normalise) -> Tensor:
    """AutoAugment, then `basic`; the draws are [N, 8], see `draw_with_policy`."""
    return basic(autoaugment.apply(images, draws[:, 6:]), draws, normalise)


@dataclass(frozen=True)
class Augmentation:
    """What it draws of so many images of a size, and what it makes of raw images by the draws."""

    draw: Callable[[int, int, torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor, Normalise], Tensor]


AUGMENTATIONS: Registry[str, Augmentation] = {
    "crop_flip_cutout": Augmentation(draw, crop_flip_cutout),
    "basic": Augmentation(draw, basic),
    "cutout": Augmentation(draw, cutout),
    "cutout_batch": Augmentation(draw, cutout_batch),
    "autoaugment": Augmentation(draw_with_policy, policy),
}


def _places(images: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> tuple[Tensor, Tensor]:
    """The rows [N, H] and columns [N, W] of padded images that a crop and a flip take."""
    height, width = images.shape[2:]
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    return top + row, left + torch.where(flip == 1, width - 1 - column, column)


def _reflected(place: Tensor, size: int) -> Tensor:
    """Where a place beyond a border is seen, as in a mirror on the outermost pixel."""
    return size - 1 - (size - 1 - place.abs()).abs()


def _taken(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The pixels at these rows [N, H] and columns [N, W] of images [N, C, any, any]."""
    count, channels, _, width = images.shape
    source = row[:, :, None] * width + column[:, None, :]
    index = source.reshape(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, index).unflatten(2, source.shape[1:])


def _cut(images: Tensor, top: Tensor, left: Tensor, where: Tensor | bool = True) -> Tensor:
    """The images with a hole each, [N, 1] or [1, 1] the places of its corner."""
    row = torch.arange(images.shape[2], device=images.device)
    column = torch.arange(images.shape[3], device=images.device)
    in_rows = (row >= top) & (row < top + HOLE) & where
    in_columns = (column >= left) & (column < left + HOLE)
    return images.masked_fill_((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)
