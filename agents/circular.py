"""Angles: the von Mises distribution, whose parameter is a vector that points where it wants to go.

A squashed Gaussian cuts the circle at 180 degrees and explores there least; this one knows no direction
better than another. With v = kappa (cos mu, sin mu) the density is exp(v . (cos t, sin t)) / (2 pi I0(kappa)).
Values are angles in units of pi, in [-1, 1].
"""

import math

import torch
from torch import Tensor

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
    kappa = concentration(vector)
    return math.log(2.0) + log_i0(kappa) - kappa * mean_resultant(kappa)


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
    return (torch.remainder(value + 1.0, 2.0) - 1.0).to(vector.dtype)
