"""The four networks of latent head modulation: a classifier, an encoder, a relation network and a decoder.

They are put together in ``learners.taml``, which also says where the method comes from.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.data.images import as_floats

HeadWeights = dict[str, Tensor]
"""weight1 (..., H, D), bias1 (..., H), weight2 (..., C, H), bias2 (..., C); leading axes are tasks."""
Modulations = dict[str, Tensor]
"""A factor for each of the four, of a shape that broadcasts to its own."""
Rates = dict[str, Tensor]
"""A learning rate for each of the four and each inner step: (..., steps or 1, ...)."""
Approach = Literal["global_scalars", "per_layer_scalars", "per_parameter_via_broadcasting", "low_rank_factorization"]

HEAD = ("weight1", "bias1", "weight2", "bias2")
APPROACHES = ("global_scalars", "per_layer_scalars", "per_parameter_via_broadcasting", "low_rank_factorization")
SHORT_NAMES = {"per_parameter": "per_parameter_via_broadcasting", "low_rank": "low_rank_factorization"}
SWING = 0.5  # factors lie in 1 +- this, as in the documents
SLOWEST, FASTEST = 1e-3, 0.1  # learning rates, as in the documents
WIDTH, BODY_BLOCKS, MAP_SIDE = 64, 4, 3
ENCODER_HIDDEN, DECODER_HIDDEN, RANK = 512, 64, 32


class TAMLClassifier(nn.Module):
    """A shared body, and a head of two layers that is adapted to each task.

    All classes start with the same row of ``weight2``: only the support set tells them apart, so that permuting
    the classes permutes the answers, and a head can have any number of them. Unadapted, all logits are equal.

    Args:
        num_classes: of the head where no weights are given.
        body: images (N, C, H, W) -> features or maps; None: four blocks of 3x3 convolution, BatchNorm and ReLU with
            64 channels, the first three with max-pooling, ending in a 3x3 map of an image of any size.
        channels: of the images.
        hidden: units between the head's layers.
        size: pixels of a side, to find out how many features the body has.
    """

    def __init__(
        self,
        num_classes: int = 5,
        body: nn.Module | None = None,
        channels: int = 1,
        hidden: int = 128,
        size: int = 28,
    ):
        super().__init__()
        if num_classes < 2:
            raise UserError(f"a classifier needs at least 2 classes, not {num_classes}")
        self.num_classes, self.body = num_classes, body if body is not None else conv_body(channels)
        self.body.eval()
        with torch.no_grad():
            self.feature_dim = int(self.body(torch.zeros(1, channels, size, size)).flatten(1).shape[1])
        self.body.train()
        first = nn.Linear(self.feature_dim, hidden)
        self.weight1, self.bias1 = first.weight, first.bias
        self.row = nn.Parameter(torch.zeros(hidden))  # what every class starts with
        self.shift = nn.Parameter(torch.zeros(()), requires_grad=False)  # the same for all classes: changes nothing

    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D), each with mean 0 and variance 1."""
        flat = self.body(as_floats(images)).flatten(1).to(torch.float32)
        return F.layer_norm(flat, flat.shape[1:])

    def head(self, num_classes: int | None = None) -> HeadWeights:
        """The head before any adaptation."""
        count = num_classes or self.num_classes
        rows, shifts = self.row.expand(count, -1), self.shift.expand(count)
        return {"weight1": self.weight1, "bias1": self.bias1, "weight2": rows, "bias2": shifts}

    def forward(self, x: Tensor, head_weights: HeadWeights | None = None) -> Tensor:
        """Logits (N, C) of images, by the given head or by the unadapted one."""
        return apply_head(self.head() if head_weights is None else head_weights, self.features(x))


