"""Angles: the von Mises distribution, whose parameter is a vector that points where it wants to go.

A squashed Gaussian cuts the circle at 180 degrees and explores there least; this one knows no direction
better than another. With v = kappa (cos mu, sin mu) the density is exp(v . (cos t, sin t)) / (2 pi I0(kappa)).
Values are angles in units of pi, in [-1, 1].
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.hybrid.segments import segment_sum

TINY = 1e-6  # below this concentration all angles are alike


def concentration(vector: Tensor) -> Tensor:
    """kappa (...,) of vectors (..., 2); with a gradient at zero."""
    return torch.sqrt(vector.square().sum(dim=-1) + TINY**2)


def log_i0(kappa: Tensor) -> Tensor:
    """log of the modified Bessel function of order 0, without overflow."""
    return torch.log(torch.special.i0e(kappa)) + kappa


def mean_resultant(kappa: Tensor) -> Tensor:
    """E[cos(t - mu)] = I1(kappa) / I0(kappa), in [0, 1)."""
    resultant: Tensor = torch.special.i1e(kappa) / torch.special.i0e(kappa)
    return resultant


def angle_log_prob(value: Tensor, vector: Tensor) -> Tensor:
    """Log-density (...,) of values in units of pi, under vectors (..., 2)."""
    angle = math.pi * value
    along = vector[..., 0] * torch.cos(angle) + vector[..., 1] * torch.sin(angle)
    return along - log_i0(concentration(vector)) - math.log(2.0)  # -log(2 pi) + log(pi) for the unit


def angle_entropy(vector: Tensor) -> Tensor:
    """Entropy (...,) in nats of values in units of pi; at most log 2."""
    return _entropy_of(concentration(vector))


def angle_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) (...,) between vectors (..., 2)."""
    kappa = concentration(p)
    mean = p * (mean_resultant(kappa) / kappa).unsqueeze(-1)  # E[(cos t, sin t)] under p
    return ((p - q) * mean).sum(dim=-1) - log_i0(kappa) + log_i0(concentration(q))


def angle_mode(vector: Tensor) -> Tensor:
    """The most likely value (...,) in units of pi."""
    return torch.atan2(vector[..., 1], vector[..., 0]) / math.pi


@torch.no_grad()
def sample_angle(vector: Tensor) -> Tensor:
    """Draw values (...,) in units of pi by rejection (Best and Fisher 1979, Applied Statistics 28:152)."""
    kappa = concentration(vector).flatten().double().clamp(min=1e-4)
    tau = 1.0 + torch.sqrt(1.0 + 4.0 * kappa**2)
    rho = (tau - torch.sqrt(2.0 * tau)) / (2.0 * kappa)
    r = (1.0 + rho**2) / (2.0 * rho)
    cosine = torch.empty_like(kappa)
    left = torch.arange(len(kappa), device=kappa.device)
    while len(left):
        u = torch.rand(2, len(left), device=kappa.device, dtype=kappa.dtype)
        z = torch.cos(math.pi * u[0])
        f = (1.0 + r[left] * z) / (r[left] + z)
        c = kappa[left] * (r[left] - f)
        accepted = (c * (2.0 - c) > u[1]) | (torch.log(c / u[1]) + 1.0 - c >= 0.0)
        cosine[left[accepted]] = f[accepted]
        left = left[~accepted]
    offset = torch.acos(cosine.clamp(-1.0, 1.0)) * torch.sign(torch.rand_like(cosine) - 0.5)
    value = (offset / math.pi + angle_mode(vector).flatten().double()).view(vector.shape[:-1])
    return _wrap(value).to(vector.dtype)


@dataclass(frozen=True)
class SharedAngles:
    """Angles that the nodes of a graph choose together, each with a deviation of its own.

    A direction z of the whole graph is von Mises with the vector ``lead``; given z, the angle of node i is
    von Mises around ``z + offset_i``. Nobody sees z, and summing over it has a closed form: the angles of a
    graph have the density ``I0(|lead + kappa sum_i u_i|) / (I0(|lead|) prod_i 2 pi I0(kappa))``, where u_i is the
    unit vector of angle i minus its offset. What the nodes do together is explored, and stays exact.

    Attributes:
        lead: (B, a, 2) for each of B graphs and a angles.
        offset: (M, a) radians, of each of M nodes.
        log_kappa: (a,) logarithm of the concentration of the nodes' own deviations.
        graph: (M,) sorted graph of each node.
        counts: (B,) nodes of each graph.
    """

    lead: Tensor
    offset: Tensor
    log_kappa: Tensor
    graph: Tensor
    counts: Tensor

    @property
    def own(self) -> Tensor:
        """Vectors (M, a, 2) of the nodes' deviations around the common direction."""
        offset = self.offset
        return self.log_kappa.exp().view(1, -1, 1) * torch.stack([torch.cos(offset), torch.sin(offset)], dim=-1)

    def sample(self) -> Tensor:
        """Values (M, a) in units of pi."""
        return _wrap(sample_angle(self.lead)[self.graph] + sample_angle(self.own))

    def mode(self) -> Tensor:
        """All nodes at their offset from the common direction, (M, a)."""
        return _wrap(angle_mode(self.lead)[self.graph] + self.offset / math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density (B,) of values (M, a)."""
        kappa = self.log_kappa.exp()
        angle = math.pi * value - self.offset
        units = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)  # (M, a, 2)
        total = self.lead + kappa.view(1, -1, 1) * segment_sum(units, self.counts, self.graph)
        nodes = self.counts.unsqueeze(1) * (math.log(2.0) + log_i0(kappa))
        return (log_i0(concentration(total)) - log_i0(concentration(self.lead)) - nodes).sum(dim=1)

    def entropy(self) -> Tensor:
        """Entropy (B,) in nats, by the chain rule over z; what is left of z is taken at its typical concentration."""
        kappa, strength = self.log_kappa.exp(), concentration(self.lead)  # (a,), (B, a)
        typical = strength + self.counts.unsqueeze(1) * kappa * mean_resultant(kappa)
        nodes = self.counts.unsqueeze(1) * _entropy_of(kappa)
        return (_entropy_of(strength) + nodes - _entropy_of(typical)).sum(dim=1)

    def kl(self, other: "SharedAngles") -> Tensor:
        """An upper bound of KL(self || other) (B,): that of the angles together with z."""
        nodes = segment_sum(angle_kl(self.own, other.own), self.counts, self.graph)
        return (angle_kl(self.lead, other.lead) + nodes).sum(dim=1)


def _entropy_of(kappa: Tensor) -> Tensor:
    return math.log(2.0) + log_i0(kappa) - kappa * mean_resultant(kappa)


def _wrap(value: Tensor) -> Tensor:
    return torch.remainder(value + 1.0, 2.0) - 1.0
