"""Adapters for features of several modalities."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rl_suite.arguments import require_kind, require_whole
from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.adapters.base import BaseAdapter
from rl_suite.meta_learning.adapters.bottleneck import LinearAdapter, activation_of, width_of
from rl_suite.meta_learning.adapters.config import AdapterConfig
from rl_suite.meta_learning.adapters.prefix import PrefixTuning

MODALITIES = ("text", "vision", "audio")
MOST_WIDE = 2**16  # features of one modality


class MultiModalAdapter(BaseAdapter):
    """Features of one modality, to which is added what the others say; nothing at the start.

    Args:
        config: width, bottleneck and ``fusion``: every token of the first modality attends to all tokens of the
            others, or reads their means, side by side (``concat``) or summed.
        modality_dims: width of each modality that is not ``input_dim``.
    """

    def __init__(self, config: AdapterConfig, modality_dims: Mapping[str, int] | None = None):
        super().__init__(config)
        width, hidden = width_of(config), config.hidden_dim
        require_kind("modality_dims", {} if modality_dims is None else modality_dims, Mapping)
        for name, size in (modality_dims or {}).items():
            require_known(name, MODALITIES, "modality")
            require_whole(f"modality_dims[{name!r}]", size, 1, MOST_WIDE)
        widths = {name: (modality_dims or {}).get(name, width) for name in MODALITIES}
        self.into = nn.ModuleDict({name: nn.Linear(widths[name], hidden) for name in MODALITIES})
        heads = config.num_heads or 1
        if config.fusion == "attention":
            if hidden % heads:
                raise UserError(f"hidden_dim must be a multiple of num_heads, not {hidden} of {heads}")
            self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        elif config.fusion == "concat":
            self.join = nn.Linear(len(MODALITIES) * hidden, hidden)
        self.activation, self.up = activation_of(config), nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, *features: Tensor, **named: Tensor) -> Tensor:
        """Adapted features of the first modality given.

        Args:
            features: (B, width) or (B, T, width) each, in the order text, vision, audio.
            named: the same by name.
        """
        if len(features) > len(MODALITIES):
            raise UserError(f"there are {len(MODALITIES)} modalities, not {len(features)}: {', '.join(MODALITIES)}")
        given = dict(zip(MODALITIES, features, strict=False))
        for name, value in named.items():
            require_known(name, MODALITIES, "modality")
            if name in given:
                raise UserError(f"{name} is given twice")
            given[name] = value
        if not given:
            raise UserError(f"no features; give one of {', '.join(MODALITIES)} at least")
        first = next(name for name in MODALITIES if name in given)
        hidden = {name: self.into[name](_as_tokens(value)) for name, value in given.items()}  # (B, T, hidden)
        fused = self.fuse(hidden.pop(first), hidden)
        x = given[first]
        change: Tensor = self.up(self.activation(fused))
        return x + change.reshape(x.shape)

    def fuse(self, own: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        """Own tokens (B, T, hidden) in the light of the others."""
        if self.config.fusion == "attention":
            context = torch.cat([own, *others.values()], 1)
            fused: Tensor = self.attention(own, context, context, need_weights=False)[0]
            return fused
        means = [value.mean(1, keepdim=True).expand_as(own) for value in others.values()]
        if self.config.fusion == "sum":
            return own + torch.stack(means).sum(0) if means else own
        missing = [torch.zeros_like(own)] * (len(MODALITIES) - 1 - len(means))
        joined: Tensor = self.join(torch.cat([own, *means, *missing], -1))
        return joined

    def adapt(self, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The layer's output, and what its further inputs add to it."""
        if len(inputs) < 2:
            raise UserError("a multi-modal adapter belongs to a layer that is called with several tensors")
        adapted: Tensor = self(output, *inputs[1:])
        return adapted


class LanguageAdapter(BaseAdapter):
    """A bottleneck and a prefix over tokens (B, T, width)."""

    def __init__(self, config: AdapterConfig):
        super().__init__(config)
        self.bottleneck, self.prefix = LinearAdapter(config), PrefixTuning(config)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted tokens, of the shape given."""
        adapted: Tensor = self.prefix(self.bottleneck(x))
        return adapted


class VisionAdapter(BaseAdapter):
    """A bottleneck at every place and one for the mean over places; the width is the last axis, or the second of maps.

    Features are (B, C, height, width) maps, (B, T, C) patches or (B, C) vectors.
    """

    def __init__(self, config: AdapterConfig):
        super().__init__(config)
        self.local, self.pooled = LinearAdapter(config), LinearAdapter(config)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted features, of the shape given."""
        last = x.movedim(1, -1) if x.ndim == 4 else x
        mean = last.mean(tuple(range(1, last.ndim - 1)), keepdim=True) if last.ndim > 2 else last
        adapted: Tensor = self.local(last) + (self.pooled(mean) - mean)
        return adapted.movedim(-1, 1) if x.ndim == 4 else adapted


def _as_tokens(x: Any) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim not in (2, 3):
        raise UserError("features of a modality are (batch, width) or (batch, tokens, width)")
    return x if x.ndim == 3 else x[:, None]
