"""Small features extractors for stock SB3 policies."""

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor


class Coordinates(BaseFeaturesExtractor):
    """Reads a ``MultiDiscrete`` observation as numbers in [-1, 1] instead of SB3's one-hot vectors.

    Where the values are ordered, such as rows and columns, numbers let a policy generalise to
    combinations that it never saw; one-hot vectors do not.

    Args:
        observation_space: a flat ``MultiDiscrete`` from 0.
    """

    def __init__(self, observation_space: spaces.Space):
        space = observation_space
        if not isinstance(space, spaces.MultiDiscrete) or space.nvec.ndim != 1 or space.start.any():
            raise ValueError(f"Coordinates reads a flat MultiDiscrete observation from 0, not {observation_space}")
        sizes = [int(n) for n in space.nvec]
        super().__init__(observation_space, features_dim=len(sizes))
        values = torch.zeros(sum(sizes), len(sizes))
        start = 0
        for column, size in enumerate(sizes):
            values[start : start + size, column] = torch.linspace(-1.0, 1.0, size) if size > 1 else 0.0
            start += size
        self.values: torch.Tensor
        self.register_buffer("values", values)  # (sum of sizes, number of sizes)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, sum of sizes) one-hot vectors, side by side -> (B, number of sizes)."""
        return observations @ self.values
