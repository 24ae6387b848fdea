import json
import random
import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from rich.console import Console
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO

import envs  # noqa: F401
from agents.baselines import RandomAgent
from agents.protocol import Agent
from rl_suite.errors import NonFiniteError
from rl_suite.evaluation.adapters import NormalisingAgent
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent, evaluate_all

DARK_ROOM = EvaluationSpec("rl_suite/DarkRoom-v0", n_tasks=6, episodes_per_task=3, n_envs=4, seed=1, resamples=100)


class Constant:
    """Always the same action; remembers what it was told."""

    def __init__(self, action=0):
        self.action, self.calls = action, []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.calls.append((np.copy(episode_start), deterministic))
        return np.full(len(observation), self.action), state


class Countdown(gym.Env):
    """An episode lasts as long as its seed says, 1 to 6 steps, and returns that seed's number; long ones pay more."""

    observation_space = spaces.Box(0, 100, (2,), dtype=np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, bad_step=0):
        self.bad_step = bad_step

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.steps = int(self.np_random.integers(1, 7)), 0
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == self.length
        reward = np.nan if self.steps == self.bad_step else 1.0 + self.length / 10
        info = {"is_success": self.length > 3, "length": self.length, "word": "not a number"} if over else {}
        return self._seen(), reward, over, False, info

    def action_masks(self):
        return np.arange(3) == self.length % 3

    def _seen(self):
        return np.array([self.length, self.steps], dtype=np.float32)


def countdowns(count, mode=AutoresetMode.DISABLED, **options):
    return SyncVectorEnv([lambda: Countdown(**options)] * count, autoreset_mode=mode)


def lengths_of(spec):
    """The length of every planned episode, found by playing the seeds one by one."""
    _, jobs = spec.plan(countdowns(1))
    env, lengths = Countdown(), []
    for seed in jobs.seeds.tolist():
        env.reset(seed=seed)
        lengths.append(env.length)
    return np.array(lengths).reshape(spec.n_tasks, spec.episodes_per_task)


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("n_envs", [1, 4, 7, 100])
def test_every_episode_is_played_once_however_long_it_is(n_envs, mode):
    spec = EvaluationSpec(
        "", n_tasks=5, episodes_per_task=4, n_envs=n_envs, make_envs=lambda count: countdowns(count, mode)
    )
    result = evaluate_agent(Constant(), spec)
    lengths = lengths_of(spec)
    assert len(np.unique(lengths)) > 3
    np.testing.assert_array_equal(result.lengths, lengths)
    np.testing.assert_allclose(result.returns, lengths * (1 + lengths / 10))
    np.testing.assert_array_equal(result.successes, lengths > 3)
    np.testing.assert_array_equal(result.metrics["length"], lengths)
    assert set(result.metrics) == {"length"}
    assert result.tasks is None


@pytest.mark.parametrize("env_id", ["rl_suite/DarkRoom-v0", "rl_suite/BernoulliBandit-v0", "CartPole-v1"])
def test_the_number_of_copies_changes_the_speed_only(env_id):
    results = [
        evaluate_agent(Constant(1), EvaluationSpec(env_id, n_tasks=4, episodes_per_task=2, n_envs=n, seed=3))
        for n in (1, 3, 8)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.returns, results[0].returns)
        np.testing.assert_array_equal(other.lengths, results[0].lengths)
    assert len(np.unique(results[0].returns)) > 1


def test_tasks_are_distinct_and_of_the_chosen_split():
    held_out = EvaluationSpec("rl_suite/DarkRoom-v0", {"split": "test"}, n_tasks=1000, episodes_per_task=2)
    tasks = evaluate_agent(Constant(), held_out).tasks
    world = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=1, split="test").unwrapped.world
    assert tasks.tolist() == sorted(world.tasks)  # all there are, each once
    some = evaluate_agent(Constant(), DARK_ROOM)
    assert len(set(some.tasks.tolist())) == 6
    assert some.returns.shape == (6, 3)


