"""Baselines by name, for ``evaluate.py baseline=NAME``: agents that nobody has to train."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from gymnasium import spaces

from agents.baselines import BanditOracle, RandomAgent, RoomOracle
from agents.durotaxis_baselines import BiasedRandom, UpGradient, treadmill
from agents.protocol import Agent
from agents.tabular import UCB1, GaussianThompsonSampling, QLearning, ThompsonSampling
from agents.tool_planner import ToolLinUCB, ToolPlanner, ToolSlidingWindowUCB, ToolThompson, Workflow
from envs.bandit import GaussianBandit
from envs.batch import BatchEnv
from envs.tools import ToolUse
from envs.trial import Trial
from envs.world import World
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
    "q_learning": QLearning,
}
TOOL_PLANNERS: dict[str, type[ToolPlanner]] = {
    "tool_linucb": ToolLinUCB,
    "tool_thompson": ToolThompson,
    "tool_sliding_window_ucb": ToolSlidingWindowUCB,
}
LEAST_STD = 1e-3  # rewards without noise still need a posterior
NAMES = (
    *BASELINES,
    *TOOL_PLANNERS,
    "thompson",
)  # how Thompson sampling draws depends on the world, not on its spaces alone


def thompson_sampling(world: World | None, seen: Space, acts: Space, seed: int) -> ThompsonSampling:
    """Thompson sampling with the posterior of the rewards that ``world`` pays: normal ones, or else Bernoulli's."""
    while isinstance(world, Trial):
        world = world.inner
    if isinstance(world, GaussianBandit):
        return GaussianThompsonSampling(seen, acts, reward_std=max(world.reward_std, LEAST_STD), seed=seed)
    return ThompsonSampling(seen, acts, seed=seed)


def tool_planner(name: str, world: World | None, seed: int) -> ToolPlanner:
    """A planner that knows how the tools of ``world`` fit together; ``TypeError`` for another world."""
    while isinstance(world, Trial):
        world = world.inner
    if not isinstance(world, ToolUse) or world.show_tools:
        raise TypeError("it plans in trials of rl_suite/ToolUse-v0 whose tools are hidden")
    tools, settings = world.tools, world.settings
    workflow = Workflow(tools.needs, tools.gives, settings.stages, settings.job_types)
    return TOOL_PLANNERS[name](workflow, seed)


def make_baseline(name: str, spec: EvaluationSpec) -> Agent:
    """Build a baseline for the world of ``spec``.

    Raises:
        UserError: no such baseline, or it cannot act in this world.
    """
    require_known(name, NAMES, "baseline")
    with closing(spec.make()) as env:
        seen, acts = env.single_observation_space, env.single_action_space
        world = env.unwrapped.world if isinstance(env.unwrapped, BatchEnv) else None
    try:
        if name in TOOL_PLANNERS:
            return tool_planner(name, world, spec.seed)
        if name == "thompson":
            return thompson_sampling(world, seen, acts, spec.seed)
        return BASELINES[name](seen, acts, spec.seed)
    except (ValueError, TypeError) as error:
        raise UserError(f"baseline={name} cannot act in {spec.env_id}: {error}") from None
