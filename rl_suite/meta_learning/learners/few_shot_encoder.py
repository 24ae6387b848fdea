"""The convolutional encoder of few-shot learners on drawings."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STEM_KERNEL, KERNEL = 5, 3


class ConvEncoder(nn.Module):
    """Four convolutions with BatchNorm; images (B, C, H, W) become maps (B, widths[3], H // 8, W // 8).

    Two things set it apart from the usual four equal blocks (Vinyals et al. 2016): it ends with a 3 x 3 map of a
    28 x 28 picture, which keeps where strokes are, and it leaves the full resolution with the first, strided
    convolution, which is where those blocks spend half of their time.
    """

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        first, second, third, fourth = widths
        self.layers = nn.Sequential(
            *_block(channels, first, STEM_KERNEL, stride=2),
            *_block(first, second, KERNEL),
            nn.MaxPool2d(2),
            *_block(second, third, KERNEL),
            *_block(third, fourth, KERNEL),
            nn.MaxPool2d(2),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps."""
        maps: Tensor = self.layers(images)
        return maps


def _block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A convolution without bias, which BatchNorm would remove."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
