"""Adapters that change weights: LoRA, (IA)^3 and BitFit."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import BaseAdapter, Site, WeightAdapter
from rl_suite.meta_learning.adapters.config import AdapterConfig


class LoRA(WeightAdapter):
    """W + alpha / r * B A with A (r, in) and B (out, r), B zero at the start (Hu et al. 2021, equation 3).

    Weights of convolutions (out, in, ...) count as (out, in * ...). Parameters: r (in + out).
    """

    def __init__(self, config: AdapterConfig, shape: tuple[int, int] | None = None, layer: str = ""):
        super().__init__(config)
        if shape is None:
            if config.input_dim is None:
                raise UserError("LoRA alone needs input_dim")
            shape = (config.input_dim, config.input_dim)
        rank, self.scale = config.rank_at(layer), config.scale_at(layer)
        self.a = nn.Parameter(torch.empty(rank, shape[1]))
        self.b = nn.Parameter(torch.zeros(shape[0], rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as nn.Linear begins, and as the paper's code does

    @classmethod
    def at(cls, config: AdapterConfig, site: Site, siblings: Sequence[BaseAdapter]) -> Self:
        """One pair of matrices for the weight of the layer."""
        weight = site.weight_tensor
        if weight is None or weight.ndim < 2:
            raise UserError(f"LoRA needs a weight matrix, and {site.name} ({type(site.layer).__name__}) has none")
        return cls(config, (weight.shape[0], weight[0].numel()), site.name)

    @property
    def change(self) -> Tensor:
        """What is added to the weight (out, in)."""
        return self.scale * (self.b @ self.a)

    def forward(self, x: Tensor) -> Tensor:
        """The change of the output (..., out) for inputs (..., in); half the work of a change of the weight."""
        return self.scale * F.linear(F.linear(x, self.a), self.b)

    def adapt(self, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Output plus its change."""
        change: Tensor = self(inputs[0])
        return output + change

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W + scale B A."""
        return weight + self.change.reshape(weight.shape), bias


class IA3(WeightAdapter):
    """One factor per output, 1 at the start (Liu et al. 2022, section 3.3)."""

    def __init__(self, config: AdapterConfig):
        super().__init__(config)
        if config.input_dim is None:
            raise UserError("(IA)^3 alone needs input_dim")
        self.factors = nn.Parameter(torch.ones(config.input_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scaled features (..., width)."""
        return x * self.factors

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Rows of the weight and the bias, scaled."""
        rows = self.factors.reshape(-1, *[1] * (weight.ndim - 1))
        return weight * rows, None if bias is None else bias * self.factors


class BitFit(WeightAdapter):
    """A change of the bias, 0 at the start; nothing else (Ben Zaken et al. 2022)."""

    def __init__(self, config: AdapterConfig):
        super().__init__(config)
        if config.input_dim is None:
            raise UserError("BitFit alone needs input_dim")
        self.bias = nn.Parameter(torch.zeros(config.input_dim))

    @classmethod
    def at(cls, config: AdapterConfig, site: Site, siblings: Sequence[BaseAdapter]) -> Self:
        """The change of one bias."""
        if site.bias_tensor is None:
            raise UserError(f"BitFit trains biases, and {site.name} ({type(site.layer).__name__}) has none")
        return super().at(config, site, siblings)

    def forward(self, x: Tensor) -> Tensor:
        """Shifted features (..., width)."""
        return x + self.bias

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The bias, shifted."""
        return weight, None if bias is None else bias + self.bias
