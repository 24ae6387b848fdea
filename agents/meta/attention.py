"""Attention of one query over sets of tokens, and what is made of the two vectors that meet there."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Fusion = Literal["attention", "gating", "bilinear"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
Weighting = Literal["learned", "uniform"]
SMALLEST = 1e-12  # below it a weight adds nothing to an entropy, whose slope would be infinite at 0


class TaskAttention(nn.Module):
    """Multi-head attention of one query per sample over several sets of tokens (Vaswani et al. 2017, section 3.2).

    With one query, keys and values need not be computed for every token: the query goes through the key's matrix, and
    the weighted mean of the tokens through the value's. The result is the same, at a cost of D^2 + N D instead
    of N D^2.

    Args:
        width: D.
        heads: must divide D.
        n_sets: how many sets of tokens there may be; each has a vector that tells its tokens from the others'.
        weighting: "uniform" gives every token the same weight: the control for what attention is worth.
    """

    def __init__(self, width: int, heads: int, n_sets: int, weighting: Weighting = "learned"):
        super().__init__()
        if weighting not in get_args(Weighting):
            raise ValueError(f"weighting must be one of {', '.join(get_args(Weighting))}, not {weighting!r}")
        self.heads, self.weighting = heads, weighting
        self.norm = nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.kinds = nn.Parameter(0.1 * torch.randn(n_sets, width))

    def forward(self, query: Tensor, sets: Sequence[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor]:
        """What a query (B, D) finds in sets of (tokens (B, N, D), mask (B, N)): (B, D), and weights (B, H, sum of N).

        Weights of masked tokens are 0; a sample without any real token gets finite numbers.
        """
        present = [(kind, *part) for kind, part in enumerate(sets) if part is not None]
        lookup = self._lookup(query)  # (B, H, D)
        scores = []
        for kind, tokens, mask in present:
            score = lookup @ tokens.transpose(1, 2) + (lookup @ self.kinds[kind])[..., None]  # (B, H, N)
            scores.append(score.masked_fill(~mask[:, None], torch.finfo(score.dtype).min))
        weights = torch.softmax(torch.cat(scores, 2), 2)
        found = torch.zeros_like(lookup)
        for (kind, tokens, _), part in zip(present, torch.split(weights, [s.shape[2] for s in scores], 2), strict=True):
            found = found + part @ tokens + part.sum(2, keepdim=True) * self.kinds[kind]
        matrix = self.value.weight.view(self.heads, -1, query.shape[1])  # (H, d, D)
        values = torch.einsum("bhe,hde->bhd", found, matrix).flatten(1) + self.value.bias
        return self.output(values), weights

    def _lookup(self, query: Tensor) -> Tensor:
        """(B, H, D): the scores of a head are its products with the tokens."""
        if self.weighting == "uniform":
            return query.new_zeros(len(query), self.heads, query.shape[1])
        asked = self.query(self.norm(query)).view(len(query), self.heads, query.shape[1] // self.heads)
        matrix = self.key.weight.view(self.heads, -1, query.shape[1])  # (H, d, D)
        scale: float = asked.shape[2] ** -0.5
        return torch.einsum("bhd,hde->bhe", asked, matrix) * scale


def attention_entropy(weights: Tensor) -> Tensor:
    """Entropy (B, H) in nats of weights (B, H, N); between 0 and log N.

    >>> attention_entropy(torch.tensor([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]])).exp()
    tensor([[2., 1.]])
    """
    return -(weights * weights.clamp_min(SMALLEST).log()).sum(-1)


class FuseByAttention(nn.Module):
    """The task's vector takes in what it found, and both go through a small net (a transformer block's second half)."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, task: Tensor, tree: Tensor) -> Tensor:
        """(B, D), (B, D) -> (B, D)."""
        x = self.first(task + tree)
        fused: Tensor = self.second(x + self.outer(nn.functional.gelu(self.inner(x))))
        return fused


class FuseByGate(nn.Module):
    """A gate chooses, number by number, between the task's vector and what was found."""

    def __init__(self, width: int):
        super().__init__()
        self.gate, self.norm = nn.Linear(2 * width, width), nn.LayerNorm(width)

    def forward(self, task: Tensor, tree: Tensor) -> Tensor:
        """(B, D), (B, D) -> (B, D)."""
        gate = torch.sigmoid(self.gate(torch.cat([task, tree], 1)))
        fused: Tensor = self.norm(gate * task + (1 - gate) * tree)
        return fused


class FuseByProduct(nn.Module):
    """A bilinear form of rank D (Kim et al. 2017, "Hadamard Product for Low-rank Bilinear Pooling", equation 4).

    A full one would have D^3 weights: 17 million at a width of 256.
    """

    def __init__(self, width: int):
        super().__init__()
        self.task, self.tree, self.out = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)

    def forward(self, task: Tensor, tree: Tensor) -> Tensor:
        """(B, D), (B, D) -> (B, D)."""
        fused: Tensor = self.norm(tree + self.out(self.task(task) * self.tree(tree)))
        return fused


def make_fusion(fusion: str, width: int) -> nn.Module:
    """The fusion of that name.

    Raises:
        ValueError: there is none.
    """
    makers = dict(zip(FUSIONS, (FuseByAttention, FuseByGate, FuseByProduct), strict=True))
    if not isinstance(fusion, str) or fusion not in makers:
        raise ValueError(f"fusion_type must be one of {', '.join(FUSIONS)}, not {fusion!r}")
    return makers[fusion](width)  # type: ignore[index]
