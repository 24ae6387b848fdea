"""Tabular learners: their arithmetic by hand, and that they learn as the literature says.

``agents`` knows no worlds, so the bandits and the corridor here are a few lines of numpy.
"""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from gymnasium import spaces

from agents.protocol import Agent
from agents.tabular import UCB1, GaussianThompsonSampling, QLearning, TabularLearner, ThompsonSampling

NOTHING = spaces.Discrete(1)


def trial_space(seen: spaces.Space[Any], n_actions: int) -> spaces.Dict:
    return spaces.Dict(
        {
            "observation": seen,
            "previous_action": spaces.Discrete(n_actions + 1),
            "previous_reward": spaces.Box(-np.inf, np.inf, (1,)),
            "previous_done": spaces.MultiBinary(1),
        }
    )


def trial_observation(seen: Any, actions: Any, rewards: Any, done: Any) -> dict[str, Any]:
    return {
        "observation": np.asarray(seen),
        "previous_action": np.asarray(actions),
        "previous_reward": np.asarray(rewards, dtype=np.float32)[:, None],
        "previous_done": np.asarray(done, dtype=np.int8)[:, None],
    }


def regret(learner: TabularLearner[Any], pulls: int, bandits: int, std: float | None = None) -> float:
    """Mean regret on bandits with means from U(0, 1); Bernoulli arms, or Gaussian ones with ``std``."""
    rng = np.random.default_rng(1)
    means = rng.random((bandits, learner.n_actions))
    rows, zeros, never = np.arange(bandits), np.zeros(bandits, np.int64), np.zeros(bandits, np.bool_)
    memory, total = learner.start(bandits), 0.0
    for _ in range(pulls):
        actions = learner.act(memory, zeros)
        mean = means[rows, actions]
        rewards = mean + std * rng.standard_normal(bandits) if std else (rng.random(bandits) < mean).astype(float)
        learner.update(memory, zeros, actions, rewards, zeros, never)
        total += (means.max(axis=1) - mean).mean()
    return total


# Figures of an independent implementation, 1000 bandits, 200 pulls (standard errors 0.2 to 0.4).
@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        (UCB1(NOTHING, spaces.Discrete(5)), 27.6),
        (UCB1(NOTHING, spaces.Discrete(5), exploration=0.25), 9.9),
        (ThompsonSampling(NOTHING, spaces.Discrete(5)), 10.6),
        (UCB1(NOTHING, spaces.Discrete(10)), 46.8),
        (UCB1(NOTHING, spaces.Discrete(10), exploration=0.25), 20.0),
        (ThompsonSampling(NOTHING, spaces.Discrete(10)), 17.8),
    ],
)
def test_regret_is_that_of_the_literature(learner: TabularLearner[Any], expected: float) -> None:
    assert regret(learner, pulls=200, bandits=1000) == pytest.approx(expected, abs=1.3)


def test_gaussian_thompson_sampling_beats_ucb_on_gaussian_arms() -> None:
    space = spaces.Discrete(5)
    gaussian = regret(GaussianThompsonSampling(NOTHING, space), 200, 1000, std=0.3)
    assert gaussian < 0.9 * regret(UCB1(NOTHING, space, exploration=0.25), 200, 1000, std=0.3)
    assert gaussian < 10


def test_ucb_scores_by_hand() -> None:
    learner = UCB1(NOTHING, spaces.Discrete(2), exploration=2.0)
    memory = learner.start(1)
    for arm, reward in ((0, 1.0), (0, 0.0), (1, 1.0)):
        learner.update(memory, *step(arm, reward))
    expected = [0.5 + np.sqrt(2 * np.log(3) / 2), 1.0 + np.sqrt(2 * np.log(3) / 1)]
    np.testing.assert_allclose(learner.scores(memory)[0], expected)
    np.testing.assert_allclose(learner.estimates(memory)[0], [0.5, 1.0])


def step(arm: int, reward: float) -> tuple[Any, ...]:
    zero = np.zeros(1, np.int64)
    return zero, np.array([arm]), np.array([reward]), zero, np.zeros(1, np.bool_)


def test_every_arm_is_tried_first_in_any_order() -> None:
    learner = UCB1(NOTHING, spaces.Discrete(3))
    n = 600
    memory, zeros = learner.start(n), np.zeros(n, np.int64)
    orders = []
    for _ in range(3):
        orders.append(learner.act(memory, zeros))
        learner.update(memory, zeros, orders[-1], np.ones(n), zeros, zeros > 0)
    assert (memory.pulls == 1).all()
    assert len({tuple(order) for order in np.stack(orders, axis=1).tolist()}) == 6


