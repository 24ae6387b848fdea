"""Handwriting varies: small random affine and elastic changes of images, one ``grid_sample`` for all of them.

Every image has its own random numbers, so the same draw gives the same image in any batch. The elastic field is
a coarse grid of displacements, interpolated bicubically (Simard et al. 2003 smooth a fine one, to the same end).
"""

from dataclasses import dataclass
from functools import cached_property
from math import radians

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Jitter:
    """How far an image may be turned, scaled, sheared, shifted and bent; all draws are uniform and symmetric."""

    rotation: float
    """Degrees to either side."""
    scale: float
    """Logarithm of the scale of each axis: 0.1 is 10 % to either side."""
    shear: float
    """Tangent of the shear of the horizontal axis."""
    shift: float
    """Fraction of the image's size."""
    elastic: float
    """Largest displacement of a node of the coarse grid, as a fraction of the image's size."""
    nodes: int = 5
    """Nodes of the coarse grid along each axis."""

    @cached_property
    def numbers(self) -> int:
        """Random numbers that one image takes."""
        return 6 + (2 * self.nodes**2 if self.elastic else 0)

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Change float images (N, C, H, W) by uniform numbers in [0, 1), (N, ``numbers``); what moves in is 0."""
        spread = 2 * uniform - 1
        theta = self._affine(spread[:, :6])
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.elastic:
            field = spread[:, 6:].reshape(-1, 2, self.nodes, self.nodes) * (2 * self.elastic)
            bent = F.interpolate(field, size=images.shape[-2:], mode="bicubic", align_corners=True)
            grid = grid + bent.movedim(1, -1)
        return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)

    def _affine(self, spread: Tensor) -> Tensor:
        """Matrices (N, 2, 3) from draws in [-1, 1), (N, 6): angle, two scales, shear, two shifts."""
        angle = spread[:, 0] * radians(self.rotation)
        width, height = torch.exp(spread[:, 1] * self.scale), torch.exp(spread[:, 2] * self.scale)
        shear = spread[:, 3] * self.shear
        cos, sin = angle.cos(), angle.sin()
        first = torch.stack([width * cos, height * (shear * cos - sin), 2 * self.shift * spread[:, 4]], dim=1)
        second = torch.stack([width * sin, height * (shear * sin + cos), 2 * self.shift * spread[:, 5]], dim=1)
        return torch.stack([first, second], dim=1)
