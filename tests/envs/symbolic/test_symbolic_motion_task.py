"""Laws of motion as a task of the world."""

import gymnasium as gym
import numpy as np
import pytest

import envs
from envs.symbolic.motion import motion_dataset


def test_the_true_law_earns_nearly_one() -> None:
    assert envs
    t = np.linspace(0, 20, 400)
    clean = np.column_stack([np.sin(t), np.cos(t)])
    X = clean + 0.01 * np.random.default_rng(0).standard_normal(clean.shape)
    task = motion_dataset(t, X, state=1, variables=["x", "v"])
    assert np.abs(task.y + task.X[:, 0]).std() < 0.05
    env = gym.make("rl_suite/SymbolicRegression-v0", task=task, functions=["add", "sub", "mul", "neg"])
    library = env.unwrapped.world.library
    env.reset(seed=0)
    reward = 0.0
    for name in ("neg", "x"):
        *_, reward, terminated, _, _ = env.step(library.id(name))
    assert terminated
    assert reward > 0.9


@pytest.mark.parametrize(
    ("t", "X", "state", "message"),
    [
        (np.arange(5.0), np.ones((5, 1)), 0, "n >= 14"),
        (np.zeros(30), np.ones((30, 1)), 0, "increase"),
        (np.arange(30.0), np.ones((30, 1)), 0, "no state changes"),
        (np.arange(30.0), np.ones((30, 1)), 1, "state must be"),
    ],
)
def test_bad_trajectories_are_refused(t: np.ndarray, X: np.ndarray, state: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        motion_dataset(t, X, state)
