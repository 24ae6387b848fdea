"""One place in which an environment's id becomes its registration, with or without the module that registers it."""

import importlib

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

import envs  # noqa: F401  # registers our worlds


def find_spec(env_id: str) -> EnvSpec:
    """The registration of ``"namespace/Name-v0"``; ``"module:namespace/Name-v0"`` imports the module first.

    Raises:
        gymnasium.error.Error: no such id.
        ImportError: no such module.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    return gym.spec(name)