def test_the_world_is_in_the_task_that_it_was_sent_to():
    result = evaluate_all({"still": Constant()}, DARK_ROOM).results["still"]
    env = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=1)
    _, jobs = DARK_ROOM.plan(env)
    single = gym.make("rl_suite/DarkRoom-v0")
    for index, (seed, task) in enumerate(zip(jobs.seeds.tolist(), jobs.tasks.tolist(), strict=True)):
        single.reset(seed=seed, options={"task": task})
        total, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, info = single.step(0)
            total, over = total + reward, terminated or truncated
        assert info["task"] == task
        assert result.returns.flat[index] == total


def test_an_agent_that_knows_the_goal_is_the_oracle():
    """Walks to the goal of the task; DarkRoom's actions are read off its own shortest ways."""

    class Walker:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            row, column, goal_row, goal_column = np.asarray(observation).T[:4].astype(int)
            moves = self.moves()
            down, right = np.sign(goal_row - row), np.sign(goal_column - column)
            right = np.where(down != 0, 0, right)
            return np.array([moves[pair] for pair in zip(down.tolist(), right.tolist(), strict=True)]), state

        @staticmethod
        def moves():
            """(row, column) change of each action, measured in the middle of a room."""
            found = {}
            for action in range(5):
                env = gym.make("rl_suite/DarkRoom-v0", start=(4, 4))
                before, _ = env.reset(seed=0)
                after = env.step(action)[0]
                found[tuple((np.asarray(after) - np.asarray(before))[:2].astype(int).tolist())] = action
            return found

    spec = EvaluationSpec(
        "rl_suite/DarkRoom-v0", {"show_goal": True}, n_tasks=8, episodes_per_task=2, n_envs=8, resamples=50
    )
    report = evaluate_all({"walker": Walker()}, spec)
    assert list(report.results) == ["random", "walker", "oracle"]
    np.testing.assert_array_equal(report.results["walker"].returns, report.results["oracle"].returns)
    assert report.share_of_oracle("walker") == 1.0
    assert report.share_of_oracle("random") == 0.0


def test_memory_comes_back_and_starts_are_told():
    class Counter:
        """Its memory counts the steps of each row's episode, and must agree with the observation."""

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            count = np.zeros(len(observation)) if state is None else state[0]
            count = np.where(episode_start, 0, count)
            np.testing.assert_array_equal(count, observation[:, 1])
            return np.zeros(len(observation), dtype=int), (count + 1,)

    evaluate_agent(Counter(), EvaluationSpec("", n_tasks=10, n_envs=4, make_envs=countdowns))


def test_determinism_is_passed_on():
    for choice in (True, False):
        agent = Constant()
        evaluate_agent(agent, EvaluationSpec("", n_tasks=2, deterministic=choice, make_envs=countdowns))
        assert {deterministic for _, deterministic in agent.calls} == {choice}
        assert agent.calls[0][0].all()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("face", ["batch", "single environments"])
def test_masks_go_to_agents_that_ask(face, wrapped):
    class Masked(Constant):
        def predict(self, observation, state=None, episode_start=None, deterministic=False, action_masks=None):
            self.calls.append(np.copy(action_masks))
            if face != "batch":
                np.testing.assert_array_equal(action_masks.argmax(axis=1), observation[:, 0] % 3)
            return action_masks.argmax(axis=1), state

    agent = Masked()
    spec = DARK_ROOM if face == "batch" else EvaluationSpec("", n_tasks=4, n_envs=3, make_envs=countdowns)
    evaluate_agent(NormalisingAgent(agent, lambda seen: seen) if wrapped else agent, spec)
    assert agent.calls[0].shape == ((4, 5) if face == "batch" else (3, 3))


