"""The sources of learning histories, each acting on N tasks at once; ``source.name`` of the configuration picks one.

Only q_learning, ucb, thompson and ppo learn. The explorer and the noisy expert are demonstrators that need no learning:
cheap, but what is distilled from them is no learning algorithm.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.tabular import UCB1, QLearning, TabularLearner, ThompsonSampling
from envs.bandit import Bandit
from envs.gridworld import DarkKeyToDoor, DarkRoom, GridWorld
from envs.tools import ToolUse
from envs.world import World
from rl_suite.distillation.config import ExplorerSection, QLearningSection, SourceSection, SweeperSection
from rl_suite.distillation.histories import Histories
from rl_suite.distillation.sources.explorer import Explorer, Sweeper
from rl_suite.distillation.sources.ppo import ppo_histories
from rl_suite.distillation.sources.rollout import Source, roll_out
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.evaluation.baselines import thompson_sampling


def make_histories(family: TaskFamily, section: SourceSection, n: int, rng: np.random.Generator) -> Histories:
    """``n`` learning histories on random training tasks, as the configuration asks for them."""
    if section.name == "ppo":
        return _thinned(ppo_histories(family, section, n, rng), section)
    tasks = family.tasks("train").choose(rng, n)
    world = family.make(n, "train")
    source = SOURCES[section.name](world, section, family.episode_steps, rng)
    if section.labels != "intended":
        source = Relabelled(source, BEHAVIOUR if section.labels == "behaviour" else make_oracle(world, rng))
    silent = rng.random(n) < section.silent if section.silent else None
    histories = roll_out(world, source, tasks, section.episodes, family.episode_steps, rng, silent)
    return _thinned(histories, section)


def _thinned(histories: Histories, section: SourceSection) -> Histories:
    if section.keep_every == 1:
        return histories
    return histories.select_episodes(range(0, section.episodes, section.keep_every))


class TabularSource:
    """A learner of ``agents.tabular`` writing its history; the label is what it believes to be best.

    Args:
        learner: the learner.
        n: number of tasks.
        soft_draws: draws behind each label of Thompson sampling, 0 for hard labels.
        noise: probability of a random action instead of the learner's, which learns from it all the same.
        rng: of the noise.
    """

    def __init__(
        self,
        learner: TabularLearner[Any],
        n: int,
        soft_draws: int = 0,
        noise: float = 0.0,
        rng: np.random.Generator | None = None,
    ):
        self.learner, self.soft_draws = learner, soft_draws
        self.noise, self.rng = noise, rng or np.random.default_rng(0)
        self.memory = learner.start(n)
        self.rows = np.arange(n)
        self.states = self.actions = np.zeros(n, dtype=np.int64)
        self.episodes = 0

    def begin_episode(self) -> None:
        """Tell the learner that the last episode has ended."""
        if self.episodes:
            self.learner.end_episodes(self.memory, self.rows)
        self.episodes += 1

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The learner's actions (N,), and what it believes best: probabilities (N, A), or one action (N,)."""
        self.states = self._states(observations)
        self.actions = self.learner.act(self.memory, self.states)
        if self.soft_draws and isinstance(self.learner, ThompsonSampling):
            return self.actions, self.learner.action_probabilities(self.memory, self.soft_draws)
        if isinstance(self.learner, QLearning):
            if self.noise:
                random = np.flatnonzero(self.rng.random(len(self.actions)) < self.noise)
                self.actions[random] = self.rng.integers(self.learner.n_actions, size=len(random))
            return self.actions, self.learner.greedy_probabilities(self.memory, self.states)
        return self.actions, self.actions  # an index policy means what it does

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """One update of every table. Episodes end by a time limit, so the next state keeps its value."""
        after, never = self._states(observations), np.zeros(len(rewards), dtype=np.bool_)
        self.learner.update(self.memory, self.states, self.actions, rewards, after, never)

    def _states(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        if observations.shape[1] == 0:  # nothing is seen: one state
            return np.zeros(len(observations), dtype=np.int64)
        return self.learner.states(observations)


class BestArm:
    """Knows the bandits' arms and pulls the best one."""

    def __init__(self, world: Bandit):
        self.world = world

    def begin_episode(self) -> None:
        """Nothing changes."""

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The best arms (N,), also as probabilities (N, k)."""
        return self.world.oracle_arm.copy(), np.eye(self.world.arms, dtype=np.float32)[self.world.oracle_arm]

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """There is nothing to learn."""


class ToolExpert:
    """Knows all chances of a world of tools, now and later, and calls what its plan says."""

    def __init__(self, world: ToolUse):
        self.world = world

    def begin_episode(self) -> None:
        """The world has planned anew."""

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The best tools (N,), also as probabilities (N, K)."""
        best = self.world.call_values().argmax(axis=1)
        return best, np.eye(self.world.n_tools, dtype=np.float32)[best]

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """There is nothing to learn."""


class RoomExpert:
    """Knows the hidden cells of dark rooms and walks the shortest ways."""

    def __init__(self, world: GridWorld, rng: np.random.Generator):
        self.world = world
        self.explorer = make_explorer(world, ExplorerSection(memory=1, noise=0.0, forget=0.0), rng)

    def begin_episode(self) -> None:
        """Read where everything is."""
        self.explorer.begin_episode()
        if isinstance(self.world, DarkKeyToDoor):
            self.explorer.known[:] = np.stack([self.world.key, self.world.door], axis=1)
        elif isinstance(self.world, DarkRoom):
            self.explorer.known[:] = self.world.goal[:, None]

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Optimal actions (N,), and the probabilities (N, 5) of all that are optimal."""
        return self.explorer.act(observations)

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """Count the rewards of the episode: after the key comes the door."""
        self.explorer.learn(observations, rewards)


class NoisyExpert:
    """AD-eps (Zisman et al. 2024, arXiv:2312.12275): an expert whose noise falls over the history looks like a learner.

    Args:
        oracle: the expert.
        first_noise: probability of a random action in the first episode ...
        last_noise: ... and from ``fraction`` of the episodes on.
        fraction: part of the history over which the noise falls linearly.
        n_episodes: length of the history.
        n_actions: number of actions.
        rng: source of all randomness.
    """

    def __init__(
        self,
        oracle: Source,
        first_noise: float,
        last_noise: float,
        fraction: float,
        n_episodes: int,
        n_actions: int,
        rng: np.random.Generator,
    ):
        self.oracle, self.n_actions, self.rng = oracle, n_actions, rng
        progress = np.minimum(np.arange(n_episodes) / max(1.0, fraction * n_episodes), 1.0)
        self.noises = first_noise + (last_noise - first_noise) * progress
        self.episode = -1

    def begin_episode(self) -> None:
        """The noise falls."""
        self.oracle.begin_episode()
        self.episode += 1

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The expert's actions (N,) with noise; the label is what the expert meant."""
        actions, meant = self.oracle.act(observations)
        random = self.rng.random(len(actions)) < self.noises[self.episode]
        actions[random] = self.rng.integers(self.n_actions, size=int(random.sum()))
        return actions, meant

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """Pass on what happened."""
        self.oracle.learn(observations, rewards)


class Relabelled:
    """A source whose labels come from somebody else: from its own behaviour (None), or from an oracle (DPT)."""

    def __init__(self, source: Source, labeller: Source | None):
        self.source, self.labeller = source, labeller

    def begin_episode(self) -> None:
        """Tell both."""
        self.source.begin_episode()
        if self.labeller is not None:
            self.labeller.begin_episode()

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """The source's actions and the other one's labels."""
        actions, _ = self.source.act(observations)
        return actions, actions if self.labeller is None else self.labeller.act(observations)[1]

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """Tell both."""
        self.source.learn(observations, rewards)
        if self.labeller is not None:
            self.labeller.learn(observations, rewards)


BEHAVIOUR = None  # as a labeller: the source's own actions


def make_explorer(world: World, settings: ExplorerSection, rng: np.random.Generator) -> Explorer:
    """An explorer that fits a dark room."""
    stages, pays_again = _room_rules(world)
    return Explorer(world.num_envs, world.size, stages, pays_again, **settings.model_dump(), rng=rng)  # type: ignore[attr-defined]


def make_sweeper(world: World, settings: SweeperSection, longest: int, rng: np.random.Generator) -> Sweeper:
    """A sweeper that fits a dark room whose episodes have ``longest`` steps.

    Raises:
        UserError: its paths are longer than an episode, and what lies at their ends would never be seen.
    """
    stages, pays_again = _room_rules(world)
    if settings.episode_steps > longest:
        raise UserError(
            f"distillation.source.sweeper.episode_steps={settings.episode_steps}: episodes have {longest} steps"
        )
    return Sweeper(world.num_envs, world.size, stages, pays_again, **settings.model_dump(), rng=rng)  # type: ignore[attr-defined]


def _room_rules(world: World) -> tuple[int, bool]:
    """Rewards to be found one after the other, and whether the last one is paid at every step."""
    if not isinstance(world, GridWorld) or world.permute_actions:
        known = "explorer, sweeper, expert and noisy_expert know dark rooms (unpermuted)"
        raise UserError(f"{known}, not {type(world).__name__}")
    return (2 if isinstance(world, DarkKeyToDoor) else 1), isinstance(world, DarkRoom) and not world.reward_once


def make_oracle(world: World, rng: np.random.Generator) -> Source:
    """Who knows the tasks of ``world``."""
    if isinstance(world, Bandit):
        return BestArm(world)
    if isinstance(world, GridWorld):
        return RoomExpert(world, rng)
    if isinstance(world, ToolUse):
        return ToolExpert(world)
    raise UserError(f"there is no oracle for {type(world).__name__}")


def make_q_learning(world: World, settings: QLearningSection, seed: int) -> QLearning:
    """Q-learning without the noise of its histories.

    Raises:
        UserError: the world shows what no table can hold.
    """
    try:
        spaces = world.observation_space, world.action_space
        return QLearning(*spaces, **settings.model_dump(exclude={"noise"}), seed=seed)
    except ValueError as error:
        raise UserError(f"q_learning cannot act in {type(world).__name__}: {error}") from None


def make_learner(world: World, section: SourceSection, seed: int) -> TabularLearner[Any]:
    """The tabular learner that ``section`` names."""
    spaces = world.observation_space, world.action_space
    if section.name == "q_learning":
        return make_q_learning(world, section.q_learning, seed)
    if not isinstance(world, Bandit):
        raise UserError(f"source {section.name} is for bandits, not for {type(world).__name__}")
    if section.name == "ucb":
        return UCB1(*spaces, exploration=section.ucb.exploration, seed=seed)
    return thompson_sampling(world, *spaces, seed)


def _tabular(world: World, section: SourceSection, rng: np.random.Generator) -> Source:
    learner = make_learner(world, section, int(rng.integers(2**32)))
    return TabularSource(learner, world.num_envs, section.thompson.soft_draws, section.q_learning.noise, rng)


def _noisy_expert(world: World, section: SourceSection, rng: np.random.Generator) -> Source:
    n_actions = int(world.action_space.n)  # type: ignore[attr-defined]
    settings = section.noisy_expert.model_dump()
    return NoisyExpert(make_oracle(world, rng), **settings, n_episodes=section.episodes, n_actions=n_actions, rng=rng)


SOURCES: dict[str, Callable[[World, SourceSection, int, np.random.Generator], Source]] = {
    "explorer": lambda world, section, longest, rng: make_explorer(world, section.explorer, rng),
    "sweeper": lambda world, section, longest, rng: make_sweeper(world, section.sweeper, longest, rng),
    "q_learning": lambda world, section, longest, rng: _tabular(world, section, rng),
    "ucb": lambda world, section, longest, rng: _tabular(world, section, rng),
    "thompson": lambda world, section, longest, rng: _tabular(world, section, rng),
    "expert": lambda world, section, longest, rng: make_oracle(world, rng),
    "noisy_expert": lambda world, section, longest, rng: _noisy_expert(world, section, rng),
}
"""Name of a source -> what builds it from worlds, settings, the steps of an episode and a random generator."""
