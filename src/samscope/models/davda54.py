"""The wide residual network of davda54/sam: the same layers, other first values.

Batch normalisation starts at one and the classifier at zero. Its depth counts one block a stage
less than there is: what the CS-439 report calls WRN-16-8 has the layers of WRN-22-8.
"""

from torch import nn

from samscope.models import wide_resnet


class WideResNet(wide_resnet.WideResNet):
    """See `samscope.models.wide_resnet.WideResNet`; the arguments are the same."""

    def __init__(
        self, num_classes: int, in_channels: int, depth: int, widening: int, base: int = 16
    ) -> None:
        super().__init__(num_classes, in_channels, depth, widening, base)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
        nn.init.zeros_(self.linear.weight)
