"""Who plays trials beside the in-context agent: the algorithms that were, or could have been, its source."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.protocol import Agent, AgentState, Observation
from agents.tabular import UCB1
from envs.bandit import Bandit
from envs.grid_kernels import next_cells
from rl_suite.distillation.config import SourceSection
from rl_suite.distillation.sources.explorer import Explorer
from rl_suite.distillation.sources.sources import make_explorer, make_learner, make_q_learning, make_sweeper
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.evaluation.baselines import thompson_sampling


class ExplorerAgent:
    """The structured explorer or sweeper with ``predict``, in trials of dark rooms, without its noise."""

    def __init__(self, family: TaskFamily, section: SourceSection, seed: int):
        self.family, self.section, self.seed = family, section, seed

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], AgentState]:
        """Act in B trials (:class:`~agents.protocol.Agent`); all of them must begin together."""
        if not isinstance(observation, dict):
            raise ValueError("the explorer needs to see what happened before: play a world named ...Trial-v0")
        seen = np.asarray(observation["observation"])
        if state is None or (episode_start is not None and np.asarray(episode_start).all()):
            world = self.family.make(len(seen), "all")
            rng = np.random.default_rng(self.seed)
            if self.section.name == "sweeper":
                plan = self.section.sweeper.model_copy(update={"noise": 0.0, "detours": 0.0})
                explorer: Explorer = make_sweeper(world, plan, self.family.episode_steps, rng)
            else:
                calm = self.section.explorer.model_copy(update={"noise": 0.0})
                explorer = make_explorer(world, calm, rng)
            explorer.begin_episode()
        else:
            explorer, before = state
            cells = before[:, 0] * explorer.size + before[:, 1]
            # At an episode's end the trial shows the next one's first cell, so the reached cell is worked out.
            reached = next_cells(explorer.size)[cells, observation["previous_action"]]
            explorer.learn(np.stack(np.divmod(reached, explorer.size), axis=1), observation["previous_reward"][:, 0])
            if observation["previous_done"][0, 0]:
                explorer.begin_episode()
        actions, _ = explorer.act(seen)
        return actions, (explorer, seen)


def make_player(name: str, family: TaskFamily, section: SourceSection, seed: int) -> Agent:
    """A baseline by name; "source" is the algorithm that wrote the histories.

    Raises:
        UserError: it cannot play this world.
    """
    world = family.make(1, "all")
    spaces = world.observation_space, world.action_space
    if name == "source":
        if section.name in ("explorer", "sweeper"):
            return ExplorerAgent(family, section, seed)
        if section.name in ("q_learning", "ucb", "thompson"):
            return make_learner(world, section, seed)
        raise UserError(f"source {section.name} has no predict() to play trials with; leave 'source' out of baselines")
    if name == "q_learning":
        return make_q_learning(world, section.q_learning, seed)
    if name in ("ucb1", "thompson") and isinstance(world, Bandit):
        return UCB1(*spaces, seed=seed) if name == "ucb1" else thompson_sampling(world, *spaces, seed)
    raise UserError(f"baseline {name!r} cannot play {family.env_id}")
