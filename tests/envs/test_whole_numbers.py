"""Options of worlds that count something are whole numbers: everything else is refused, and the option is named."""

import inspect

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the worlds
from envs.world import world_class

IDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))
NONE_OF_THEM = (2.5, float("nan"), float("inf"), "3", True, -1, 10**30)


def counts(world):
    """Names and defaults of the options that are whole numbers, but the number of copies."""
    kept = {}
    for owner in (world, *world.__mro__):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if type(parameter.default) is int and name != "num_envs":
                kept.setdefault(name, parameter.default)
    return kept


CASES = [(name, option) for name in IDS for option in counts(world_class(gym.spec(name).kwargs["world"]))]


@pytest.mark.parametrize(("name", "option"), CASES)
def test_what_counts_something_is_a_whole_number(name, option):
    for value in NONE_OF_THEM:
        with pytest.raises(ValueError, match=option):
            gym.make(name, **{option: value})


@pytest.mark.parametrize("name", ["rl_suite/BernoulliBandit-v0", "rl_suite/BernoulliBanditTrial-v0"])
def test_numbers_of_numpy_are_whole_too(name):
    assert gym.make(name, arms=np.int64(3)).action_space.n == 3


def test_there_are_worlds_that_count():
    assert len({name for name, _ in CASES}) > 5
