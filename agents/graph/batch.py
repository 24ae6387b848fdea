"""Padded graphs of an observation, packed: only real nodes and edges go through a network.

The observation is a Dict of padded arrays: ``x`` (P, F), ``node_mask`` (P,), ``edge_index`` (2, E) with
``num_edges`` (1,), ``edge_attr`` (E, A), ``graph`` (G,) and, where actions are per node, ``action_mask``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from agents.hybrid.distribution import Parts

GRAPH_KEYS = ("x", "node_mask", "edge_index", "edge_attr", "num_edges", "graph")


@dataclass(frozen=True)
class GraphShape:
    """Sizes that a graph observation space fixes."""

    max_nodes: int
    node_dim: int
    edge_dim: int
    graph_dim: int

    @staticmethod
    def of(space: spaces.Space[Any]) -> "GraphShape":
        """Read the sizes off a Dict space, or say which keys it lacks."""
        missing = [key for key in GRAPH_KEYS if not isinstance(space, spaces.Dict) or key not in space.spaces]
        if missing or not isinstance(space, spaces.Dict):
            raise ValueError(
                f"a graph policy needs a Dict observation with {', '.join(GRAPH_KEYS)}; missing: {missing}"
            )
        shapes = {key: space[key].shape or () for key in GRAPH_KEYS}
        return GraphShape(shapes["x"][0], shapes["x"][1], shapes["edge_attr"][1], shapes["graph"][0])


class GraphBatch:
    """B graphs without their padding; M nodes and K edges in all.

    Attributes:
        padded: nodes as they came, (B, P, F), zeros in the padding.
        graph: features of whole graphs, (B, G).
    """

    def __init__(self, observation: Mapping[str, Tensor]):
        self._observation = observation
        real = (observation["node_mask"] > 0).unsqueeze(-1)
        self.padded = torch.where(real, observation["x"], 0.0).float()  # VecNormalize leaves other things there
        self.graph = observation["graph"].float()
        self.size = len(self.graph)

    @cached_property
    def node_counts(self) -> Tensor:
        """Real nodes of each graph, (B,) float."""
        return self._observation["node_mask"].sum(dim=1, dtype=self.graph.dtype)

    @cached_property
    def parts(self) -> Parts:
        """Graph and slot of each real node, and nodes per graph."""
        return Parts.of(self._observation["node_mask"] > 0)

    @cached_property
    def x(self) -> Tensor:
        """Features of the real nodes, (M, F), those of one graph after those of the graph before."""
        return self.padded[self.parts.graph, self.parts.slot]

    @cached_property
    def _edge_rows(self) -> tuple[Tensor, Tensor]:
        """Graph and slot of each real edge, (K,) each."""
        slots = torch.arange(self._observation["edge_index"].shape[-1], device=self.graph.device)
        graph, slot = (slots < self._observation["num_edges"].long()).nonzero(as_tuple=True)
        return graph, slot

    @cached_property
    def edge_index(self) -> Tensor:
        """Source and target rows of ``x`` of each edge, (2, K)."""
        graph, slot = self._edge_rows
        mask = self._observation["node_mask"] > 0
        row_of_slot = (mask.flatten().cumsum(0) - 1).view(mask.shape)  # (B, P)
        ends = self._observation["edge_index"][graph, :, slot].long()  # (K, 2), slots within a graph
        return row_of_slot[graph.unsqueeze(1), ends].t().contiguous()

    @cached_property
    def edge_attr(self) -> Tensor:
        """Features of the real edges, (K, A)."""
        graph, slot = self._edge_rows
        return self._observation["edge_attr"][graph, slot].float()

    def allowed(self, n_options: int) -> Tensor | None:
        """Action masks of the real nodes, (M, n_options) bool; None where the observation has none."""
        if "action_mask" not in self._observation:
            return None
        masks = self._observation["action_mask"].view(self.size, -1, n_options) > 0
        return masks[self.parts.graph, self.parts.slot]


@dataclass(frozen=True)
class Tokens:
    """What an encoder returns: ``nodes`` (M, D) and ``graph`` (B, D)."""

    nodes: Tensor
    graph: Tensor