def test_the_random_agent_obeys_masks_and_covers_the_space():
    masks = np.array([[True, False, True], [False, True, False]])
    agent = RandomAgent(spaces.Discrete(3), seed=0)
    taken = np.array([agent.predict(np.zeros((2, 1)), action_masks=masks)[0] for _ in range(200)])
    assert set(taken[:, 0].tolist()) == {0, 2}
    assert set(taken[:, 1].tolist()) == {1}
    parts = RandomAgent(spaces.MultiDiscrete([2, 3]), seed=0)
    taken = np.array(
        [parts.predict(np.zeros((1, 1)), action_masks=np.array([[1, 0, 0, 1, 1]], bool))[0][0] for _ in range(99)]
    )
    assert {tuple(pair) for pair in taken.tolist()} == {(0, 1), (0, 2)}
    box = RandomAgent(spaces.Box(-1, 1, (2,)), seed=0)
    assert box.predict({"x": np.zeros((7, 1))})[0].shape == (7, 2)
    again = RandomAgent(spaces.Box(-1, 1, (2,)), seed=0)
    again.predict(np.zeros((7, 1)))
    np.testing.assert_array_equal(box.predict(np.zeros((7, 1)))[0], again.predict(np.zeros((7, 1)))[0])


def test_a_trial_tells_its_in_context_curve():
    spec = EvaluationSpec(
        "rl_suite/BernoulliBandit-v0",
        n_tasks=3,
        episodes_per_task=2,
        n_envs=2,
        make_envs=lambda count: gym.make_vec("envs:rl_suite/DarkRoomTrial-v0", num_envs=count, episodes_per_trial=4),
        resamples=20,
    )
    report = evaluate_all({}, spec)
    random_row, oracle = report.results["random"], report.results["oracle"]
    assert random_row.curve.shape == (3, 2, 4)
    np.testing.assert_allclose(random_row.curve.sum(axis=2), random_row.returns)
    np.testing.assert_allclose(oracle.curve.sum(axis=2), oracle.returns)
    assert (oracle.curve >= random_row.curve).all()
    points = report.as_json()["agents"]["random"]["in_context_curve"]
    assert len(points) == 4
    assert points[0]["estimate"] == pytest.approx(random_row.curve[:, :, 0].mean())
    assert report.curve_table().row_count == 2


def test_trials_that_end_early_have_shorter_curves():
    """A limit of 45 steps cuts trials of 20-step episodes in their third; one agent cannot come as far as another."""
    spec = EvaluationSpec(
        "rl_suite/DarkRoomTrial-v0", n_tasks=2, episodes_per_task=2, max_episode_steps=45, resamples=9
    )
    report = evaluate_all({"still": Constant()}, spec)
    assert report.results["still"].curve.shape == (2, 2, 2)
    assert report.results["oracle"].curve.shape == (2, 2, 2)
    assert len(report.as_json()["agents"]["oracle"]["in_context_curve"]) == 2


@pytest.mark.parametrize("env_id", sorted(name for name in gym.registry if name.startswith("rl_suite/")))
def test_every_world_can_be_evaluated(env_id):
    spec = EvaluationSpec(env_id, n_tasks=2, episodes_per_task=2, n_envs=3, max_episode_steps=4, resamples=9)
    report = evaluate_all({}, spec)
    assert report.results["random"].returns.shape[1] == 2
    json.dumps(report.as_json(), allow_nan=False)
    table = report.table()
    assert table.row_count == len(report.results)
    assert all(any(column.cells) for column in table.columns)  # no heading over nothing
    assert "oracle" in report.results or "of oracle" not in [column.header for column in table.columns]


def test_a_reward_that_is_not_finite_is_refused_with_its_place():
    spec = EvaluationSpec("toys/Countdown", n_tasks=3, n_envs=2, make_envs=lambda n: countdowns(n, bad_step=2))
    with pytest.raises(
        NonFiniteError, match=r"toys/Countdown, agent 'still': the reward of episode \d+ is nan at its step 2"
    ):
        evaluate_agent(Constant(), spec, name="still")


def test_wrong_batches_are_refused():
    spec = EvaluationSpec("", n_tasks=3, make_envs=lambda n: countdowns(n, AutoresetMode.NEXT_STEP))
    with pytest.raises(ValueError, match="reset in the same step or not at all"):
        evaluate_agent(Constant(), spec)

    class OneAction(Constant):
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.zeros(1, dtype=int), state

    with pytest.raises(ValueError, match=r"actions of shape \(1,\) for 4 environments"):
        evaluate_agent(OneAction(), DARK_ROOM)