def test_posteriors_by_hand() -> None:
    bernoulli = ThompsonSampling(NOTHING, spaces.Discrete(2), seed=1)
    memory = bernoulli.start(1)
    for arm, reward in ((0, 1.0), (0, 1.0), (0, 0.0)):
        bernoulli.update(memory, *step(arm, reward))
    np.testing.assert_allclose(bernoulli.estimates(memory)[0], [3 / 5, 1 / 2])
    draws = np.array([bernoulli.scores(memory)[0] for _ in range(4000)])
    np.testing.assert_allclose(draws.var(axis=0), [6 / 150, 1 / 12], rtol=0.1)  # Beta(3, 2) and Beta(1, 1)
    probabilities = bernoulli.action_probabilities(memory, draws=4000)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities[0, 0] == pytest.approx(0.6, abs=0.03)  # P(Beta(3, 2) > U(0, 1)) is its mean
    gaussian = GaussianThompsonSampling(NOTHING, spaces.Discrete(2), reward_std=1.0, prior_mean=0.0, prior_std=1.0)
    memory = gaussian.start(1)
    for arm, reward in ((0, 2.0), (0, 4.0)):
        gaussian.update(memory, *step(arm, reward))
    np.testing.assert_allclose(gaussian.estimates(memory)[0], [2.0, 0.0])
    draws = np.array([gaussian.scores(memory)[0] for _ in range(4000)])
    np.testing.assert_allclose(draws.std(axis=0), [np.sqrt(1 / 3), 1.0], rtol=0.05)


def test_q_update_by_hand() -> None:
    learner = QLearning(spaces.Discrete(3), spaces.Discrete(2), learning_rate=0.5, gamma=0.9, initial_value=1.0)
    memory = learner.start(2)
    memory.q[...] = 1.0
    memory.q[1, 2] = [3.0, 5.0]
    ints = np.array
    learner.update(memory, ints([0, 0]), ints([1, 0]), np.array([2.0, 2.0]), ints([1, 2]), np.array([True, False]))
    expected = np.ones((2, 3, 2), dtype=np.float32)
    expected[0, 0, 1] = 1.5  # halfway from 1 to the reward 2 alone: terminated
    expected[1, 0, 0] = 3.75  # halfway from 1 to 2 + 0.9 * 5
    expected[1, 2] = [3.0, 5.0]
    np.testing.assert_allclose(memory.q, expected)
    learner.update(memory, ints([2]), ints([1]), np.array([1.0]), ints([0]), np.array([False]), rows=ints([1]))
    assert memory.q[1, 2, 1] == pytest.approx(0.5 * 5 + 0.5 * (1 + 0.9 * 3.75))
    assert memory.q[0, 2, 1] == 1.0


class Corridor:
    """Cells 0..4 by 0..1; action 1 goes right, 0 left; the last column pays and the episode lasts 8 steps."""

    def __init__(self, n: int):
        self.n, self.space = n, spaces.MultiDiscrete([5, 2])
        self.start()

    def start(self) -> None:
        self.cell, self.time = np.zeros(self.n, np.int64), 0

    def seen(self) -> Any:
        return np.stack([self.cell, np.zeros_like(self.cell)], axis=1)

    def step(self, actions: Any) -> tuple[Any, bool]:
        self.cell = np.clip(self.cell + 2 * actions - 1, 0, 4)
        self.time += 1
        return (self.cell == 4).astype(float), self.time == 8


def test_ties_share_the_belief_in_what_is_best() -> None:
    learner = QLearning(spaces.Discrete(2), spaces.Discrete(3), initial_value=0.3)
    memory = learner.start(2)
    memory.q[1, 0, 2] += 0.1
    memory.q[1, 1, 0] -= 0.1
    assert learner.greedy_probabilities(memory, np.array([0, 0])).tolist() == [[np.float32(1 / 3)] * 3, [0, 0, 1]]
    assert learner.greedy_probabilities(memory, np.array([1, 1]))[1].tolist() == [0, 0.5, 0.5]


def test_q_learning_learns_through_the_batch_interface() -> None:
    world = Corridor(32)
    learner = QLearning(world.space, spaces.Discrete(2), initial_value=5.0, epsilon_episodes=20, seed=1)
    memory, returns = learner.start(32), []
    for _ in range(40):
        world.start()
        states, total, ended = learner.states(world.seen()), np.zeros(32), False
        while not ended:
            actions = learner.act(memory, states)
            rewards, ended = world.step(actions)
            next_states = learner.states(world.seen())
            learner.update(memory, states, actions, rewards, next_states, np.zeros(32, np.bool_))
            states, total = next_states, total + rewards
        learner.end_episodes(memory, np.arange(32))
        returns.append(total.mean())
    assert memory.episodes.tolist() == [40] * 32
    assert returns[0] < 3
    assert returns[-1] == 5.0, "four steps there, then five of eight are rewarded"


