"""From a configuration to an environment and a model of stable-baselines3."""

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib import TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from envs.durotaxis.env import ADVICE
from envs.spaces import HybridBox
from rl_suite.errors import UserError
from rl_suite.experiments import load_attribute
from rl_suite.loading import BRIEF, require_known
from rl_suite.memory import require_memory
from rl_suite.sb3.callbacks import CheckFinite
from rl_suite.sb3.config import OnPolicySection, SB3Config, TD3Section
from rl_suite.vec_env import make_vec_env

REAL = (np.float32, np.float64)
PER_STEP = 24  # bytes of action, reward, return, advantage, value and flags, at least
UNBUILT = (
    gym.error.Error, ValueError, TypeError, LookupError, AttributeError, ImportError, AssertionError, ArithmeticError,
    RuntimeError, OSError, MemoryError,
)  # fmt: skip
"""What constructors of worlds, networks and algorithms raise for settings that they cannot be built with."""
DOTTED_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

# algorithm in the configuration -> class
ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "a2c": A2C,
    "trpo": TRPO,
    "dqn": DQN,
    "maskable_ppo": MaskablePPO,
    "recurrent_ppo": RecurrentPPO,
    "sac": SAC,
    "td3": TD3,
    "tqc": TQC,
    "crossq": CrossQ,
}


def build_env(config: SB3Config, kwargs: dict[str, Any], n_envs: int) -> VecEnv:
    """``world -> monitor -> check -> normalise``, in this order."""
    options = {**config.env.kwargs, **kwargs}
    try:
        steps, keys = config.env.max_episode_steps, config.env.info_keys
        env = make_vec_env(config.env.id, n_envs, max_episode_steps=steps, info_keys=keys, **options)
    except UNBUILT as error:
        raise UserError(f"env.id={config.env.id} with {options}: {first_line(error)}") from None
    for name, space in (("actions", env.action_space), ("observations", env.observation_space)):
        require_counted_from_zero(config.env.id, name, space)
    env = CheckFinite(VecMonitor(env))
    settings = config.normalize
    if settings.observation or settings.reward:
        env = VecNormalize(
            env,
            norm_obs=settings.observation,
            norm_reward=settings.reward,
            norm_obs_keys=keys_to_normalize(env.observation_space) if settings.observation else None,
            clip_obs=settings.clip_observation,
            clip_reward=settings.clip_reward,
            gamma=config.settings.gamma,
        )
    return env


def require_counted_from_zero(env_id: str, name: str, space: gym.Space[Any]) -> None:
    """Refuse choices that begin elsewhere: stable-baselines3 takes every first choice for 0.

    Raises:
        UserError: with what to do instead.
    """
    for part in _parts(space):
        if isinstance(part, spaces.Discrete | spaces.MultiDiscrete) and np.any(part.start):
            raise UserError(
                f"env.id={env_id}: its {name} hold {part}, and stable-baselines3 counts choices from 0: "
                "wrap the world so that they start there"
            )


def keys_to_normalize(space: gym.Space[Any]) -> list[str] | None:
    """The real-valued entries of a Dict observation; None for a Box, which is normalised whole.

    Raises:
        UserError: nothing in the observation is real-valued.
    """
    entries = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    real = [key for key, part in entries.items() if isinstance(part, spaces.Box) and part.dtype in REAL]
    if not real:
        raise UserError(f"normalize.observation=true, but nothing in {space} is real-valued: leave it false")
    return real if isinstance(space, spaces.Dict) else None


