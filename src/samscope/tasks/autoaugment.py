"""AutoAugment's policy for CIFAR (Cubuk et al., arXiv:1805.09501) on a whole batch at once.

Bit for bit what torchvision's AutoAugment makes of one image after the other. An operation moves
pixels, or looks up their values in a table, or mixes the image with another one; an image that has
another operation passes unchanged. What does not depend on the image is made once, by torchvision
itself.

The code of Foret et al. has another version of it: 95 pairs where these are the paper's 25, grey
where pixels come from outside of an image and these are black, and translations by up to 225 pixels
(made for larger images), which leave nothing of 32 x 32.
"""

from dataclasses import dataclass, fields
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

_MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_LOOKS_UP = ("Brightness", "Posterize", "Solarize", "Invert")
_MIXES = ("Color", "Contrast", "Sharpness")
_OWN = {"AutoContrast": 1, "Equalize": 2, "Color": 3, "Contrast": 4, "Sharpness": 5}
"""Operations that depend on the image."""


@dataclass(frozen=True, eq=False)
class Policy:
    """Pairs of operations, and what each operation does to an image of one size.

    Attributes:
        operation: int64 [pairs, 2, 2], the operation of each place in a pair and each sign; 0 is
            none.
        chance: float32 [pairs, 2], how often it is done.
        source: int64 [operations, pixels], from where each pixel comes; one beyond the last pixel
            is black.
        table: uint8 [operations, 256], what each value becomes.
        share: float32 [operations], of the image, where it is mixed.
        rest: float32 [operations], of the other image.
        own: int64 [operations], the number in `_OWN`; 0 for others.
    """

    operation: Tensor
    chance: Tensor
    source: Tensor
    table: Tensor
    share: Tensor
    rest: Tensor
    own: Tensor


@cache
def policy(side: int, device: torch.device) -> Policy:
    """The policy for images of ``side`` x ``side`` pixels, on a device."""
    if device.type != "cpu":
        here = policy(side, torch.device("cpu"))
        return Policy(**{f.name: getattr(here, f.name).to(device) for f in fields(here)})
    from torchvision.transforms import autoaugment

    pairs = autoaugment.AutoAugment(autoaugment.AutoAugmentPolicy.CIFAR10)
    sizes = pairs._augmentation_space(10, (side, side))
    operations: list[tuple[str, float]] = [("Identity", 0.0)]

    def place(name: str, level: int | None, sign: int) -> int:
        size = 0.0 if level is None else sizes[name][0][level].item()
        what = (name, -size if sizes[name][1] and not sign else size)
        if what not in operations:
            operations.append(what)
        return operations.index(what)

    def made(names: tuple[str, ...], image: Tensor) -> Tensor:
        nearest = autoaugment.InterpolationMode.NEAREST
        return torch.cat(
            [
                autoaugment._apply_op(
                    image, *(o if o[0] in names else operations[0]), nearest, None
                )
                for o in operations
            ]
        ).flatten(1)

    operation = [
        [[place(name, level, sign) for sign in (0, 1)] for name, _, level in pair]
        for pair in pairs.policies
    ]
    pixels = torch.arange(1.0, side * side + 1).view(1, 1, side, side)
    source = made(_MOVES, pixels).long() - 1
    ratios = [1.0 + size if name in _MIXES else 1.0 for name, size in operations]
    return Policy(
        operation=torch.tensor(operation),
        chance=torch.tensor([[chance for _, chance, _ in pair] for pair in pairs.policies]),
        source=torch.where(source < 0, side * side, source),
        table=made(_LOOKS_UP, torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)),
        share=torch.tensor(ratios),
        rest=torch.tensor([1.0 - ratio for ratio in ratios]),
        own=torch.tensor([_OWN.get(name, 0) for name, _ in operations]),
    )


def draw(count: int, side: int, random: torch.Generator) -> Tensor:
    """Which two operations ``count`` images have, int64 [count, 2] on the CPU, see `chosen`."""
    pairs = len(policy(side, torch.device("cpu")).chance)
    pair = torch.randint(pairs, (count,), generator=random)
    luck = torch.rand((count, 2), generator=random)
    return chosen(side, pair, luck, torch.randint(2, (count, 2), generator=random))


