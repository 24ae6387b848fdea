"""Ways to make one representation of what several pre-trained models say.

The seven of Piccoli et al. (arXiv 2507.07197): Weight Sharing Attention, dot-product attention, linear
concatenation with and without a fixed size, concatenation through convolutions, both together, and a
reservoir. Each maps feature maps (B, K_i, h_i, w_i), one per model, and a context to (B, features_dim).
"""

import sys
from collections.abc import Sequence
from reprlib import repr as brief
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MapShape = tuple[int, int, int]
LARGEST = sys.float_info.max
GRID = 3  # fields per side that an embedding sees of a feature map


def require_sizes(low: int, **sizes: Any) -> None:
    """ValueError for the first of ``sizes`` that is no whole number from ``low`` on."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < low:
            raise ValueError(f"{name} must be a whole number from {low} on, not {brief(size)}")


def require_numbers(**values: Any) -> None:
    """ValueError for the first of ``values`` that is no finite number."""
    for name, value in values.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST:
            raise ValueError(f"{name} must be a finite number, not {brief(value)}")


class _ExtraObjective(torch.autograd.Function):
    """The identity, whose backward pass also raises ``objective``: a regulariser for any algorithm."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, objective: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return gradient, -torch.ones((), device=gradient.device, dtype=gradient.dtype)


def attention_entropy(weights: Tensor) -> Tensor:
    """Entropy in nats (rows,) of attention weights (rows, n); its gradient is finite where a weight is 0."""
    logarithm = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
    return -(weights * logarithm).sum(dim=-1)


def grid_features(maps: Tensor) -> Tensor:
    """Feature maps (B, K, h, w) averaged over at most 3 x 3 fields, flat: where something is must not get lost."""
    if max(maps.shape[2:]) > GRID:
        maps = F.adaptive_avg_pool2d(maps, (min(maps.shape[2], GRID), min(maps.shape[3], GRID)))
    return maps.flatten(1)


def grid_width(shape: MapShape) -> int:
    """Width of :func:`grid_features`."""
    return shape[0] * min(shape[1], GRID) * min(shape[2], GRID)


