"""Gaussians that are correlated within a graph: what all nodes try together can be told from what each tries.

The noise of node i in graph b is ``s_own * e_i + s_shared * z_b``. With independent noise alone the mean over
N nodes hardly ever moves, and it takes about N times as many samples to learn a control that all nodes share.
The covariance ``s_own^2 I + s_shared^2 1 1'`` has a closed-form inverse and determinant (Sherman-Morrison),
so that densities, entropies and divergences are exact.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.hybrid.segments import segment_sum


@dataclass(frozen=True)
class SharedNoise:
    """Scales of the noise of c values and where the M nodes belong.

    Attributes:
        own, shared: logarithms of the two standard deviations, (c,) each.
        graph: (M,) sorted graph of each node.
        counts: (B,) nodes of each graph.
    """

    own: Tensor
    shared: Tensor
    graph: Tensor
    counts: Tensor

    @property
    def log_std(self) -> Tensor:
        """Logarithm of the standard deviation of one node's value, (c,)."""
        return 0.5 * torch.logaddexp(2.0 * self.own, 2.0 * self.shared)

    @property
    def common_variance(self) -> Tensor:
        """The eigenvalue ``s_own^2 + N s_shared^2`` of the direction in which all nodes move together, (B, c)."""
        return torch.exp(2.0 * self.own) + self.counts.unsqueeze(1) * torch.exp(2.0 * self.shared)

    def sample(self) -> Tensor:
        """Noise (M, c)."""
        z = torch.randn(len(self.counts), len(self.own), device=self.own.device)
        e = torch.randn(len(self.graph), len(self.own), device=self.own.device)
        return self.own.exp() * e + (self.shared.exp() * z)[self.graph]

    def log_det(self) -> Tensor:
        """Logarithm of the determinant of each graph's covariance, (B, c)."""
        n = self.counts.unsqueeze(1)
        return torch.where(
            n > 0, 2.0 * (n - 1) * self.own + torch.log(self.common_variance), torch.zeros_like(self.own)
        )

    def quadratic(self, deviation: Tensor) -> Tensor:
        """``d' Sigma^-1 d`` of deviations (M, c) from the mean, per graph: (B, c)."""
        squares = segment_sum(deviation.square(), self.counts, self.graph)
        total = segment_sum(deviation, self.counts, self.graph)
        correction = torch.exp(2.0 * self.shared) * total.square() / self.common_variance
        return torch.exp(-2.0 * self.own) * (squares - correction)

    def log_prob(self, deviation: Tensor) -> Tensor:
        """Log-density (B,) of deviations (M, c) from the mean."""
        constant = self.counts.unsqueeze(1) * math.log(2.0 * math.pi)
        return -0.5 * (self.quadratic(deviation) + self.log_det() + constant).sum(dim=1)

    def entropy(self) -> Tensor:
        """Entropy (B,) in nats, before squashing."""
        constant = self.counts.unsqueeze(1) * math.log(2.0 * math.pi * math.e)
        return 0.5 * (self.log_det() + constant).sum(dim=1)

    def kl(self, other: "SharedNoise", shift: Tensor) -> Tensor:
        """KL(self || other) (B,), with the mean of self ``shift`` (M, c) away from the other's."""
        n = self.counts.unsqueeze(1)
        # Both covariances have the same eigenvectors: all together, and the n - 1 directions across.
        across = torch.exp(2.0 * (self.own - other.own))
        together = self.common_variance / other.common_variance
        trace = (n - 1) * across + together - n
        trace = torch.where(n > 0, trace, torch.zeros_like(trace))
        return 0.5 * (trace + other.quadratic(shift) + other.log_det() - self.log_det()).sum(dim=1)
