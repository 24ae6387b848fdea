"""The networks of the MAML literature."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from rl_suite.errors import UserError

LAYERS = 4  # of the convolutional network


def make_mlp(inputs: int, outputs: int, hidden: int = 40, layers: int = 2) -> nn.Sequential:
    """The regression network of Finn et al. 2017, section 5.1: two hidden layers of 40 units, ReLU."""
    sizes = [inputs, *[hidden] * layers]
    parts: list[nn.Module] = []
    for i, o in pairwise(sizes):
        parts += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))


def make_conv4(
    n_way: int,
    size: int = 28,
    channels: int = 1,
    width: int = 64,
    down: Literal["pool", "stride"] = "pool",
    norm: Literal["batch", "group", "none"] = "batch",
) -> nn.Sequential:
    """Four blocks of 3x3 convolution, normalisation and ReLU, each halving the image, and a linear head.

    ``down="stride"`` halves by strided convolutions, as the network of Finn et al. 2017 for Omniglot does, at 40 % of
    the cost of max-pooling (Vinyals et al. 2016). Images are (N, channels, size, size).
    """
    side, parts, before = size, [], channels
    for _ in range(LAYERS):
        stride = 2 if down == "stride" else 1
        parts += [nn.Conv2d(before, width, 3, stride, 1), *_norm(norm, width), nn.ReLU()]
        parts += [nn.MaxPool2d(2)] if down == "pool" else []
        side = side // 2 if down == "pool" else -(-side // 2)
        before = width
    if side < 1:
        raise UserError(f"images of {size} pixels are too small for four halvings; they need 16 at least")
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(width * side * side, n_way))


def make_wide_net(
    n_way: int,
    size: int,
    channels: int,
    widths: Sequence[int],
    norm: Literal["batch", "group", "none"] = "group",
) -> nn.Sequential:
    """The layers of the few-shot learners' encoder, with a choice of normalisation and a linear head.

    A strided 5x5 convolution, three of 3x3, and two poolings: a 3x3 map is left of 28x28 pixels, so that a head can
    tell where strokes are. With ``norm="group"`` no picture's features depend on another picture.
    """
    first, second, third, fourth = widths
    side = (size + 1) // 2 // 2 // 2
    if side < 1:
        raise UserError(f"images of {size} pixels are too small for three halvings; they need 8 at least")
    body: list[nn.Module] = [nn.Conv2d(channels, first, 5, 2, 2, bias=False), *_norm(norm, first), nn.ReLU()]
    for i, o, pooled in ((first, second, True), (second, third, False), (third, fourth, True)):
        body += [nn.Conv2d(i, o, 3, 1, 1, bias=False), *_norm(norm, o), nn.ReLU()]
        body += [nn.MaxPool2d(2)] if pooled else []
    return nn.Sequential(nn.Sequential(*body, nn.Flatten()), nn.Linear(fourth * side * side, n_way))


def _norm(norm: str, width: int) -> list[nn.Module]:
    """Batch, group (one group: nothing is shared between examples) or no normalisation."""
    made: dict[str, list[nn.Module]] = {"batch": [nn.BatchNorm2d(width)], "group": [nn.GroupNorm(1, width)], "none": []}
    return made[norm]
