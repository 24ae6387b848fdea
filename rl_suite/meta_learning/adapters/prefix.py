"""Prefix tuning as an attention to learned tokens beside a layer, with a gate that starts shut."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import BaseAdapter, Site
from rl_suite.meta_learning.adapters.bottleneck import width_of
from rl_suite.meta_learning.adapters.config import AdapterConfig

DEVIATION = 0.02  # of the learned tokens at the start, as of embeddings in GPT-2


class PrefixTuning(BaseAdapter):
    """output + gate * softmax(x K') V with ``prefix_length`` learned keys and values per head.

    A prefix in front of a layer's own keys is such a weighted sum (He et al. 2022, equation 7); a gate per head that
    starts at 0 (Zhang et al. 2023, equation 8) leaves the output untouched at the start, which random tokens do not.
    """

    def __init__(self, config: AdapterConfig, widths: tuple[int, int] | None = None):
        super().__init__(config)
        width_in, width_out = widths or (width_of(config), width_of(config))
        heads, length = config.num_heads or 1, config.prefix_length
        if width_in % heads or width_out % heads:
            raise UserError(f"a prefix of {heads} heads needs widths that are multiples of it: {width_in}, {width_out}")
        self.keys = nn.Parameter(torch.randn(heads, length, width_in // heads))
        self.values = nn.Parameter(DEVIATION * torch.randn(heads, length, width_out // heads))
        self.gate = nn.Parameter(torch.zeros(heads, 1))

    @classmethod
    def at(cls, config: AdapterConfig, site: Site, siblings: Sequence[BaseAdapter]) -> Self:
        """The tokens of one layer."""
        if site.axis != -1:
            raise UserError(
                f"a prefix needs a layer over (..., features), and {site.name} has them on axis {site.axis}"
            )
        return cls(
            config.model_copy(update={"num_heads": config.num_heads or site.heads}), (site.width_in, site.width_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., width) and what the prefix adds to them."""
        return self.adapt((x,), x)

    def adapt(self, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The first input (..., in) asks; the answer is added to the output (..., out)."""
        x = inputs[0]
        heads, _, depth = self.keys.shape
        queries = x.reshape(-1, heads, depth).transpose(0, 1)  # (H, N, d)
        told = F.softmax(queries @ self.keys.transpose(1, 2) / depth**0.5, -1) @ self.values  # (H, N, d')
        gated = (self.gate[..., None] * told).transpose(0, 1)
        return output + gated.reshape(output.shape)
