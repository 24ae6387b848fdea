"""How fast the small worlds and the tabular learners are, beside SB3's usual way of doing it."""

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.tabular import UCB1, QLearning, ThompsonSampling
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.vec_env import make_vec_env

SUMMARY = "worlds in one batch against SB3's DummyVecEnv over single ones; tabular learners against PPO"

BATCH, SINGLES, STREAMS = 1024, 64, 100  # copies: ours, SB3's, and those of the published PPO histories
STEPS = 400  # of each contender per turn
WORLDS = ("DarkRoom", "DarkKeyToDoor", "BernoulliBandit", "DarkRoomTrial")


class PlainRoom(gym.Env[NDArray[np.int64], np.int64]):
    """A dark room in plain Python, as one would write it for a single environment: the peer of the raw tables."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 8, (2,), dtype=np.int64)
        self.action_space = gym.spaces.Discrete(5)
        self.row, self.column, self.steps, self.goal = 4, 4, 0, (0, 0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Back to the centre, with another goal."""
        super().reset(seed=seed)
        self.row, self.column, self.steps = 4, 4, 0
        self.goal = divmod(int(self.np_random.integers(81)), 9)
        return np.array([self.row, self.column]), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move and compare with the goal."""
        down, right = ((1, 0), (-1, 0), (0, 1), (0, -1), (0, 0))[int(action)]
        self.row, self.column = min(max(self.row + down, 0), 8), min(max(self.column + right, 0), 8)
        self.steps += 1
        reward = float((self.row, self.column) == self.goal)
        return np.array([self.row, self.column]), reward, False, self.steps >= 20, {}


def run(options: Options) -> BenchmarkResult:
    """Steps, pulls and transitions per second of processor time."""
    steps = STEPS // 20 if options.quick else STEPS
    rows = [*_worlds(options, steps), _raw_tables(options, steps), *_learners(options, steps)]
    notes = (
        f"Ours: {BATCH} copies in one batch; peers: DummyVecEnv over {SINGLES} single ones (plain rooms: {STREAMS}).",
        "All actions are drawn beforehand. PPO: 100 streams, 80 steps, 20 epochs, minibatches of 40 (as published).",
    )
    return BenchmarkResult(tuple(rows), notes)


def _worlds(options: Options, steps: int) -> list[Row]:
    rows = []
    for name in WORLDS:
        env_id = f"rl_suite/{name}-v0"
        batch, bridge = gym.make_vec(env_id, num_envs=BATCH), make_vec_env(env_id, BATCH)
        singles = DummyVecEnv([_maker(env_id)] * SINGLES)
        batch.reset(seed=options.seed)
        for env in (bridge, singles):
            env.seed(options.seed)
            env.reset()
        n_actions = int(batch.single_action_space.n)  # type: ignore[attr-defined]
        contenders = {
            "batch": _steps(batch, _actions(BATCH, n_actions, options.seed), steps),
            "bridge": _steps(bridge, _actions(BATCH, n_actions, options.seed), steps),
            "singles": _steps(singles, _actions(SINGLES, n_actions, options.seed), max(1, steps // 8)),
        }
        timings = interleave(contenders, options.repeats)
        peer = timings["singles"].rate(SINGLES * max(1, steps // 8))
        target = 20.0 if name == "DarkRoom" else None
        ours = timings["batch"].rate(BATCH * steps)
        rows.append(Row(f"{name}, gym.make_vec", ours, peer, "steps/s", "DummyVecEnv", target=target))
        bridged = timings["bridge"].rate(BATCH * steps)
        rows.append(Row(f"{name}, make_vec_env for SB3", bridged, peer, "steps/s", "DummyVecEnv"))
    return rows


def _raw_tables(options: Options, steps: int) -> Row:
    """Moves, rewards and observations alone, without the bookkeeping of a Gymnasium environment."""
    env: Any = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=BATCH)
    env.reset(seed=options.seed)
    world, streams = env.unwrapped.world, np.zeros(BATCH, dtype=np.uint64)
    actions = _actions(BATCH, 5, options.seed)
    plain = DummyVecEnv([PlainRoom] * STREAMS)
    plain.seed(options.seed)
    plain.reset()

    def ours() -> None:
        for turn, choice in enumerate(islice(cycle(actions), steps)):
            if turn % 20 == 0:
                world.start_episodes(world.all_rows, streams)
            world.step(choice, streams)
            world.observe(world.all_rows)

    few = max(1, steps // 8)
    timings = interleave({"ours": ours, "plain": _steps(plain, _actions(STREAMS, 5, 0), few)}, options.repeats)
    rates = timings["ours"].rate(BATCH * steps), timings["plain"].rate(STREAMS * few)
    return Row("DarkRoom, raw tables", *rates, "steps/s", "DummyVecEnv of plain Python rooms", target=500.0)


def _learners(options: Options, steps: int) -> list[Row]:
    n_tasks = 256 if options.quick else 4096
    bandit: Any = gym.make_vec("rl_suite/BernoulliBandit-v0", num_envs=n_tasks, max_episode_steps=-1)
    room: Any = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=n_tasks, max_episode_steps=-1)
    bandit.reset(seed=options.seed)
    room.reset(seed=options.seed)
    bandit_spaces = bandit.single_observation_space, bandit.single_action_space
    q_learning = QLearning(room.single_observation_space, room.single_action_space, seed=options.seed)
    # one rollout and its update; a quick one has fewer streams and epochs
    streams, epochs = (4, 1) if options.quick else (STREAMS, 20)
    ppo_env = make_vec_env("rl_suite/DarkRoom-v0", streams)
    ppo = PPO("MlpPolicy", ppo_env, n_steps=80, batch_size=40, n_epochs=epochs, device="cpu", seed=options.seed)
    contenders: dict[str, Callable[[], object]] = {
        "ucb": _histories(UCB1(*bandit_spaces, seed=options.seed), bandit, steps),
        "thompson": _histories(ThompsonSampling(*bandit_spaces, seed=options.seed), bandit, steps),
        "q": _histories(q_learning, room, steps),
    }
    timings = interleave(contenders, options.repeats)
    ppo_timing = interleave({"ppo": lambda: ppo.learn(80 * streams)}, repeats=1)["ppo"]  # seconds; once is enough
    rates = {name: timing.rate(n_tasks * steps) for name, timing in timings.items()}
    return [
        Row("UCB1 on 5 arms", rates["ucb"], None, "pulls/s"),
        Row("Thompson sampling on 5 arms", rates["thompson"], None, "pulls/s"),
        Row(
            "Q-learning in DarkRoom",
            rates["q"],
            ppo_timing.rate(80 * streams),
            "transitions/s",
            "SB3's PPO",
            target=1000.0,
        ),
    ]


def _histories(learner: Any, env: Any, steps: int) -> Callable[[], None]:
    """Learning histories of all copies of a world, from the first step on."""
    world, streams = env.unwrapped.world, np.zeros(env.num_envs, dtype=np.uint64)
    never = np.zeros(env.num_envs, dtype=np.bool_)

    def collect() -> None:
        memory = learner.start(env.num_envs)
        states = learner.states(world.observe(world.all_rows))
        for turn in range(steps):
            if turn % 20 == 0:
                world.start_episodes(world.all_rows, streams)
                learner.end_episodes(memory, world.all_rows)
                states = learner.states(world.observe(world.all_rows))
            actions = learner.act(memory, states)
            rewards, _ = world.step(actions, streams)
            next_states = learner.states(world.observe(world.all_rows))
            learner.update(memory, states, actions, rewards, next_states, never)
            states = next_states

    return collect


def _maker(env_id: str) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: gym.make(env_id)


def _actions(num_envs: int, n_actions: int, seed: int) -> list[NDArray[np.int64]]:
    """Actions of 50 steps, (B,) each."""
    return list(np.random.default_rng(seed).integers(n_actions, size=(50, num_envs)))


def _steps(env: VecEnv | gym.vector.VectorEnv, actions: list[NDArray[np.int64]], steps: int) -> Callable[[], None]:
    def play() -> None:
        for choice in islice(cycle(actions), steps):
            env.step(choice)

    return play