def test_q_learning_learns_through_predict() -> None:
    world = Corridor(16)
    space = trial_space(world.space, 2)
    learner = QLearning(space, spaces.Discrete(2), initial_value=5.0, epsilon_episodes=20, seed=1)
    assert isinstance(learner, Agent)
    state, returns = None, np.zeros(40)
    observation = trial_observation(world.seen(), np.full(16, 2), np.zeros(16), np.zeros(16))
    start = np.ones(16, np.bool_)
    for episode in range(40):
        ended = False
        while not ended:
            actions, state = learner.predict(observation, state, start)
            rewards, ended = world.step(actions)
            returns[episode] += rewards.mean()
            if ended:
                world.start()
            observation = trial_observation(world.seen(), actions, rewards, np.full(16, ended))
            start = np.zeros(16, np.bool_)
    assert returns[-1] == 5.0


@pytest.mark.parametrize(("terminate", "value"), [(True, 7.0), (False, 0.0)])
def test_last_steps_are_learned_only_where_nothing_can_follow(terminate: bool, value: float) -> None:
    """The trial shows the next episode's first state in place of the last one, which must not be mistaken for it."""
    space = trial_space(spaces.Discrete(3), 2)
    learner = QLearning(
        space, spaces.Discrete(2), initial_value=0.0, learning_rate=1.0, episodes_terminate=terminate, epsilon=0.0
    )
    _, state = learner.predict(trial_observation([1], [2], [0], [0]))
    _, state = learner.predict(trial_observation([2], [1], [7], [1]), state)
    assert state is not None
    assert state[0].q[0, 1, 1] == pytest.approx(value, abs=1e-5)
    assert state[0].episodes.tolist() == [1]


def test_predict_forgets_where_a_trial_starts() -> None:
    space = trial_space(NOTHING, 2)
    learner = UCB1(space, spaces.Discrete(2))
    first = trial_observation([0, 0], [2, 2], [0, 0], [0, 0])
    actions, state = learner.predict(first, None, np.array([True, True]))
    actions, state = learner.predict(
        trial_observation([0, 0], actions, [1, 1], [0, 0]), state, np.array([False, False])
    )
    assert state is not None
    assert state[0].pulls.sum(axis=1).tolist() == [1, 1]
    mixed = trial_observation([0, 0], [actions[0], 2], [1, 0], [0, 0])
    _, state = learner.predict(mixed, state, np.array([False, True]))
    assert state is not None
    assert state[0].pulls.sum(axis=1).tolist() == [2, 0]
    assert state[0].earned.sum(axis=1).tolist() == [2, 0]


def test_deterministic_leaves_exploration_out() -> None:
    learner = UCB1(NOTHING, spaces.Discrete(2))
    memory = learner.start(1)
    for arm, reward in ((0, 1.0), *[(0, 1.0)] * 50, (1, 0.9)):
        learner.update(memory, *step(arm, reward))
    zero = np.zeros(1, np.int64)
    assert learner.act(memory, zero).tolist() == [1]
    assert learner.act(memory, zero, deterministic=True).tolist() == [0]
    wild = QLearning(NOTHING, spaces.Discrete(2), epsilon=1.0)
    table = wild.start(200)
    table.q[:, 0, 1] = 9.0
    zeros = np.zeros(200, np.int64)
    assert wild.act(table, zeros, deterministic=True).tolist() == [1] * 200
    assert 50 < wild.act(table, zeros).sum() < 150


def test_same_seed_same_choices() -> None:
    zeros = np.zeros(50, np.int64)
    for make in (UCB1, ThompsonSampling, GaussianThompsonSampling, QLearning):
        one, two, other = (make(NOTHING, spaces.Discrete(4), seed=seed) for seed in (3, 3, 4))  # type: ignore[operator]
        actions = [learner.act(learner.start(50), zeros).tolist() for learner in (one, two, other)]
        assert actions[0] == actions[1] != actions[2]


def test_misfits_are_refused() -> None:
    with pytest.raises(ValueError, match="needs Discrete or MultiDiscrete observations"):
        UCB1(spaces.Box(0, 1, (2,)), spaces.Discrete(2))
    with pytest.raises(ValueError, match="needs Discrete actions"):
        QLearning(NOTHING, spaces.Box(0, 1, (2,)))
    with pytest.raises(ValueError, match="learns from a trial's observation"):
        UCB1(NOTHING, spaces.Discrete(2)).predict(np.zeros(3))


def test_defaults_are_those_of_the_configuration() -> None:
    """A number that users turn stands in config.yaml; whoever calls the class gets the same."""
    config = Path(__file__).resolve().parents[2] / "config.yaml"
    settings = yaml.safe_load(config.read_text())["defaults"]["distillation"]["source"]["q_learning"]
    settings.pop("noise")  # of the histories, not of the learner
    defaults = inspect.signature(QLearning).parameters
    assert settings == {name: defaults[name].default for name in settings}
