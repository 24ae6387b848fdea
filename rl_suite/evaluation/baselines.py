"""Baselines by name, for ``evaluate.py baseline=NAME``: agents that nobody has to train."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from gymnasium import spaces

from agents.baselines import BanditOracle, RandomAgent, RoomOracle
from agents.durotaxis_baselines import BiasedRandom, UpGradient, treadmill
from agents.protocol import Agent
from agents.tabular import UCB1, QLearning, ThompsonSampling
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec
from rl_suite.loading import require_known

Space = spaces.Space[Any]
Builder = Callable[[Space, Space, int], Agent]  # from the spaces of one environment and a seed

BASELINES: dict[str, Builder] = {
    "random": lambda seen, acts, seed: RandomAgent(acts, seed),
    "room_oracle": lambda seen, acts, seed: RoomOracle(seen),
    "bandit_oracle": lambda seen, acts, seed: BanditOracle(),
    "scripted": lambda seen, acts, seed: UpGradient(acts, seed=seed),
    "biased_random": lambda seen, acts, seed: BiasedRandom(acts, seed=seed),
    "constant": lambda seen, acts, seed: treadmill(acts),
    "ucb1": UCB1,
    "thompson": ThompsonSampling,
    "q_learning": QLearning,
}


def make_baseline(name: str, spec: EvaluationSpec) -> Agent:
    """Build a baseline for the world of ``spec``.

    Raises:
        UserError: no such baseline, or it cannot act in this world.
    """
    require_known(name, BASELINES, "baseline")
    with closing(spec.make()) as env:
        seen, acts = env.single_observation_space, env.single_action_space
    try:
        return BASELINES[name](seen, acts, spec.seed)
    except (ValueError, TypeError) as error:
        raise UserError(f"baseline={name} cannot act in {spec.env_id}: {error}") from None
