"""No state from outside reaches a kernel unchecked, in any world that is registered."""

import copy
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the worlds

WORLDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))


def places(state: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every array in a state."""
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        if isinstance(value, np.ndarray):
            yield state, key
        elif isinstance(value, dict | list):
            yield from places(value)


def extremes(array: np.ndarray) -> list[Any]:
    """Arrays of the same size that a stranger could put in its place, in type and out of it."""
    if array.dtype == np.bool_:
        values: list[Any] = [False, True]
    elif array.dtype.kind in "iu":
        values = [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, min(20000, np.iinfo(array.dtype).max)]
    else:
        values = [np.nan, np.inf, -np.inf, np.finfo(array.dtype).max, 20000]
    wrong = [array.ravel()[:0], array.astype(np.float16), array.astype(str), np.zeros((*array.shape, 2), array.dtype)]
    return [np.full_like(array, value) for value in values] + wrong


def batch(name: str) -> Any:
    env = gym.make_vec(name, num_envs=3).unwrapped
    env.reset(seed=1)
    env.action_space.seed(1)
    return env


def play_hostile(name: str) -> int:
    """Put every extreme into every array; what is not refused is played. Returns how many were refused."""
    env, refused = batch(name), 0
    for _ in range(3):
        env.step(env.action_space.sample())
    kept = env.get_state()
    n = len(list(places(kept)))
    for i in range(n):
        container, key = list(places(kept))[i]
        for value in extremes(container[key]):
            state = copy.deepcopy(kept)
            container, key = list(places(state))[i]
            container[key] = value
            try:
                env.set_state(state)
            except ValueError:
                refused += 1
            else:
                for _ in range(3):
                    env.step(env.action_space.sample())
    env.set_state(kept)
    return refused


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.filterwarnings("ignore:.*(overflow|invalid|divide).*:RuntimeWarning")
def test_states_out_of_range_are_refused_or_play_on(name: str) -> None:
    assert play_hostile(name) > 5


@pytest.mark.parametrize("name", WORLDS)
def test_a_state_that_lacks_an_array_is_refused_by_name(name: str) -> None:
    env = batch(name)
    state = env.get_state()
    del state["world"]
    with pytest.raises(ValueError, match="world"):
        env.set_state(state)


def test_a_tree_that_goes_in_a_circle_is_refused() -> None:
    env = batch("rl_suite/Durotaxis-v0")
    state = env.get_state()
    state["world"]["parent"][:, :2] = 1, 0
    with pytest.raises(ValueError, match="circle"):
        env.set_state(state)