class WeightSharingAttention(nn.Module):
    """One scorer, shared by all models, rates each embedding in the light of the context.

    ``w = softmax_i(score([C; E_i]) / T)`` and ``R = sum_i w_i E_i``. The paper has a ReLU on the linear score. It
    is leaky here, as in graph attention networks: scores that are all cut off would give exactly uniform
    weights and no gradient, while without any bend the context would add the same to each and cancel out.

    Args:
        embedding_dim: d of each embedding.
        context_dim: c of the context.
        scorer: ``"linear"`` (the paper: one layer) or ``"mlp"`` (2 hidden layers with LayerNorm and GELU).
        attention_temperature: T; smaller is sharper.
        learn_temperature: whether T is trained.
        entropy_coef: how much the mean entropy of the weights counts as an objective beside the algorithm's
            own, in every backward pass through here. With TRPO leave it 0: its conjugate gradients differentiate
            something else.
    """

    def __init__(
        self,
        embedding_dim: int,
        context_dim: int,
        scorer: Literal["linear", "mlp"] = "mlp",
        attention_temperature: float = 1.0,
        learn_temperature: bool = False,
        entropy_coef: float = 0.0,
    ):
        super().__init__()
        require_numbers(entropy_coef=entropy_coef, attention_temperature=attention_temperature)
        if entropy_coef < 0:
            raise ValueError(f"entropy_coef must not be negative, not {entropy_coef!r}")
        if attention_temperature <= 0:
            raise ValueError(f"attention_temperature must be positive, not {attention_temperature!r}")
        if scorer not in ("linear", "mlp"):
            raise ValueError(f"scorer must be 'linear' or 'mlp', not {scorer!r}")
        width = 1 if scorer == "linear" else 256
        # A linear layer on [C; E_i] is the sum of two, so that each is computed once per context or embedding.
        self.score_context = nn.Linear(context_dim, width)
        self.score_embedding = nn.Linear(embedding_dim, width, bias=False)
        self.score_rest: nn.Module = nn.LeakyReLU(0.2)
        if scorer == "mlp":
            self.score_rest = nn.Sequential(
                nn.LayerNorm(256), nn.GELU(), nn.Linear(256, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 1)
            )
        self.entropy_coef = entropy_coef
        self.log_temperature = nn.Parameter(torch.tensor(attention_temperature).log(), requires_grad=learn_temperature)

    def forward(
        self, context: Tensor, embeddings: Tensor, active: Tensor | None = None, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Combine.

        Args:
            context: (R, c), one row per graph or per node.
            embeddings: (B, n, d) of the n models.
            active: (n,) bool; the others get no weight.
            rows: (R,) which of the B each context belongs to; None where R = B and they are in order.

        Returns:
            Combined embeddings (R, d) and weights (R, n), whose rows sum to 1.
        """
        scores = self.score_embedding(embeddings)  # (B, n, h)
        if rows is not None:
            scores, embeddings = scores[rows], embeddings[rows]
        logits = self.score_rest(scores + self.score_context(context).unsqueeze(1)).squeeze(-1)  # (R, n)
        if active is not None:
            logits = logits.masked_fill(~active, -torch.inf)
        weights = torch.softmax(logits / self.log_temperature.exp(), dim=-1)
        if self.entropy_coef and weights.requires_grad:
            bonus = self.entropy_coef * attention_entropy(weights).mean()
            weights = _ExtraObjective.apply(weights, bonus)
        return (weights.unsqueeze(-1) * embeddings).sum(dim=1), weights


class Combiner(nn.Module):
    """Base of the combiners. ``features_dim`` is the width of what it returns."""

    features_dim: int

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Combine feature maps; returns (B, features_dim) and attention weights (B, n), if it has any.

        Args:
            maps: (B, K_i, h_i, w_i) of each model.
            context: (B, k), or (R, k) with ``rows``.
            active: (n,) bool, which models take part.
            rows: (R,) as in :class:`WeightSharingAttention`; only attention can use it.
        """
        raise NotImplementedError


class _Embeddings(nn.Module):
    """One linear layer per model to a common width: (B, n, d)."""

    def __init__(self, shapes: Sequence[MapShape], embedding_dim: int, paper: bool):
        super().__init__()
        self.layers = nn.ModuleList()
        for shape in shapes:
            linear = nn.Linear(grid_width(shape), embedding_dim)
            ours: list[nn.Module] = [linear, nn.ReLU()] if paper else [linear, nn.LayerNorm(embedding_dim), nn.GELU()]
            self.layers.append(nn.Sequential(*ours))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Embed."""
        return torch.stack([layer(grid_features(m)) for layer, m in zip(self.layers, maps, strict=True)], dim=1)


class StateEncoder(nn.Module):
    """The context C of a state, from (R, k) to (R, context_dim)."""

    def __init__(self, input_dim: int, context_dim: int, paper: bool):
        super().__init__()
        if paper:
            self.layers = nn.Sequential(nn.Linear(input_dim, context_dim), nn.ReLU())
        else:
            wide = 2 * context_dim
            first = [nn.Linear(input_dim, wide), nn.LayerNorm(wide), nn.GELU()]
            self.layers = nn.Sequential(*first, nn.Linear(wide, context_dim), nn.LayerNorm(context_dim), nn.GELU())

    def forward(self, state: Tensor) -> Tensor:
        """Encode."""
        return self.layers(state)  # type: ignore[no-any-return]


class WSACombiner(Combiner):
    """Weight Sharing Attention; with ``scorer="linear"`` all layers are those of the paper."""

    def __init__(
        self,
        shapes: Sequence[MapShape],
        context_input_dim: int,
        embedding_dim: int,
        context_dim: int = 128,
        scorer: Literal["linear", "mlp"] = "mlp",
        **options: Any,
    ):
        super().__init__()
        require_sizes(1, context_dim=context_dim)
        self.features_dim = embedding_dim
        self.embeddings = _Embeddings(shapes, embedding_dim, paper=scorer == "linear")
        self.state_encoder = StateEncoder(context_input_dim, context_dim, paper=scorer == "linear")
        self.attention = WeightSharingAttention(embedding_dim, context_dim, scorer, **options)

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Combine."""
        combined, weights = self.attention(self.state_encoder(context), self.embeddings(maps), active, rows)
        return combined, weights


class DotProductCombiner(Combiner):
    """Attention with the context as query and each model's embedding as key and value."""

    def __init__(self, shapes: Sequence[MapShape], context_input_dim: int, embedding_dim: int):
        super().__init__()
        self.features_dim = embedding_dim
        self.embeddings = _Embeddings(shapes, embedding_dim, paper=True)
        self.query = nn.Linear(context_input_dim, embedding_dim)
        self.key = nn.Linear(embedding_dim, embedding_dim)
        self.value = nn.Linear(embedding_dim, embedding_dim)

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Combine."""
        embeddings = self.embeddings(maps)  # (B, n, d)
        keys, values = self.key(embeddings), self.value(embeddings)
        if rows is not None:
            keys, values = keys[rows], values[rows]
        logits = (keys * self.query(context).unsqueeze(1)).sum(dim=-1) / self.features_dim**0.5
        weights = torch.softmax(logits.masked_fill(~active, -torch.inf), dim=-1)
        return (weights.unsqueeze(-1) * values).sum(dim=1), weights


class LinearConcat(Combiner):
    """All feature maps flattened, side by side."""

    def __init__(self, shapes: Sequence[MapShape], context_input_dim: int, embedding_dim: int):
        super().__init__()
        self.features_dim = sum(channels * height * width for channels, height, width in shapes)

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Combine."""
        return torch.cat([m.flatten(1) * on for m, on in zip(maps, active, strict=True)], dim=1), None


class FixedLinearConcat(Combiner):
    """Embeddings of one width, side by side."""

    def __init__(self, shapes: Sequence[MapShape], context_input_dim: int, embedding_dim: int):
        super().__init__()
        self.features_dim = len(shapes) * embedding_dim
        self.embeddings = _Embeddings(shapes, embedding_dim, paper=True)

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Combine."""
        return (self.embeddings(maps) * active.view(1, -1, 1)).flatten(1), None


class CNNConcat(Combiner):
    """Feature maps at one resolution, stacked along the channels, through 1 to 3 convolutions."""

    def __init__(
        self,
        shapes: Sequence[MapShape],
        context_input_dim: int,
        embedding_dim: int,
        layers: int = 2,
        channels: int = 32,
    ):
        super().__init__()
        if not 1 <= layers <= 3:
            raise ValueError(f"cnn_concat takes 1 to 3 layers, not {layers}")
        self.side = (max(s[1] for s in shapes), max(s[2] for s in shapes))
        widths = [sum(s[0] for s in shapes), *[channels] * layers]
        blocks: list[nn.Module] = []
        for i in range(layers):
            blocks += [nn.Conv2d(widths[i], widths[i + 1], 3, padding=1), nn.ReLU()]
        flat = channels * self.side[0] * self.side[1]
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(flat, embedding_dim), nn.ReLU())
        self.features_dim = embedding_dim

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Combine."""
        same = [F.interpolate(m, self.side) * on for m, on in zip(maps, active, strict=True)]
        return self.layers(torch.cat(same, dim=1)), None


class Combine(Combiner):
    """The linear and the spatial way side by side."""

    def __init__(self, shapes: Sequence[MapShape], context_input_dim: int, embedding_dim: int, **options: Any):
        super().__init__()
        self.linear = FixedLinearConcat(shapes, context_input_dim, embedding_dim)
        self.spatial = CNNConcat(shapes, context_input_dim, embedding_dim, **options)
        self.features_dim = self.linear.features_dim + self.spatial.features_dim

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Combine."""
        linear, _ = self.linear(maps, context, active)
        return torch.cat([linear, self.spatial(maps, context, active)[0]], dim=1), None


class Reservoir(Combiner):
    """A fixed random recurrent network that is shown the embeddings model after model (an echo state network).

    It starts from zero for every observation, so that nothing leaks from one environment into another.
    """

    recurrent: Tensor

    def __init__(
        self, shapes: Sequence[MapShape], context_input_dim: int, embedding_dim: int, spectral_radius: float = 0.9
    ):
        super().__init__()
        require_numbers(spectral_radius=spectral_radius)
        if spectral_radius <= 0:
            raise ValueError(f"spectral_radius must be above 0, not {spectral_radius}")
        self.features_dim = embedding_dim
        self.inputs = nn.ModuleList(nn.Linear(grid_width(shape), embedding_dim) for shape in shapes)
        self.inputs.requires_grad_(False)
        recurrent = torch.randn(embedding_dim, embedding_dim)
        radius = torch.linalg.eigvals(recurrent).abs().max()
        self.register_buffer("recurrent", recurrent * (spectral_radius / radius))

    def forward(
        self, maps: Sequence[Tensor], context: Tensor, active: Tensor, rows: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Combine."""
        state = maps[0].new_zeros(len(maps[0]), self.features_dim)
        for layer, m, on in zip(self.inputs, maps, active, strict=True):
            state = torch.tanh(layer(grid_features(m)) * on + state @ self.recurrent)
        return state, None


COMBINERS: dict[str, type[Combiner]] = {
    "wsa": WSACombiner,
    "dot_product": DotProductCombiner,
    "linear_concat": LinearConcat,
    "fixed_linear_concat": FixedLinearConcat,
    "cnn_concat": CNNConcat,
    "combine": Combine,
    "reservoir": Reservoir,
}
