"""Crop, flip and cutout of a whole batch at once, from draws made beforehand on the CPU.

As the geometry-SAM code does it to one image at a time: a random crop of the image padded by 4 raw
black pixels, a horizontal flip with probability 1/2, normalisation, and, with probability 1/2, a
16 x 16 square of zeros (the mean colour, since it comes after normalisation) whose corner is
uniform on [-8, 24) and which may therefore leave the image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

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


def crop_flip_cutout(
    images: Tensor, draws: Tensor, normalise: Callable[[Tensor], Tensor]
) -> Tensor:
    """The augmented, normalised batch.

    Args:
        images: raw, uint8 [N, C, H, W].
        draws: one row an image, [N, 6], see `draw`.
        normalise: from raw to float images, see `samscope.tasks.images.prepare`.

    Returns:
        float32 [N, C, H, W], bit for bit what the same operations give image by image.
    """
    top, left, flip, cut, hole_top, hole_left = draws[:, :, None].unbind(1)
    count, channels, height, width = images.shape
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    padded = F.pad(images, (PAD, PAD, PAD, PAD))
    source_row = top + row
    source_column = left + torch.where(flip == 1, width - 1 - column, column)
    source = source_row[:, :, None] * padded.shape[3] + source_column[:, None, :]
    index = source.reshape(count, 1, -1).expand(-1, channels, -1)
    out = normalise(padded.flatten(2).gather(2, index).reshape(images.shape))
    in_rows = (row >= hole_top) & (row < hole_top + HOLE) & (cut == 1)
    in_columns = (column >= hole_left) & (column < hole_left + HOLE)
    return out.masked_fill_((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)
