"""Learners without a network: UCB1, Thompson sampling and Q-learning, for thousands of tasks at once.

A learner is a rule; what it has learned about B tasks lies in a memory, a tuple of arrays whose first
axis is the task. Who holds the rewards, as when learning histories are collected, writes the loop::

    learner = QLearning(observation_space, action_space, seed=0)
    memory = learner.start(4096)
    while ...:
        actions = learner.act(memory, states)  # (4096,)
        ...  # step the worlds
        learner.update(memory, states, actions, rewards, next_states, terminated)
        learner.end_episodes(memory, rows)  # those of the 4096 whose episode ended, terminated or truncated

Everybody else calls ``predict``, as with any agent, in a world that shows the previous action, reward
and done (a trial); the memory is then the ``state`` that ``predict`` hands back.
"""

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.protocol import AgentState, Observation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MemoryT = TypeVar("MemoryT", bound="tuple[NDArray[Any], ...]")

PREFERENCE = 1e-6  # random, different for each task: decides between actions that are equally good so far
TIED = 2 * PREFERENCE  # values closer than this differ by preferences alone


class TabularLearner(ABC, Generic[MemoryT]):
    """What the learners share: reading observations as table rows, and ``predict``.

    Args:
        observation_space: Discrete or MultiDiscrete, or a Dict with such an ``observation`` (a trial's).
        action_space: Discrete.
        seed: of all random choices.
    """

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], seed: int = 0):
        if isinstance(observation_space, spaces.Dict):
            observation_space = observation_space["observation"]
        if not isinstance(observation_space, spaces.Discrete | spaces.MultiDiscrete) or np.any(observation_space.start):
            raise ValueError(f"a table needs Discrete or MultiDiscrete observations from 0, not {observation_space}")
        if not isinstance(action_space, spaces.Discrete) or action_space.start != 0:
            raise ValueError(f"a table needs Discrete actions from 0, not {action_space}")
        if isinstance(observation_space, spaces.Discrete):
            self._sizes: tuple[int, ...] = (int(observation_space.n),)
        else:
            self._sizes = tuple(int(n) for n in observation_space.nvec)
        self.n_states, self.n_actions = int(np.prod(self._sizes)), int(action_space.n)
        self._rng = np.random.default_rng(seed)

    @abstractmethod
    def start(self, num_tasks: int) -> MemoryT:
        """A memory of ``num_tasks`` tasks of which nothing is known yet."""

    @abstractmethod
    def act(self, memory: MemoryT, states: Ints, deterministic: bool = False) -> Ints:
        """Choose actions (B,) in ``states`` (B,); ``deterministic`` leaves out what is only exploration."""

    @abstractmethod
    def update(
        self,
        memory: MemoryT,
        states: Ints,
        actions: Ints,
        rewards: Floats,
        next_states: Ints,
        terminated: NDArray[np.bool_],
        rows: Ints | None = None,
    ) -> None:
        """Learn from one step of every task, or of the tasks ``rows``; all arguments are as long as those."""

    def end_episodes(self, memory: MemoryT, rows: Ints) -> None:  # most learners do not care
        """Hear that the episodes of the tasks ``rows`` have ended."""

    def is_told(self, ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where a trial's observation tells enough to learn from a step that ``ended`` an episode or did not, (B,).

        It shows the first state of the next episode in place of the last state of the ended one.
        """
        return np.ones_like(ended)

    def states(self, observation: Observation) -> Ints:
        """Numbers (B,) of the table rows that observations (B,) or (B, n) stand for."""
        seen = np.asarray(observation["observation"] if isinstance(observation, dict) else observation)
        columns = seen.astype(np.int64).reshape(len(seen), len(self._sizes))  # (B, n)
        numbers: Ints = columns[:, 0]
        for size, column in zip(self._sizes[1:], columns.T[1:], strict=True):
            numbers = numbers * size + column
        return numbers

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[Ints, AgentState]:
        """Learn from what a trial's observation tells about the last step, then act (see ``agents.protocol``)."""
        if not isinstance(observation, dict):
            raise ValueError(
                f"{type(self).__name__} learns from a trial's observation: a dictionary with the last reward"
            )
        states = self.states(observation)
        if state is None:
            state = (self.start(len(states)), states)
        memory, last_states = cast(tuple[MemoryT, Ints], state)
        if episode_start is not None and episode_start.any():
            rows = np.flatnonzero(episode_start)
            for array, fresh in zip(memory, self.start(len(rows)), strict=True):
                array[rows] = fresh
        actions = observation["previous_action"].astype(np.int64)
        rewards = observation["previous_reward"][:, 0].astype(np.float64)
        ended = observation["previous_done"][:, 0] > 0
        known = actions < self.n_actions  # the number of actions itself says that there was none
        rows = np.flatnonzero(known & self.is_told(ended))
        if len(rows) == len(states):
            self.update(memory, last_states, actions, rewards, states, ended)
        elif len(rows):
            step = (last_states[rows], actions[rows], rewards[rows], states[rows], ended[rows])
            self.update(memory, *step, rows=rows)
        self.end_episodes(memory, np.flatnonzero(known & ended))
        return self.act(memory, states, deterministic), (memory, states)


class BanditMemory(NamedTuple):
    """Pulls and earnings of every arm."""

    pulls: Floats  # (B, k)
    earned: Floats  # (B, k)
    preference: Floats  # (B, k) breaks ties


class BanditLearner(TabularLearner[BanditMemory]):
    """What the bandit learners share: they count, and pull the arm with the highest score."""

    @abstractmethod
    def scores(self, memory: BanditMemory) -> Floats:
        """How much each arm deserves to be pulled next, (B, k)."""

    def estimates(self, memory: BanditMemory) -> Floats:
        """Expected reward of each arm, (B, k); where nothing is known, 0."""
        means: Floats = memory.earned / np.maximum(memory.pulls, 1.0)
        return means

    def start(self, num_tasks: int) -> BanditMemory:
        """No arm was pulled yet."""
        shape = (num_tasks, self.n_actions)
        return BanditMemory(np.zeros(shape), np.zeros(shape), PREFERENCE * self._rng.random(shape))

    def act(self, memory: BanditMemory, states: Ints, deterministic: bool = False) -> Ints:
        """The arm with the highest score; with ``deterministic`` the one with the highest estimate."""
        scores = self.estimates(memory) if deterministic else self.scores(memory)
        return argmax(scores + memory.preference)

    def update(
        self,
        memory: BanditMemory,
        states: Ints,
        actions: Ints,
        rewards: Floats,
        next_states: Ints,
        terminated: NDArray[np.bool_],
        rows: Ints | None = None,
    ) -> None:
        """Count the pull and its reward."""
        rows = np.arange(len(actions)) if rows is None else rows
        memory.pulls[rows, actions] += 1
        memory.earned[rows, actions] += rewards


class UCB1(BanditLearner):
    """Optimism in the face of uncertainty: mean + sqrt(exploration * ln t / pulls), every arm once first.

    Auer, Cesa-Bianchi, Fischer 2002, "Finite-time Analysis of the Multiarmed Bandit Problem", figure 1
    has ``exploration = 2``; 0.25 earns more on Bernoulli arms over a few hundred pulls.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        exploration: float = 2.0,
        seed: int = 0,
    ):
        super().__init__(observation_space, action_space, seed)
        self.exploration = exploration

    def scores(self, memory: BanditMemory) -> Floats:
        """Upper confidence bounds; infinite for arms without a pull."""
        total = np.maximum(memory.pulls.sum(axis=1, keepdims=True), 1.0)
        pulls = np.maximum(memory.pulls, 1.0)
        bounds = memory.earned / pulls + np.sqrt(self.exploration * np.log(total) / pulls)
        return np.where(memory.pulls > 0, bounds, 1e9)  # finite, so that the preferences still break ties


class ThompsonSampling(BanditLearner):
    """Pull each arm as often as it is the best one under the posterior; arms that pay 0 or 1.

    Thompson 1933; Chapelle and Li 2011. The prior is uniform, the posterior Beta(1 + ones, 1 + zeros).
    """

    def scores(self, memory: BanditMemory) -> Floats:
        """One draw from the posterior of every arm's probability."""
        return self._rng.beta(1.0 + memory.earned, 1.0 + memory.pulls - memory.earned)

    def estimates(self, memory: BanditMemory) -> Floats:
        """Posterior means."""
        means: Floats = (1.0 + memory.earned) / (2.0 + memory.pulls)
        return means

    def action_probabilities(self, memory: BanditMemory, draws: int = 16) -> Floats:
        """How often each arm is the best in ``draws`` posterior draws, (B, k): soft labels for imitation."""
        counts = np.zeros_like(memory.pulls)
        rows = np.arange(len(counts))
        for _ in range(draws):
            counts[rows, argmax(self.scores(memory))] += 1.0
        return counts / draws


class GaussianThompsonSampling(ThompsonSampling):
    """Thompson sampling for arms that pay real numbers with normal noise of known standard deviation.

    The prior of each mean is normal; its defaults have the mean and standard deviation of U(0, 1).
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        reward_std: float = 0.3,
        prior_mean: float = 0.5,
        prior_std: float = 0.29,
        seed: int = 0,
    ):
        super().__init__(observation_space, action_space, seed)
        self.noise, self.prior_mean = (
            (reward_std / prior_std) ** 2,
            prior_mean,
        )  # noise: the prior is worth 1/noise pulls
        self.reward_std = reward_std

    def scores(self, memory: BanditMemory) -> Floats:
        """One draw from the posterior of every arm's mean."""
        spread = self.reward_std / np.sqrt(self.noise + memory.pulls)
        draws: Floats = self.estimates(memory) + spread * self._rng.standard_normal(memory.pulls.shape)
        return draws

    def estimates(self, memory: BanditMemory) -> Floats:
        """Posterior means."""
        means: Floats = (self.noise * self.prior_mean + memory.earned) / (self.noise + memory.pulls)
        return means


class QMemory(NamedTuple):
    """Tables of action values."""

    q: NDArray[np.float32]  # (B, states, actions)
    episodes: Ints  # (B,) episodes that have ended


class QLearning(TabularLearner[QMemory]):
    """Watkins' Q-learning, epsilon-greedy, with optimistic first values.

    Watkins and Dayan 1992. With the defaults, dark rooms (9x9, 20 steps) are solved to 0.976 of the optimum within 130
    episodes (0.998 with ``epsilon=0.2``, but later at first): the first values lie above the discounted value of a far
    goal, which drives a systematic search.

    Args:
        observation_space: see :class:`TabularLearner`.
        action_space: see :class:`TabularLearner`.
        learning_rate: step size of the update.
        gamma: discount of the next state's value.
        initial_value: first value of every state and action.
        epsilon: probability of a random action in the first episode ...
        epsilon_episodes: ... which falls linearly to 0 over this many episodes.
        episodes_terminate: whether the episodes of a trial end because nothing can follow. If False, they end
            by a time limit, and ``predict`` does not learn from their last steps, whose next state it never sees.
        seed: of all random choices.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        learning_rate: float = 0.9,
        gamma: float = 0.8,
        initial_value: float = 0.3,
        epsilon: float = 0.05,
        epsilon_episodes: int = 100,
        episodes_terminate: bool = False,
        seed: int = 0,
    ):
        super().__init__(observation_space, action_space, seed)
        self.learning_rate, self.gamma, self.initial_value = learning_rate, gamma, initial_value
        self.epsilon, self.epsilon_episodes = epsilon, epsilon_episodes
        self.episodes_terminate = episodes_terminate

    def start(self, num_tasks: int) -> QMemory:
        """All values equal, but for the preferences that break ties."""
        shape = (num_tasks, self.n_states, self.n_actions)
        preference = PREFERENCE * self._rng.random(shape, dtype=np.float32)
        return QMemory(np.float32(self.initial_value) + preference, np.zeros(num_tasks, dtype=np.int64))

    def act(self, memory: QMemory, states: Ints, deterministic: bool = False) -> Ints:
        """The action with the highest value, or with probability epsilon any."""
        actions = argmax(self._values(memory, states, np.arange(len(states))))
        epsilon = self.epsilon * np.maximum(1.0 - memory.episodes / self.epsilon_episodes, 0.0)
        if not deterministic and epsilon.any():
            explores = np.flatnonzero(self._rng.random(len(actions)) < epsilon)
            actions[explores] = self._rng.integers(self.n_actions, size=len(explores))
        return actions

    def update(
        self,
        memory: QMemory,
        states: Ints,
        actions: Ints,
        rewards: Floats,
        next_states: Ints,
        terminated: NDArray[np.bool_],
        rows: Ints | None = None,
    ) -> None:
        """Move Q(s, a) towards r + gamma * max Q(s', .); where the episode terminated, towards r alone."""
        rows = np.arange(len(states)) if rows is None else rows
        table = memory.q.reshape(-1)
        index = (rows * self.n_states + states) * self.n_actions + actions
        future = reduce(np.maximum, self._values(memory, next_states, rows).T)  # faster than max(axis=1) on short rows
        old = table[index]
        table[index] = old + self.learning_rate * (rewards + self.gamma * future * ~terminated - old)

    def end_episodes(self, memory: QMemory, rows: Ints) -> None:
        """Count them: exploration fades with the episodes."""
        memory.episodes[rows] += 1

    def greedy_probabilities(self, memory: QMemory, states: Ints) -> NDArray[np.float32]:
        """Chance of each action to be the best one, (B, k): equal among those that only a preference tells apart."""
        values = self._values(memory, states, np.arange(len(states)))
        best = values >= values.max(axis=1, keepdims=True) - TIED
        chances: NDArray[np.float32] = best.astype(np.float32) / best.sum(axis=1, keepdims=True, dtype=np.float32)
        return chances

    def is_told(self, ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Last steps only where nothing can follow them."""
        return ~ended | self.episodes_terminate

    def _values(self, memory: QMemory, states: Ints, rows: Ints) -> NDArray[np.float32]:
        return memory.q.reshape(-1, self.n_actions).take(rows * self.n_states + states, axis=0)


def argmax(values: NDArray[Any]) -> Ints:
    """Index of the largest entry of each row of (B, k), the first of equals."""
    best: Ints = values.argmax(axis=1)
    return best
