"""What each pre-trained model is worth: the same episodes with the model left out.

The weights of the others rise to fill the gap and nothing is trained again, so that a small change says that
the policy can do without the model, not that it never helped to learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.protocol import Agent
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent
from rl_suite.evaluation.statistics import Interval, mean, paired_bootstrap
from rl_suite.sb3.ptm_callback import multi_ptm_of


@dataclass(frozen=True)
class PTMAblation:
    """Returns (tasks, episodes) with all models and without each, matched episode by episode."""

    whole: NDArray[np.float64]
    without: Mapping[str, NDArray[np.float64]]
    resamples: int
    confidence: float
    seed: int

    def change(self, name: str) -> Interval:
        """Mean change of the return, pooled over tasks, when ``name`` is left out; negative = it was of use."""
        return paired_bootstrap(
            self.without[name].ravel(),
            self.whole.ravel(),
            mean,
            resamples=self.resamples,
            confidence=self.confidence,
            seed=self.seed,
        )

    def tables(self) -> list[Table | str]:
        """What to print."""
        return [self.table()]

    def as_json(self) -> dict[str, Any]:
        """Plain values: change of the return without each model, and every episode."""
        return {
            name: {"change": self.change(name)._asdict(), "returns_without": returns}
            for name, returns in self.without.items()
        }

    def table(self) -> Table:
        """One row per model."""
        title = f"pre-trained models left out (mean return with all: {self.whole.mean():.4g})"
        table = Table(title=title, title_justify="left", caption="same episodes; nothing is trained again")
        table.add_column("without")
        table.add_column(f"change of the return [{self.confidence:.0%}]", justify="right")
        for name in self.without:
            table.add_row(name, str(self.change(name)))
        return table


def can_ablate(model: BaseAlgorithm) -> bool:
    """Whether at least two pre-trained models take part, so that one can be left out."""
    extractor = multi_ptm_of(model.policy)
    return extractor is not None and int(extractor.active.sum()) > 1


def ablate_ptms(model: BaseAlgorithm, agent: Agent, spec: EvaluationSpec) -> PTMAblation:
    """Play ``spec`` with all models and once without each.

    Args:
        model: holds the policy whose models are left out.
        agent: the same model as it acts (perhaps behind a normalisation).
        spec: what is played.

    Raises:
        UserError: the policy has fewer than two models that take part.
    """
    extractor = multi_ptm_of(model.policy)
    if extractor is None or not can_ablate(model):
        raise UserError("ablation needs a policy with at least two pre-trained models that take part")
    whole = evaluate_agent(agent, spec).returns
    without = {}
    for name, active in zip(extractor.names, extractor.active.tolist(), strict=True):
        if active:
            with extractor.without(name):
                without[name] = evaluate_agent(agent, spec).returns
    return PTMAblation(whole, without, spec.resamples, spec.confidence, spec.seed)