def chosen(side: int, pair: Tensor, luck: Tensor, sign: Tensor) -> Tensor:
    """The operations of images, int64 [N, 2], the first first; 0 where there is none.

    Args:
        side: of the images.
        pair: of the policy, int64 [N].
        luck: of each of its two operations, [N, 2]: it is done up to its chance.
        sign: 1 to leave it, 0 to turn it around where it has a direction, int64 [N, 2].
    """
    known = policy(side, torch.device("cpu"))
    operation = known.operation[pair].gather(2, sign[:, :, None])[:, :, 0]
    return torch.where(luck <= known.chance[pair], operation, 0)


def apply(images: Tensor, operations: Tensor) -> Tensor:
    """The images after their operations.

    Args:
        images: uint8 [N, 3, side, side].
        operations: of each image, [N, 2], see `chosen`.
    """
    known = policy(images.shape[-1], images.device)
    for operation in operations.unbind(1):
        images = _moved(images, known.source[operation])
        own = known.own[operation][:, None, None]
        images = _looked_up(images, known.table[operation], own)
        share, rest = (x[operation][:, None, None, None] for x in (known.share, known.rest))
        mixed = share * images + rest * _other(images, own[..., None])
        images = mixed.clamp(0, 255).to(torch.uint8)
    return images


def _moved(images: Tensor, source: Tensor) -> Tensor:
    """Pixels taken from ``source`` [N, pixels], which is one too far for black."""
    index = source[:, None].expand(-1, images.shape[1], -1)
    return F.pad(images.flatten(2), (0, 1)).gather(2, index).view_as(images)


def _looked_up(images: Tensor, table: Tensor, own: Tensor) -> Tensor:
    """Values replaced by a table [N, 256], or by one that the image itself makes."""
    value = torch.arange(256, device=images.device)
    pixels = images.flatten(2).long()
    low, high = (x(2, keepdim=True) for x in (images.flatten(2).amin, images.flatten(2).amax))
    scale = 255 / (high.float() - low.float())
    flat = ~torch.isfinite(scale)
    stretched = (value - low.float().masked_fill(flat, 0)) * scale.masked_fill(flat, 1)
    # How many pixels are darker than a value; the step leaves out those of the brightest.
    channels = torch.arange(pixels[..., 0].numel(), device=images.device).view(-1, 1)
    places = (256 * channels + pixels.flatten(0, 1)).flatten()
    count = torch.zeros(256 * len(channels), dtype=torch.long, device=images.device)
    count = count.scatter_add_(0, places, torch.ones_like(places)).view(*pixels.shape[:2], 256)
    darker = count.cumsum(2) - count
    step = darker.gather(2, high.long()) // 255
    equal = torch.where(step == 0, value, (darker + step // 2) // step.clamp(min=1))
    made = torch.where(own == _OWN["AutoContrast"], stretched, table[:, None])
    made = torch.where(own == _OWN["Equalize"], equal, made).clamp(0, 255).to(torch.uint8)
    return made.gather(2, pixels).view_as(images)


def _other(images: Tensor, own: Tensor) -> Tensor:
    """What an image is mixed with: its grey, the mean of that, or a blur, float32 [N, 3, H, W]."""
    from torchvision.transforms.functional import rgb_to_grayscale

    grey = rgb_to_grayscale(images).float()
    mean = grey.mean((1, 2, 3), keepdim=True)
    # A mean of the pixel five times and its neighbours, to the nearest, which 13 has no two of.
    blur = images.int()
    rows = blur[:, :, :-2] + blur[:, :, 1:-1] + blur[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = (2 * (around + 4 * blur[:, :, 1:-1, 1:-1]) + 13) // 26
    blur[:, :, 1:-1, 1:-1] = inner
    other = torch.where(own == _OWN["Color"], grey, mean)
    return torch.where(own == _OWN["Sharpness"], blur.float(), other)
