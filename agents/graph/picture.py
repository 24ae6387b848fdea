"""A small picture of each graph: what an image network is shown of a colony.

It is a fixed function of the observation, so that the embeddings of frozen networks can be kept. The first
two node features are positions relative to the centroid, the third is a signal (the intensity).
"""

import torch
from torch import Tensor

from agents.graph.batch import GraphBatch

SIDE = 24  # pixels
EXTENT = 2.0  # half the side, in units of the position features: colonies fill it, what is outside falls on the border
EDGE_POINTS = 6  # points drawn along each edge
CHANNELS = 3


def graph_pictures(batch: GraphBatch) -> Tensor:
    """Pictures (B, 3, 24, 24) in [0, 1], in steps of 1/255 like stored images.

    Red: how many nodes. Green: their mean signal, 0.5 at the mean of the graph, 0 where no node is.
    Blue: edges. The first position feature runs to the right, the second upwards.
    """
    parts = batch.parts
    node_pixels = _pixels(batch.x[:, :2]) + parts.graph * SIDE * SIDE
    size = batch.size * SIDE * SIDE
    count = torch.zeros(size, device=node_pixels.device).index_add_(0, node_pixels, torch.ones_like(batch.x[:, 0]))
    signal = torch.zeros_like(count).index_add_(0, node_pixels, batch.x[:, 2]) / count.clamp(min=1)
    green = torch.where(count > 0, 0.5 + 0.5 * torch.tanh(signal), torch.zeros_like(signal))
    source, target = batch.x[batch.edge_index[0], :2], batch.x[batch.edge_index[1], :2]  # (K, 2)
    along = torch.linspace(0.0, 1.0, EDGE_POINTS, device=source.device).view(-1, 1, 1)
    points = _pixels(source + along * (target - source))  # (EDGE_POINTS, K)
    edge_pixels = (points + parts.graph[batch.edge_index[0]] * SIDE * SIDE).flatten()
    edges = torch.zeros_like(count).index_add_(0, edge_pixels, torch.ones_like(edge_pixels, dtype=count.dtype))
    layers = torch.stack([1.0 - torch.exp(-0.5 * count), green, 1.0 - torch.exp(-0.25 * edges)])
    pictures = layers.view(CHANNELS, batch.size, SIDE, SIDE).transpose(0, 1)
    return (pictures * 255.0).round() / 255.0


def _pixels(positions: Tensor) -> Tensor:
    """Pixel numbers (...) within one picture, of positions (..., 2); row 0 is the top."""
    cells = ((positions / EXTENT + 1.0) * 0.5 * SIDE).long().clamp(0, SIDE - 1)
    return (SIDE - 1 - cells[..., 1]) * SIDE + cells[..., 0]
