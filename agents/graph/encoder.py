"""Encoders of packed graphs: from a GraphBatch to node tokens (M, D) and graph tokens (B, D).

All are permutation equivariant in the nodes, and what they say of graph i depends on graph i only.
"""

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from agents.graph.batch import GraphBatch, GraphShape, Tokens
from agents.hybrid.segments import segment_mean

SMALLEST_SPREAD = 1e-3  # of a node feature; below it there is nothing to correlate with


class SimplicialEmbedding(nn.Module):
    """Split D values into groups and take a softmax in each: D numbers become a product of simplices.

    Lavoie et al. 2022 (arXiv 2204.00616); shown to steady actor-critics in arXiv 2510.13704. Group g holds
    the entries g, g + L, g + 2L, ...: with the groups side by side a softmax is ten times as fast.

    >>> z = SimplicialEmbedding(groups=2)(torch.randn(5, 8))
    >>> z.shape, bool(torch.allclose(z.view(5, 4, 2).sum(1), torch.ones(5, 2)))
    (torch.Size([5, 8]), True)
    """

    def __init__(self, groups: int, temperature: float = 1.0):
        super().__init__()
        self.groups, self.temperature = groups, temperature

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D); D must be a multiple of ``groups``."""
        grouped = x.reshape(*x.shape[:-1], x.shape[-1] // self.groups, self.groups)  # (..., D / L, L)
        return torch.softmax(grouped / self.temperature, dim=-2).flatten(-2)


def moments(batch: GraphBatch) -> Tensor:
    """Means, spreads, correlations and slopes of the node features of each graph, (B, :func:`moments_width`).

    The first two features are positions relative to the centroid; they share one spread, so that correlations
    with them turn when the world turns. The slopes are those of the planes that fit each other feature best: the
    correlation with a long thin colony's positions points along the colony, its slope up the gradient.
    Spreads are square roots of second moments. Padding is zero, hence adds nothing.
    """
    counts = batch.node_counts.clamp(min=1).unsqueeze(1)
    means = batch.padded.sum(dim=1) / counts  # (B, F)
    width = means.shape[1]
    second = (batch.padded.transpose(1, 2) @ batch.padded).flatten(1) / counts  # (B, F F)
    squares = second[:, :: width + 1]  # (B, F), the diagonal
    position = squares[:, :2].mean(dim=1, keepdim=True).expand(-1, 2)
    spreads = torch.sqrt(torch.cat([position, squares[:, 2:]], dim=1) + SMALLEST_SPREAD**2)
    rows, columns = torch.triu_indices(width, width, offset=1, device=second.device)
    products = spreads.index_select(1, rows) * spreads.index_select(1, columns)
    correlations = second.index_select(1, rows * width + columns) / products
    slopes = plane_slopes(second.view(-1, width, width))
    return torch.cat([means, torch.sqrt(squares), correlations, slopes], dim=1)


def moments_width(features: int) -> int:
    """Length of :func:`moments` for F node features: 2 F + F (F - 1) / 2 + 2 (F - 2)."""
    return 2 * features + features * (features - 1) // 2 + 2 * (features - 2)


def plane_slopes(second: Tensor, ridge: float = 1e-3) -> Tensor:
    """Slopes against the first two features of the planes that fit the others, (B, 2 (F - 2)), from second moments.

    The ridge, a fraction of the spread of the positions, keeps nodes on a line from inventing a slope across it.

    >>> xs, ys = torch.tensor([[-1.0, 1.0, -1.0, 1.0]]), torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    >>> nodes = torch.stack([xs, ys, 2 * xs + 3 * ys], dim=2)
    >>> [round(slope, 3) for slope in plane_slopes(nodes.transpose(1, 2) @ nodes / 4, ridge=0.0)[0].tolist()]
    [2.0, 3.0]
    """
    (xx, xy), (yx, yy) = second[:, :2, :2].permute(1, 2, 0).unsqueeze(-1)  # (B, 1) each
    damping = ridge * (xx + yy) + SMALLEST_SPREAD**2
    xx, yy = xx + damping, yy + damping
    along_x, along_y = second[:, 0, 2:], second[:, 1, 2:]  # (B, F - 2)
    determinant = xx * yy - xy * yx
    slopes = [(yy * along_x - xy * along_y) / determinant, (xx * along_y - yx * along_x) / determinant]
    return torch.stack(slopes, dim=2).flatten(1)


class FeatureEncoder(nn.Module):
    """An MLP on the features of the whole graph and the moments of its nodes; hardly any work per node.

    Node tokens are ``relu(W x_i + V graph token)``; where actions belong to the whole graph, there are none.
    """

    def __init__(self, shape: GraphShape, hidden_dim: int, per_node: bool):
        super().__init__()
        width = shape.graph_dim + moments_width(shape.node_dim)
        self.out_dim, self.per_node = hidden_dim, per_node
        self.graph_mlp = nn.Sequential(
            nn.Linear(width, hidden_dim), nn.Tanh(), nn.Linear(hidden_dim, hidden_dim), nn.Tanh()
        )
        if per_node:
            self.node_in = nn.Linear(shape.node_dim, hidden_dim)
            self.token_in = nn.Linear(hidden_dim, hidden_dim, bias=False)

    def forward(self, batch: GraphBatch) -> Tokens:
        """Encode a batch."""
        token = self.graph_mlp(torch.cat([batch.graph, moments(batch)], dim=1))  # (B, D)
        if not self.per_node:
            return Tokens(token, token)
        return Tokens(torch.relu(self.node_in(batch.x) + self.token_in(token)[batch.parts.graph]), token)


class DeepSets(nn.Module):
    """Zaheer et al. 2017: encode each node, take the mean, encode that; edges are not looked at."""

    def __init__(self, shape: GraphShape, hidden_dim: int, per_node: bool):
        super().__init__()
        self.out_dim, self.per_node = hidden_dim, per_node
        self.node_mlp = nn.Sequential(
            nn.Linear(shape.node_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU()
        )
        self.graph_mlp = nn.Sequential(
            nn.Linear(hidden_dim + shape.graph_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim)
        )
        if per_node:
            self.token_in = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, batch: GraphBatch) -> Tokens:
        """Encode a batch."""
        parts = batch.parts
        nodes = self.node_mlp(batch.x)  # (M, D)
        pooled = segment_mean(nodes, parts.counts, parts.graph)  # (B, D)
        token = self.graph_mlp(torch.cat([pooled, batch.graph], dim=1))
        if not self.per_node:
            return Tokens(token, token)
        return Tokens(torch.relu(nodes + self.token_in(token)[parts.graph]), token)


def transformer_convolution(hidden_dim: int, heads: int, edge_dim: int) -> nn.Module:
    """PyG's TransformerConv (Shi et al. 2021, arXiv 2009.03509); PyG is imported here, as that takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyG calls torch.jit.script while it is imported
        from torch_geometric.nn import TransformerConv
    convolution: nn.Module = TransformerConv(hidden_dim, hidden_dim // heads, heads, edge_dim=edge_dim)
    return convolution


class GraphTransformer(nn.Module):
    """TransformerConv layers with edge features beside a graph token, both through a simplicial embedding.

    Messages run along edges in both directions (with the direction of the edge turned). In each layer the
    token is told the mean of the nodes, and the nodes are told the token.

    Args:
        shape: sizes of the observation.
        hidden_dim: D, a multiple of ``heads`` and of ``groups``.
        per_node: unused here, since nodes are always encoded.
        layers: number of TransformerConv layers.
        heads: attention heads in each.
        groups: groups of the simplicial embedding; 0 leaves it out.
        temperature: of its softmax.
    """

    def __init__(
        self,
        shape: GraphShape,
        hidden_dim: int,
        per_node: bool,
        layers: int = 3,
        heads: int = 4,
        groups: int = 16,
        temperature: float = 1.0,
    ):
        super().__init__()
        self.out_dim, self.per_node = hidden_dim, per_node
        for name, divisor in (("heads", heads), ("groups", groups or 1)):
            if hidden_dim % divisor:
                raise ValueError(f"hidden_dim={hidden_dim} must be a multiple of {name}={divisor}")
        self.node_in = nn.Linear(shape.node_dim, hidden_dim)
        self.token_in = nn.Linear(shape.graph_dim, hidden_dim)
        self.convolutions = nn.ModuleList(
            transformer_convolution(hidden_dim, heads, shape.edge_dim) for _ in range(layers)
        )
        self.node_norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(layers))
        self.token_norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(layers))
        self.to_token = nn.ModuleList(nn.Linear(2 * hidden_dim, hidden_dim) for _ in range(layers))
        self.to_nodes = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim, bias=False) for _ in range(layers))
        self.embedding = SimplicialEmbedding(groups, temperature) if groups else nn.Identity()

    def forward(self, batch: GraphBatch) -> Tokens:
        """Encode a batch."""
        parts = batch.parts
        edges = torch.cat([batch.edge_index, batch.edge_index.flip(0)], dim=1)  # (2, 2K)
        turned = torch.cat([batch.edge_attr[:, :1], -batch.edge_attr[:, 1:]], dim=1)
        attributes = torch.cat([batch.edge_attr, turned])  # (2K, A)
        nodes, token = self.node_in(batch.x), self.token_in(batch.graph)  # (M, D), (B, D)
        for layer, convolution in enumerate(self.convolutions):
            told = self.to_nodes[layer](token)[parts.graph]
            nodes = self.node_norms[layer](nodes + torch.relu(convolution(nodes, edges, attributes) + told))
            pooled = segment_mean(nodes, parts.counts, parts.graph)
            token = self.token_norms[layer](token + torch.relu(self.to_token[layer](torch.cat([token, pooled], dim=1))))
        return Tokens(self.embedding(nodes), self.embedding(token))


Encoder = FeatureEncoder | DeepSets | GraphTransformer
EncoderName = Literal["features", "deepsets", "gnn"]
ENCODERS: dict[str, type[FeatureEncoder] | type[DeepSets] | type[GraphTransformer]] = {
    "features": FeatureEncoder,
    "deepsets": DeepSets,
    "gnn": GraphTransformer,
}
