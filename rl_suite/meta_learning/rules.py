"""Update rules of the inner loop, as pure functions: weights, gradients and learned rates in, weights out.

All rules broadcast over a leading task axis: where weights and gradients are (T, *shape), rates of (*shape)
or () serve all tasks.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
"""Parameters by name, each (*shape), or (T, *shape) for T tasks at once."""
Rates = Mapping[str, Tensor]
"""Inner learning rates by name of the parameter; what a rule makes of them, it says."""


class Rule(Protocol):
    """One inner step. Weights without a gradient stay as they are."""

    def __call__(self, weights: Weights, gradients: Weights, rates: Rates, step: int) -> dict[str, Tensor]:
        """The weights after inner step ``step`` (0, 1, ...)."""


SHARED = ""  # the name of a rate that serves all parameters


def sgd(weights: Weights, gradients: Weights, rates: Rates, step: int) -> dict[str, Tensor]:
    """Gradient descent with one rate for all parameters (Finn et al. 2017, equation 1).

    >>> sgd({"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}, fixed_rate(0.1), 0)
    {'w': tensor([0.8000])}
    """
    rate = rates[SHARED]
    moved = {name: weights[name] - rate * gradient for name, gradient in gradients.items()}
    return {**weights, **moved}


def meta_sgd(weights: Weights, gradients: Weights, rates: Rates, step: int) -> dict[str, Tensor]:
    """A learned rate for every single weight, of its shape (Li et al. 2017, "Meta-SGD", equation 3)."""
    moved = {name: weights[name] - rates[name] * gradient for name, gradient in gradients.items()}
    return {**weights, **moved}


def per_step(weights: Weights, gradients: Weights, rates: Rates, step: int) -> dict[str, Tensor]:
    """A learned rate (steps,) for every parameter tensor and step (Antoniou et al. 2019, section 4, LSLR).

    Steps beyond those that have rates use the last one.
    """
    moved = {
        name: weights[name] - rates[name][min(step, len(rates[name]) - 1)] * gradient
        for name, gradient in gradients.items()
    }
    return {**weights, **moved}


def fixed_rate(lr: float) -> dict[str, Tensor]:
    """The rate of :func:`sgd`."""
    return {SHARED: torch.tensor(lr, dtype=torch.float64)}  # () of any type leaves the type of the weights


def meta_sgd_rates(weights: Weights, lr: float) -> dict[str, Tensor]:
    """Rates of :func:`meta_sgd` that begin as those of :func:`sgd`."""
    return {name: torch.full_like(value, lr) for name, value in weights.items()}


def per_step_rates(weights: Weights, lr: float, steps: int) -> dict[str, Tensor]:
    """Rates of :func:`per_step` that begin as those of :func:`sgd`."""
    return {name: value.new_full((steps,), lr) for name, value in weights.items()}


def clip_gradients(gradients: Weights, max_norm: float, stacked: bool) -> dict[str, Tensor]:
    """Scale the gradients of each task down to a common norm of at most ``max_norm``."""
    together = torch.cat([g.flatten(1 if stacked else 0) for g in gradients.values()], -1)  # one sum for all
    squares = together.square().sum(-1)  # () or (T,)
    factor = max_norm / squares.clamp_min(max_norm**2).sqrt()
    return {name: g * (factor.reshape(-1, *[1] * (g.ndim - 1)) if stacked else factor) for name, g in gradients.items()}
