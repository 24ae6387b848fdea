"""What the meta-policy attends over: a token for every node of what was written, and for the task's columns and rows.

The policy is indifferent to where tokens come from. An observation encoder is any module that maps observations to
:class:`NodeTokens`; an action head is any module that maps what was fused, and the tokens, to logits.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

NODE_FEATURES = 4  # least numbers of a flat observation that make up one node: type, value, depth, parent
MOST_NODES = 16  # of a flat observation; attention costs as much as there are


class NodeTokens(NamedTuple):
    """Tokens of one observation each; a leading axis of 1 serves the whole batch."""

    tokens: Tensor
    """(B, N, D) nodes of the expression, or parts of the observation."""
    mask: Tensor
    """(B, N) True where there is a node."""
    position: Tensor
    """(B,) which node is decided on now."""
    columns: Tensor | None = None
    """(B, V, D) columns of the task's data."""
    columns_mask: Tensor | None = None
    """(B, V); None: all are there."""
    rows: Tensor | None = None
    """(B, R, D) rows of the task's data."""
    rows_mask: Tensor | None = None
    """(B, R); None: all are there."""
    now: Tensor | None = None
    """(B, D) the tokens that are decided on, where the encoder has them at hand; gathering them costs more."""

    def current(self) -> Tensor:
        """(B, D) tokens of the nodes that are decided on."""
        if self.now is not None:
            return self.now
        index = self.position[:, None, None].expand(-1, 1, self.tokens.shape[-1])
        return self.tokens.gather(1, index)[:, 0]

    def parts(self) -> list[tuple[Tensor, Tensor] | None]:
        """Nodes, columns and rows with their masks, in the order of the attention's keys; None what is missing."""
        found: list[tuple[Tensor, Tensor] | None] = [(self.tokens, self.mask)]
        for tokens, mask in ((self.columns, self.columns_mask), (self.rows, self.rows_mask)):
            if tokens is None:
                found.append(None)
            else:
                found.append((tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if mask is None else mask))
        return found


class FlatNodes(nn.Module):
    """Reads a flat observation (B, n) as nodes of some numbers each, behind one that sees everything.

    Args:
        observation_dim: n, cut into nodes of four numbers, or into 16 nodes if these would be more; the last one is
            filled with zeros.
        width: D of the tokens.
    """

    def __init__(self, observation_dim: int, width: int):
        super().__init__()
        self.observation_dim = observation_dim
        self.size = max(NODE_FEATURES, -(-observation_dim // MOST_NODES))
        n_nodes = -(-observation_dim // self.size)
        self.missing = n_nodes * self.size - observation_dim
        self.whole = nn.Linear(observation_dim, width)
        self.node = nn.Linear(self.size, width)
        self.place = nn.Parameter(0.1 * torch.randn(n_nodes, width))

    def forward(self, observation: Tensor) -> NodeTokens:
        """Tokens (B, 1 + nodes, D); the first one, which sees everything, is decided on.

        Raises:
            ValueError: the observation has another size.
        """
        if observation.ndim != 2 or observation.shape[1] != self.observation_dim:
            raise ValueError(f"observations must be (B, {self.observation_dim}), not {tuple(observation.shape)}")
        observation = observation.to(self.place.dtype)
        parts = nn.functional.pad(observation, (0, self.missing)).view(len(observation), len(self.place), self.size)
        whole = self.whole(observation)
        tokens = torch.cat([whole[:, None], self.node(parts) + self.place], 1)  # (B, 1 + nodes, D)
        real = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        return NodeTokens(tokens, real, real.new_zeros(len(tokens), dtype=torch.long), now=whole)


class LinearActions(nn.Module):
    """Logits (B, n) as a linear function of what was fused."""

    def __init__(self, width: int, action_dim: int):
        super().__init__()
        self.linear = nn.Linear(width, action_dim)
        nn.init.normal_(self.linear.weight, std=0.01 / width**0.5)  # all actions are about equally likely at first
        nn.init.zeros_(self.linear.bias)

    def forward(self, fused: Tensor, encoded: NodeTokens) -> Tensor:
        """(B, D) -> (B, n); the tokens are not needed."""
        logits: Tensor = self.linear(fused)
        return logits
