"""Small networks with adapters in them."""

import torch
from torch import nn

from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType


class Block(nn.Module):
    """An attention block that returns a tuple, as recurrent and attention layers do."""

    def __init__(self, width=16):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.q_proj, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        h = self.norm(x)
        h, weights = self.attention(self.q_proj(h), h, h)
        return x + self.out(h), weights


def perceptron():
    layers = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
    return nn.Sequential(*layers).eval(), (torch.randn(5, 8),)


def convolutional():
    layers = nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4)
    return nn.Sequential(*layers).eval(), (torch.randn(5, 4, 6, 6),)


def attention():
    return Block().eval(), (torch.randn(3, 6, 16),)


NETWORKS = (perceptron, convolutional, attention)
SHIPPED = [kind for kind in AdapterType if kind is not AdapterType.MULTI_MODAL]
FOLDING = (AdapterType.LORA, AdapterType.IA3, AdapterType.BITFIT)


def config(kind, **more):
    return AdapterConfig(adapter_type=kind, **{"hidden_dim": 8, "prefix_length": 3, **more})


def first(output):
    return output[0] if isinstance(output, tuple) else output


def train(model, inputs, steps=4, rate=0.05):
    """Push the outputs towards zero, in training mode; returns to evaluation mode."""
    optimizer = torch.optim.Adam(model.get_adapter_parameters(), rate)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        first(model(*inputs)).square().mean().backward()
        optimizer.step()
    model.eval()


def calls(network, inputs):
    with torch.no_grad():
        return first(network(*inputs))