class TAMLEncoder(nn.Module):
    """Features (..., D) -> latent codes (..., latent_dim)."""

    def __init__(self, latent_dim: int = 64, feature_dim: int = 2304):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_dim, ENCODER_HIDDEN), nn.ReLU(), nn.Linear(ENCODER_HIDDEN, latent_dim)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Latent codes."""
        codes: Tensor = self.layers(features)
        return codes


class TAMLRelationNetwork(nn.Module):
    """Compares the code of every class with those of all classes of its task: (..., C, L) -> (..., C, L)."""

    def __init__(self, latent_dim: int = 64):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * latent_dim, latent_dim), nn.ReLU(), nn.Linear(latent_dim, latent_dim))

    def forward(self, codes: Tensor) -> Tensor:
        """Refined codes; class i becomes the mean over j of what the pair (i, j) says."""
        count = codes.shape[-2]
        first = codes.unsqueeze(-2).expand(*codes.shape[:-1], count, -1)  # (..., C, C, L)
        pairs = torch.cat([first, first.transpose(-2, -3)], dim=-1)
        refined: Tensor = self.layers(pairs).mean(-2)
        return refined


class TAMLDecoder(nn.Module):
    """A task's latent code -> factors for its head, and learning rates for its inner loop.

    Args:
        latent_dim: of the code.
        feature_dim, hidden: sizes of the head's first layer.
        approach: what is decoded. "global_scalars": one factor and one rate. "per_layer_scalars": a factor for each
            of the four parts and a rate for each of the two layers. "per_parameter_via_broadcasting" (or
            "per_parameter"): factors and rates for every unit and every input, their products for every weight.
            "low_rank_factorization" (or "low_rank"): factors are a learned basis of 32 matrices of rank 1, weighted by
            the code; rates as per layer. The second layer has one row for all classes in every approach.
        steps: inner steps that have a rate of their own; 1: one rate for all.
    """

    def __init__(
        self,
        latent_dim: int = 64,
        feature_dim: int = 2304,
        hidden: int = 128,
        approach: str = "per_layer_scalars",
        steps: int = 1,
    ):
        super().__init__()
        self.approach = SHORT_NAMES.get(approach, approach)
        require_known(self.approach, APPROACHES, "modulation_approach")
        self.feature_dim, self.hidden, self.steps = feature_dim, hidden, steps
        n_factors = {
            "global_scalars": 1,
            "per_layer_scalars": 4,
            "per_parameter_via_broadcasting": feature_dim + 2 * hidden + hidden + 1,
            "low_rank_factorization": 3 * RANK + 1,
        }[self.approach]
        self.per_parameter = self.approach == "per_parameter_via_broadcasting"
        n_rates = {"global_scalars": 1, "per_parameter_via_broadcasting": feature_dim + 2 * hidden + hidden + 1}
        self._sizes = [n_factors, steps * n_rates.get(self.approach, 2)]
        last = nn.Linear(DECODER_HIDDEN, sum(self._sizes))
        with torch.no_grad():  # at first every factor is 1 and every rate in the middle
            last.weight.mul_(0.01)
            last.bias.zero_()
        self.layers = nn.Sequential(nn.Linear(latent_dim, DECODER_HIDDEN), nn.ReLU(), last)
        if self.approach == "low_rank_factorization":
            self.left = nn.Parameter(torch.randn(hidden, RANK) / RANK**0.5)
            self.right = nn.Parameter(torch.randn(RANK, feature_dim))
            self.of_bias = nn.Parameter(torch.randn(RANK, hidden) / RANK**0.5)
            self.of_row = nn.Parameter(torch.randn(RANK, hidden) / RANK**0.5)

    def forward(self, code: Tensor) -> tuple[Modulations, Rates]:
        """Codes (..., L) of tasks -> factors and rates."""
        factors, rates = torch.split(self.layers(code), self._sizes, dim=-1)
        by_step = rates.reshape(*rates.shape[:-1], self.steps, -1)  # (..., steps, n)
        modulations = {name: 1 + SWING * torch.tanh(raw) for name, raw in self._spread(factors).items()}
        if self.per_parameter:
            raw_rates = self._by_unit(by_step)
        else:
            first, second = by_step[..., 0], by_step[..., -1]  # of the two layers
            raw_rates = {
                "weight1": first[..., None, None],
                "bias1": first[..., None],
                "weight2": second[..., None, None],
                "bias2": second[..., None],
            }
        speeds = {name: SLOWEST + (FASTEST - SLOWEST) * torch.sigmoid(raw) for name, raw in raw_rates.items()}
        return modulations, speeds

    def _spread(self, factors: Tensor) -> dict[str, Tensor]:
        """Raw factors (..., n) in the shapes of the head's parts."""
        if self.per_parameter:
            return self._by_unit(factors)
        if self.approach == "low_rank_factorization":
            weight, bias, row, shift = torch.split(factors, [RANK, RANK, RANK, 1], dim=-1)
            return {
                "weight1": (self.left * weight.unsqueeze(-2)) @ self.right,  # (..., H, D)
                "bias1": bias @ self.of_bias,
                "weight2": (row @ self.of_row).unsqueeze(-2),
                "bias2": shift,
            }
        each = factors.expand(*factors.shape[:-1], 4)
        return {
            "weight1": each[..., 0, None, None],
            "bias1": each[..., 1, None],
            "weight2": each[..., 2, None, None],
            "bias2": each[..., 3, None],
        }

    def _by_unit(self, raw: Tensor) -> dict[str, Tensor]:
        """Values (..., n) of units and inputs; every weight of the first layer gets the product of its two."""
        sizes = [self.hidden, self.feature_dim, self.hidden, self.hidden, 1]
        unit, feature, bias, row, shift = torch.split(raw, sizes, dim=-1)
        return {
            "weight1": (1 + unit).unsqueeze(-1) * (1 + feature).unsqueeze(-2) - 1,
            "bias1": bias,
            "weight2": row.unsqueeze(-2),
            "bias2": shift,
        }


def conv_body(channels: int = 1, width: int = WIDTH) -> nn.Sequential:
    """Four blocks of convolution, BatchNorm and ReLU, three of them with max-pooling, then a 3x3 map."""
    layers: list[nn.Module] = []
    for block in range(BODY_BLOCKS):
        inputs = channels if block == 0 else width
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if block < BODY_BLOCKS - 1 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(MAP_SIDE))


def apply_head(weights: HeadWeights, features: Tensor) -> Tensor:
    """Features (..., N, D) -> logits (..., N, C)."""
    hidden = torch.relu(features @ weights["weight1"].mT + weights["bias1"].unsqueeze(-2))
    return hidden @ weights["weight2"].mT + weights["bias2"].unsqueeze(-2)
