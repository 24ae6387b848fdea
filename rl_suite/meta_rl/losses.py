"""What inner and outer steps descend, on episodes that a policy with other weights may have played."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agents.meta_policy import attention_entropy
from rl_suite.meta_rl.config import MetaTrainingSection
from rl_suite.meta_rl.rollouts import FORBIDDEN, Steps

TINY = 1e-8
SMALL = 0.1  # mean square of returns below which values are not scaled up further


@dataclass(frozen=True)
class EpisodeLoss:
    """The weighted sum of the losses on a few episodes."""

    settings: MetaTrainingSection
    elite: bool = False
    """Whether the policy's part is the likelihood of the best episodes."""

    def __call__(self, outputs: dict[str, Any], steps: Steps, attention: Tensor | None) -> Tensor:
        """() for the policy's outputs at the steps and its attention there (R, heads, keys)."""
        s, parts = self.settings, self.parts(outputs, steps, attention)
        return (
            s.policy_loss_weight * parts["policy"]
            + s.value_loss_weight * parts["value"]
            + s.complexity_loss_weight * parts["complexity"]
            + s.convergence_loss_weight * parts["convergence"]
            + s.attention_entropy_weight * parts["attention_entropy"]
        )

    def parts(self, outputs: dict[str, Any], steps: Steps, attention: Tensor | None) -> dict[str, Tensor]:
        """Each loss () before its weight; the entropy is a share of the largest there can be."""
        log_p = log_probabilities(outputs["policy_logits"], steps)
        values, more = outputs["value"], outputs["auxiliary_outputs"]
        if self.elite:
            policy = elite_loss(log_p, steps, self.settings.elite_share)
        else:
            policy = surrogate(log_p, steps.log_prob, steps.returns - values.detach())
        entropy = log_p.new_zeros(())
        if attention is not None and attention.shape[2] > 1:
            entropy = attention_entropy(attention).mean() / math.log(attention.shape[2])
        known = ~steps.complexity.isnan()
        complexity = (more["predicted_complexity"] - steps.complexity.nan_to_num()).square() * known
        return {
            "policy": policy,
            "value": (values - steps.returns).square().mean() / steps.returns.square().mean().clamp_min(SMALL),
            "complexity": complexity.sum() / known.sum().clamp_min(1),
            "convergence": (more["predicted_convergence"] - steps.remaining).square().mean(),
            "attention_entropy": entropy,
        }


def log_probabilities(logits: Tensor, steps: Steps) -> Tensor:
    """Of the actions that were taken, (R,)."""
    log_p = torch.log_softmax(logits.masked_fill(~steps.allowed, FORBIDDEN), 1)
    return log_p.gather(1, steps.actions[:, None])[:, 0]


def surrogate(log_p: Tensor, log_p_played: Tensor, advantages: Tensor) -> Tensor:
    """The policy gradient's loss with importance weights, () from (R,); advantages are brought to mean 0, variance 1.

    Its gradient is that of the expected return under the present weights, whoever played; and where those did, its
    second derivatives are those that meta-gradients need, with low variance (Rothfuss et al. 2019, "ProMP", eq. 9).

    >>> surrogate(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 3.0])).abs() < 1e-6
    tensor(True)
    """
    centred = advantages - advantages.mean()
    scaled = centred / (centred.square().mean().sqrt() + TINY)
    return -((log_p - log_p_played).exp() * scaled).mean()


def elite_loss(log_p: Tensor, steps: Steps, share: float) -> Tensor:
    """Minus the mean log-probability of the steps of the best episodes, (); 0 if all episodes earned the same.

    The first return of an episode is what it earned as a whole.
    """
    first = torch.cat([steps.episode.new_ones(1), steps.episode.diff()]) != 0
    earned = steps.returns[first]  # (E,)
    best = (earned >= torch.quantile(earned, 1 - share)) & (earned > earned.min())
    of_best = best[steps.episode]
    return -(log_p * of_best).sum() / of_best.sum().clamp_min(1)