def build_model(config: SB3Config, env: VecEnv) -> BaseAlgorithm:
    """The algorithm with the settings of its section, on ``env``.

    Raises:
        UserError: the policy is unknown or does not fit the world.
    """
    algorithm = ALGORITHMS[config.algorithm]
    settings = config.settings.model_dump()
    if isinstance(config.settings, OnPolicySection):
        start, end = settings.pop("learning_rate"), settings.pop("final_learning_rate")
        settings["learning_rate"] = LinearSchedule(start, end, 1.0)
    if isinstance(config.settings, TD3Section):
        size = env.action_space.shape or (1,)
        settings["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, settings["action_noise"]))
    policy = find_policy(config.policy.name, algorithm)
    if isinstance(env.action_space, HybridBox) and isinstance(policy, str):
        raise UserError(f"policy.name={policy} cannot act in {config.env.id}, whose actions hold choices{ADVICE}")
    if algorithm is MaskablePPO and not is_masking_supported(env):
        raise UserError(f"maskable_ppo needs a world that says which actions are allowed, and {config.env.id} does not")
    require_memory(buffer_bytes(config, env), f"what {config.algorithm} remembers of {env.num_envs} copies")
    require_kinds_of_values(policy, algorithm, config.policy.kwargs)
    require_memory(net_bytes(config.policy.kwargs.get("net_arch"), env), "policy.kwargs.net_arch")
    try:
        return algorithm(
            policy,
            env,
            policy_kwargs=import_names(config.policy.kwargs),
            seed=config.seed,
            device=config.device,
            **settings,
        )
    except UNBUILT as error:
        raise UserError(
            f"{config.algorithm} with policy {config.policy.name} cannot act in {config.env.id}: {first_line(error)}"
        ) from None


def require_kinds_of_values(policy: str | type[Any], algorithm: type[BaseAlgorithm], given: Mapping[str, Any]) -> None:
    """Refuse for switches what is neither true nor false, for numbers NaN, and layers without units: SB3 takes them.

    Raises:
        UserError: with the name of the setting.
    """
    made = algorithm.policy_aliases[policy] if isinstance(policy, str) else policy
    usual = {name: each.default for name, each in inspect.signature(made).parameters.items()}
    for name, value in given.items():
        if isinstance(usual.get(name), bool) and not isinstance(value, bool):
            raise UserError(f"policy.kwargs.{name} must be true or false, not {BRIEF.repr(value)}")
        if isinstance(usual.get(name), float) and not (type(value) in (int, float) and math.isfinite(value)):
            raise UserError(f"policy.kwargs.{name} must be a finite number, not {BRIEF.repr(value)}")
    if any(width < 1 for width in _widths(given.get("net_arch"))):
        raise UserError("policy.kwargs.net_arch: every layer needs at least one unit")


def _widths(layers: Any) -> list[int]:
    """The units of all layers that ``net_arch`` names."""
    parts = layers.values() if isinstance(layers, dict) else layers if isinstance(layers, list) else []
    return [each for part in parts for each in (part if isinstance(part, list) else [part]) if isinstance(each, int)]


def buffer_bytes(config: SB3Config, env: VecEnv) -> int:
    """Size of what is kept to learn from: every observation, twice in a replay buffer (before and after a step)."""
    parts = _parts(env.observation_space)
    one = sum(int(np.prod(part.shape or (1,))) * (part.dtype or np.dtype(np.int64)).itemsize for part in parts)
    section = config.settings
    if isinstance(section, OnPolicySection):
        return section.n_steps * env.num_envs * (one + PER_STEP)
    return section.buffer_size * (2 * one + PER_STEP)


def net_bytes(layers: Any, env: VecEnv) -> int:
    """Size of the fully connected layers that ``net_arch`` asks for: float32, gradients and the moments of Adam."""
    if isinstance(layers, dict):  # parts for the policy and for the values
        return sum(net_bytes(part, env) for part in layers.values())
    if not isinstance(layers, list) or not all(isinstance(width, int) and width > 0 for width in layers):
        return 0
    widths = [sum(int(np.prod(part.shape or (1,))) for part in _parts(env.observation_space)), *layers]
    return 16 * sum(int(a) * int(b) for a, b in zip(widths, layers, strict=False))


def find_policy(name: str, algorithm: type[BaseAlgorithm]) -> str | type[Any]:
    """An alias of SB3, such as "MlpPolicy", or the class that ``"module:Class"`` names."""
    if ":" not in name:
        require_known(name, algorithm.policy_aliases, f"policy of {algorithm.__name__}")
        return name
    policy: type[Any] = import_names(name)
    return policy


def import_names(value: Any) -> Any:
    """Replace every ``"module:name"`` in nested settings by what it names, such as a features extractor."""
    if isinstance(value, dict):
        return {key: import_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [import_names(item) for item in value]
    if isinstance(value, str) and DOTTED_NAME.fullmatch(value):
        try:
            return load_attribute(value)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{value!r} in the policy's settings: {first_line(error)}") from None
    return value


def _parts(space: gym.Space[Any]) -> list[gym.Space[Any]]:
    return list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]


def first_line(error: BaseException) -> str:
    """The first line of a message, for one-line errors."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