@pytest.mark.parametrize(
    "wrong", [{"n_tasks": 0}, {"episodes_per_task": 0}, {"n_envs": -1}, {"seed": -1}, {"confidence": 95}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EvaluationSpec("CartPole-v1", **wrong)


def test_evaluating_leaves_the_global_random_states_alone():
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, seed=0, device="cpu")
    draws = []
    for evaluated in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
        if evaluated:
            evaluate_agent(model, EvaluationSpec("CartPole-v1", n_tasks=2, deterministic=False))
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


@pytest.mark.parametrize("algorithm", [PPO, DQN, MaskablePPO, RecurrentPPO])
def test_models_of_stable_baselines3_are_agents(algorithm):
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    model = algorithm(policy, gym.make("rl_suite/GaussianBandit-v0"), seed=0, device="cpu")
    assert isinstance(model, Agent)
    spec = EvaluationSpec("rl_suite/GaussianBandit-v0", n_tasks=3, episodes_per_task=2, deterministic=False)
    first, again = (evaluate_agent(model, spec).returns for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_normalised_observations_reach_the_agent():
    class Echo(Constant):
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            assert (observation < 0).all()
            return super().predict(observation, state, episode_start, deterministic)

    evaluate_agent(NormalisingAgent(Echo(), lambda seen: seen - 100.0), DARK_ROOM)


def test_the_report_is_a_table_and_strict_json(tmp_path):
    counted = []
    spec = EvaluationSpec("", n_tasks=4, episodes_per_task=3, n_envs=5, make_envs=countdowns, resamples=50)
    report = evaluate_all({"still": Constant()}, spec, on_episode=counted.append, title="countdown")
    assert counted == sorted(counted)
    assert counted[-1] == 24  # two agents, 12 episodes each
    report.save(tmp_path / "evaluation.json")
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]

    def refuse(word):
        raise AssertionError(word)

    stored = json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=refuse)
    still = stored["agents"]["still"]
    np.testing.assert_allclose(still["returns"], report.results["still"].returns)
    assert still["iqm"]["low"] <= still["iqm"]["estimate"] <= still["iqm"]["high"]
    assert still["success_rate"]["estimate"] == pytest.approx(report.results["still"].successes.mean())
    # the same episodes, and actions change nothing here
    assert stored["against_random"]["still"]["paired_difference_of_means"] == {"estimate": 0, "low": 0, "high": 0}
    assert stored["against_random"]["still"]["probability_of_improvement"]["estimate"] == 0.5
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report.table())
    rows = [line for line in capture.get().splitlines() if line.strip().startswith(("still ", "random "))]
    assert len(rows) == 2
    assert all(re.search(r"\[\S+, \S+\]", row) for row in rows)  # an interval is never broken
    for word in ("countdown", "IQM [95%]", "still", "random", "4 seeds x 3 episodes", "knows no oracle"):
        assert word in " ".join(capture.get().split())


def test_one_episode_has_no_interval():
    spec = EvaluationSpec("rl_suite/DarkRoom-v0", n_tasks=1, episodes_per_task=1)
    report = evaluate_all({"still": Constant()}, spec)
    assert np.isnan(report.interval("still").low)
    assert report.as_json()["agents"]["still"]["iqm"]["low"] is None
    with Console(width=140).capture():
        Console().print(report.table())


def test_tasks_with_one_episode_each_are_one_stratum():
    spec = EvaluationSpec("rl_suite/DarkRoom-v0", n_tasks=10, episodes_per_task=1, resamples=100)
    interval = evaluate_all({}, spec).interval("oracle")
    assert interval.low < interval.high


def test_an_oracle_that_plays_replaces_the_one_that_is_told():
    report = evaluate_all({"oracle": Constant(), "a": Constant()}, DARK_ROOM)
    assert list(report.results) == ["random", "a", "oracle"]
    np.testing.assert_array_equal(report.results["oracle"].returns, report.results["a"].returns)
