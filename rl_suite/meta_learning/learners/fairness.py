"""Task-agnostic meta-learning as published: no task shall be favoured (Jamal and Qi, CVPR 2019, arXiv 1805.07722).

Two regularisers for any gradient learner. Entropy reduction wants the initial model to be undecided and the adapted
one to be sure; inequality minimisation wants the initial model to be equally bad on all tasks of a batch.
(``learners.taml`` holds another method of the same name: a learner that modulates its head by a latent code.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from rl_suite.loading import require_known

Measure = Callable[[Tensor], Tensor]
"""Losses (T,) of T tasks, all positive -> (): 0 if and only if all are equal."""

SMALLEST = 1e-12  # a loss of zero has no logarithm


def theil(losses: Tensor) -> Tensor:
    """Theil's index, ``mean(r ln r)`` with ``r = L / mean(L)`` (equation 7)."""
    r = _relative(losses)
    return (r * r.log()).mean()


def generalised_entropy(losses: Tensor, alpha: float = 2.0) -> Tensor:
    """Generalised entropy index of order alpha, neither 0 nor 1; alpha 1 is Theil's index."""
    return (_relative(losses) ** alpha - 1).mean() / (alpha * (alpha - 1))


def atkinson(losses: Tensor, epsilon: float = 0.5) -> Tensor:
    """Atkinson's index, ``1 - (mean r^(1 - epsilon))^(1 / (1 - epsilon))``, with epsilon other than 1."""
    return 1 - (_relative(losses) ** (1 - epsilon)).mean() ** (1 / (1 - epsilon))


def gini(losses: Tensor) -> Tensor:
    """Gini's coefficient, ``mean |r_i - r_j| / 2``."""
    r = _relative(losses)
    return (r[:, None] - r[None, :]).abs().mean() / 2


def variance_of_logarithms(losses: Tensor) -> Tensor:
    """``mean (ln L - mean ln L)^2``."""
    return losses.clamp_min(SMALLEST).log().var(unbiased=False)


def _relative(losses: Tensor) -> Tensor:
    losses = losses.clamp_min(SMALLEST)
    return losses / losses.mean()


MEASURES: dict[str, Measure] = {
    "theil": theil,
    "generalised_entropy": partial(generalised_entropy, alpha=2.0),
    "atkinson": partial(atkinson, epsilon=0.5),
    "gini": gini,
    "variance_of_logarithms": variance_of_logarithms,
}


@dataclass(frozen=True)
class Fairness:
    """Which regularisers a gradient learner adds to its objective; with both weights 0, none."""

    measure: str = "theil"
    """A key of ``MEASURES``."""
    inequality: float = 0.0
    """Weight of the inequality of the initial losses; for any positive loss."""
    entropy: float = 0.0
    """Weight of the entropy reduction; for classification."""

    def __post_init__(self) -> None:
        require_known(self.measure, MEASURES, "measure of inequality")

    @property
    def active(self) -> bool:
        """Whether the initial model needs to be looked at."""
        return self.inequality > 0 or self.entropy > 0

    def of_task(self, initial: Tensor, adapted: Tensor) -> Tensor:
        """``entropy * (H(adapted) - H(initial))`` of the logits (Q, C) on the queries of one task (equation 2)."""
        return self.entropy * (mean_entropy(adapted) - mean_entropy(initial))

    def over_tasks(self, initial_losses: Tensor) -> Tensor:
        """``inequality * I`` of the initial losses (T,) (equation 5)."""
        return self.inequality * MEASURES[self.measure](initial_losses)


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean entropy in nats of the predicted distributions (Q, C)."""
    logarithms = logits.log_softmax(-1)
    return -(logarithms.exp() * logarithms).sum(-1).mean()
