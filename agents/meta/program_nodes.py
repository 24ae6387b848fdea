"""Reads the symbolic world's observation: tokens of the expression, and columns and rows of the data.

Columns have no names: a column's vector is made of what it holds, is the embedding of its token in the expression, and
is the key of that token where the next one is chosen (a pointer; Vinyals et al. 2015). Whatever order the columns
are in, the same expression is written.
"""

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from agents.meta.nodes import NodeTokens

PRODUCTS = 6  # numbers that are made of an input and the target


class ProgramNodes(nn.Module):
    """Dict observations with ``tokens``, ``slot`` and ``data`` as nodes, columns and rows.

    The node that is decided on comes first; it knows its parent, its sibling and how much room is left. ``data`` may
    have a leading axis of 1, if all observations are of one task.

    Args:
        observation_space: of ``rl_suite/SymbolicRegression-v0``.
        action_space: its tokens; the columns are the last ones.
        width: D.

    Raises:
        ValueError: another space.
    """

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], width: int):
        super().__init__()
        entries = dict(observation_space.spaces) if isinstance(observation_space, spaces.Dict) else {}
        if not {"tokens", "slot", "data"} <= set(entries) or not isinstance(action_space, spaces.Discrete):
            raise ValueError("ProgramNodes reads the observations of rl_suite/SymbolicRegression-v0")
        (self.length,), (_, wide) = entries["tokens"].shape or (0,), entries["data"].shape or (0, 0)
        self.n_columns, self.n_symbols = wide - 1, int(action_space.n) - (wide - 1)
        self.symbols = nn.Embedding(self.n_symbols, width)
        self.nothing = nn.Parameter(0.1 * torch.randn(width))
        self.column = nn.Sequential(nn.Linear(PRODUCTS, width), nn.GELU(), nn.Linear(width, width))
        self.row_input, self.row_target = nn.Linear(2, width), nn.Linear(1, width)
        self.row = nn.Sequential(nn.GELU(), nn.Linear(width, width))
        self.written, self.above, self.beside = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.room, self.places = nn.Linear(2, width), nn.Parameter(0.1 * torch.randn(self.length, width))

    def forward(self, obs: dict[str, Tensor]) -> NodeTokens:
        """Nodes (B, 1 + length, D), columns and rows (B or 1, ..., D)."""
        columns, rows, present = self._table(obs["data"])
        tokens, slot = obs["tokens"].long(), obs["slot"]
        symbols = self.symbols.weight.expand(len(columns), -1, -1)
        nothing = self.nothing.expand(len(columns), 1, -1)
        vocabulary = torch.cat([nothing, symbols, columns], 1)  # (B or 1, 1 + n, D) of ids + 1

        def look_up(role: nn.Module, ids: Tensor) -> Tensor:
            words: Tensor = role(vocabulary).expand(len(ids), -1, -1)
            return words.gather(1, ids[..., None].expand(-1, -1, words.shape[2]))

        nodes = look_up(self.written, tokens) + self.places
        parent, sibling = slot[:, :1].long(), slot[:, 1:2].long()
        hole = look_up(self.above, parent) + look_up(self.beside, sibling)
        hole = hole[:, 0] + self.room(slot[:, 2:].float() / self.length)
        mask = torch.cat([tokens[:, :1] >= 0, tokens > 0], 1)  # the open node is always there
        first = torch.zeros_like(tokens[:, 0])
        return NodeTokens(torch.cat([hole[:, None], nodes], 1), mask, first, columns, present, rows, now=hole)

    def _table(self, data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of columns (B, V, D) and rows (B, R, D), and which columns are there (B, V)."""
        data = data.float()
        x, y = data[..., :-1], data[..., -1:]  # (B, R, V), (B, R, 1)
        present = (x != 0).any(1)
        y_wide = y.expand_as(x)
        made = torch.stack([x, x * y_wide, x * x, x * x * y_wide, x.abs() * y_wide, x.abs()], -1)  # (B, R, V, 6)
        columns = self.column(made).mean(1) * present[..., None]
        inputs = torch.tanh(self.row_input(torch.stack([x, x * x], -1)))  # (B, R, V, D)
        share = present / present.sum(1, keepdim=True).clamp_min(1)
        rows = self.row((inputs * share[:, None, :, None]).sum(2) + self.row_target(y))
        return columns, rows, present


class PointerActions(nn.Module):
    """Logits of operations and numbers, and of columns by how well their vectors fit."""

    def __init__(self, width: int, action_dim: int, n_columns: int):
        super().__init__()
        self.symbol = nn.Linear(width, action_dim - n_columns)
        self.pointer, self.key = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, fused: Tensor, encoded: NodeTokens) -> Tensor:
        """(B, D) and columns (B or 1, V, D) -> (B, n)."""
        if encoded.columns is None:
            raise ValueError("PointerActions needs an encoder that supplies columns")
        keys = self.key(encoded.columns)
        pointed = (keys @ self.pointer(fused)[..., None])[..., 0] * fused.shape[1] ** -0.5  # (B, V)
        return torch.cat([self.symbol(fused), pointed], 1)
