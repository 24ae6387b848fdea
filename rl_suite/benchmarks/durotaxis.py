"""Steps per second of the durotaxis world, beside a plain numpy version that does the same to 1e-9.

Everything counts: actions, dynamics, all features, hull, rewards, metrics, info and resets, at about 56 nodes.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import envs  # noqa: F401  # registers the world
from agents.durotaxis_baselines import DurotaxisActions
from rl_suite.benchmarks import BenchmarkResult, Options, Row, interleave
from rl_suite.benchmarks.durotaxis_numpy import PlainDurotaxis

SUMMARY = "steps per second of the durotaxis world against plain numpy; memory per environment"
WORLD = "rl_suite/Durotaxis-v0"
N_ENVS = 256
CASES: dict[str, dict[str, Any]] = {
    "delete_ratio, tree": {"action_mode": "delete_ratio"},
    "per_node, tree": {"action_mode": "per_node"},
    "delete_ratio, 6 nearest": {"action_mode": "delete_ratio", "edges": "knn"},
}


def run(options: Options) -> BenchmarkResult:
    """Measure every case: the batch, one environment, and the plain version."""
    turns, plain_steps = (2, 3) if options.quick else (40, 40)
    rows, notes = [], []
    for name, world in CASES.items():
        batch, nodes = _batch(world, turns, options.seed)
        single = _single(world, plain_steps * 20, options.seed)
        plain = _plain(world, plain_steps, options.seed)
        times = interleave({"batch": batch, "single": single, "plain": plain}, options.repeats)
        peer = times["plain"].rate(plain_steps)
        for faces, rate, promised in (
            (f"{N_ENVS} together", times["batch"].rate(turns * N_ENVS), 100.0),
            ("one", times["single"].rate(plain_steps * 20), 25.0),
        ):
            rows.append(Row(f"{name}, {faces}", rate, peer, "steps/s", "plain numpy", target=promised))
        rows.append(Row(f"{name}, memory", _kilobytes(world), None, "kB", higher_is_better=False))
        notes.append(f"{name}: {nodes():.1f} nodes on average")
    notes.append(
        "steps per second of processor time, one thread; goals: 45,000 tree, 25,000 nearest, 10,000 one, 30 kB"
    )
    return BenchmarkResult(tuple(rows), tuple(notes))


def _actions(space: gym.Space[Any], n: int, seed: int) -> list[NDArray[np.float32]]:
    """A few batches of blind actions that keep the number of nodes and lead nowhere, drawn beforehand."""
    actions, rng = DurotaxisActions(space), np.random.default_rng(seed)
    directions = rng.uniform(-np.pi, np.pi, (16, n, 1))
    if actions.n_parts is None:
        return [actions.of_ratio(np.full(n, 0.5), direction[:, 0]) for direction in directions]
    every_second = np.arange(actions.n_parts) % 2  # spawn, delete, spawn, ...
    return [actions.of_nodes(np.tile(every_second, (n, 1)), direction) for direction in directions]


def _batch(world: dict[str, Any], turns: int, seed: int) -> tuple[Callable[[], None], Callable[[], float]]:
    env = gym.make_vec(WORLD, num_envs=N_ENVS, **world)
    actions = _actions(env.single_action_space, N_ENVS, seed)
    seen: list[float] = []
    env.reset(seed=seed)

    def work() -> None:
        for turn in range(turns):
            infos = env.step(actions[turn % len(actions)])[4]
            seen.append(float(infos["nodes"].mean()))

    return work, lambda: float(np.mean(seen))


def _single(world: dict[str, Any], steps: int, seed: int) -> Callable[[], None]:
    env = gym.make(WORLD, **world)
    actions = _actions(env.action_space, 1, seed)
    env.reset(seed=seed)

    def work() -> None:
        for turn in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[turn % len(actions)][0])
            if terminated or truncated:
                env.reset()

    return work


def _plain(world: dict[str, Any], steps: int, seed: int) -> Callable[[], None]:
    colony = PlainDurotaxis(**world)
    actions = _actions(gym.make(WORLD, **world).action_space, 1, seed)
    colony.reset(seed)

    def work() -> None:
        for turn in range(steps):
            if colony.step(actions[turn % len(actions)][0])[2] or colony.step_number == 200:
                colony.reset(seed)

    return work


def _kilobytes(world: dict[str, Any]) -> float:
    env: Any = gym.make_vec(WORLD, num_envs=N_ENVS, **world)
    observation, _ = env.reset(seed=0)
    state = env.get_state()["world"]
    return float(sum(array.nbytes for array in (*state.values(), *observation.values())) / N_ENVS / 1000)
