"""What the networks of google-research/sam@dae9904 are made of (Foret et al., arXiv:2010.01412).

Its first weights are those of the AutoAugment code: convolutions normal with variance 2 / fan_out,
the classifier uniform on +-1/sqrt(classes), batch normalisation at one.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """Zeros around the image as TensorFlow's SAME has them.

    With stride 2 an even image gets its row and column of zeros at the bottom and on the right, not
    at the top and on the left: the windows lie where those of 2 x 2 average pooling do.
    """

    def __init__(
        self, channels: int, width: int, size: int, stride: int = 1, bias: bool = False
    ) -> None:
        padding = size // 2 if stride == 1 else 0
        super().__init__(channels, width, size, stride=stride, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width, ceil(H / stride), ceil(W / stride)] of features [N, channels, H, W].

        >>> import torch
        >>> Convolution(1, 4, 3, stride=2)(torch.zeros(1, 1, 7, 8)).shape
        torch.Size([1, 4, 4, 4])
        """
        (size, _), (stride, _) = self.kernel_size, self.stride
        if stride == 1:
            return super().forward(x)
        zeros = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:1:-1]]
        return super().forward(F.pad(x, [side for n in zeros for side in (n // 2, n - n // 2)]))


def padded(x: Tensor, channels: int, stride: int) -> Tensor:
    """The identity as a shortcut to more channels: averaged over the stride, then zeros.

    Args:
        x: features [N, fewer channels, H, W].
        channels: to fill up to.
        stride: of the residual branch.

    Returns:
        Features [N, channels, H // stride, W // stride].
    """
    x = F.avg_pool2d(x, stride) if stride > 1 else x
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


def initialise(network: nn.Module, linear: nn.Linear) -> None:
    """Give a network with batch normalisation at its default its other first weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    bound = linear.out_features**-0.5
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
