"""Networks for ImageNet: torchvision's, with random first weights."""

from typing import Any

from torch import nn

from samscope.errors import InputError


def network(num_classes: int, in_channels: int, name: str, **settings: Any) -> nn.Module:
    """The network that torchvision has by this name.

    Args:
        num_classes: number of outputs.
        in_channels: channels of the images, 3.
        name: one of `torchvision.models.list_models`.
        settings: more of its arguments.

    Raises:
        InputError: for images of other than 3 channels.
    """
    from torchvision import models

    if in_channels != 3:
        raise InputError(name, "channels of the images", in_channels, "3")
    return models.get_model(name, num_classes=num_classes, **settings)
